package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepass/gatepass/config"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/credential/agent"
)

const (
	gatewayFile = "source: broker+unix:///unused\nhosts: [github.com, git.example]\nrepos: [acme/*]\ngateway: https://broker.example:8443\n"
	atGateway   = "protocol=https\nhost=broker.example:8443\npath=acme/widgets.git\n\n"
)

// sessions is a source of sessions gpg-1, gpg-2 and so on: one for git, one for each
// repository of the API.
type sessions struct{ begun *atomic.Int64 }

func (sessions) Key(req credential.Request) string {
	if req.Operation == "api" {
		return req.Path
	}
	return "git"
}

func (s sessions) Token(_ context.Context, req credential.Request) (credential.Token, error) {
	tok := credential.NewToken(fmt.Sprintf("gpg-%d", s.begun.Add(1)), time.Now().Add(15*time.Minute))
	tok.Refs = []string{"agent/**"}
	return tok, nil
}

// newGatewayServer returns a server that is called without a socket.
func newGatewayServer(t *testing.T, text string) (ask func(operation, payload string) agent.Reply, begun *atomic.Int64) {
	w := newWorld(t)
	w.write(text)
	begun = new(atomic.Int64)
	s := &Server{Config: w.config, Open: func(*config.Workspace) (credential.Source, error) { return sessions{begun}, nil }}
	s.prepare()
	return func(operation, payload string) agent.Reply {
		return s.answer(t.Context(), agent.Call{Operation: operation, Config: w.config, Timeout: time.Minute, Payload: []byte(payload)}, 0)
	}, begun
}

func TestWithAGatewaySessionsGoToItAndNowhereElse(t *testing.T) {
	ask, begun := newGatewayServer(t, gatewayFile)
	at := func(host, path string) string { return "protocol=https\nhost=" + host + "\npath=" + path + "\n\n" }
	for _, c := range []struct{ name, payload, stdout, stderr string }{
		{"the gateway", atGateway, "username=x-access-token\npassword=gpg-1\n", ""},
		{"a second time", atGateway, "password=gpg-1\n", ""},
		{"a second repository", at("broker.example:8443", "Acme/gears"), "password=gpg-1\n", ""},
		{"in the long form", at("broker.example:8443", "git/github.com/acme/widgets.git"), "password=gpg-1\n", ""},
		{"of the second host", at("broker.example:8443", "git/git.example/acme/widgets.git"), "password=gpg-1\n", ""},
		{"LFS", at("broker.example:8443", "acme/widgets.git/info/lfs"), "password=gpg-1\n", ""},
		{"a repository that is not ours", at("broker.example:8443", "other/x"), "quit=1\n", "repository other/x is not in this workspace's repos"},
		{"of the second host either", at("broker.example:8443", "git/git.example/other/x"), "quit=1\n", "https://git.example/other/x"},
		{"of a third host", at("broker.example:8443", "git/evil.example/acme/widgets"), "quit=1\n", "not owner/repository"},
		{"GitHub itself", at("github.com", "acme/widgets"), "quit=1\n", "git goes through the gateway https://broker.example:8443, and this workspace has no token; run gatepass install"},
		{"the second host itself", at("git.example", "acme/widgets"), "quit=1\n", "git goes through the gateway"},
		{"the gateway in the open", strings.Replace(atGateway, "https", "http", 1), "", ""},
		{"the gateway's name at another port", at("broker.example", "acme/widgets"), "", ""},
		{"a stranger", at("evil.example", "acme/widgets"), "", ""},
	} {
		r := ask(agent.Get, c.payload)
		if !strings.Contains(string(r.Stdout), c.stdout) || c.stdout == "" && len(r.Stdout) > 0 {
			t.Errorf("%s: stdout = %q, want %q", c.name, r.Stdout, c.stdout)
		}
		if !strings.Contains(string(r.Stderr), c.stderr) || c.stderr == "" && len(r.Stderr) > 0 {
			t.Errorf("%s: stderr = %q, want %q", c.name, r.Stderr, c.stderr)
		}
	}
	if begun.Load() != 1 {
		t.Errorf("%d sessions were begun, want one", begun.Load())
	}
}

// The session of a sandbox that was frozen and resumed may have expired: git reports
// that, and continues within the same command (2.46 and later) or with the next.
func TestASessionThatTheGatewayRefusesIsReplaced(t *testing.T) {
	ask, _ := newGatewayServer(t, gatewayFile)
	capable := "capability[]=authtype\ncapability[]=state\n" + atGateway
	ask(agent.Get, capable)
	cached := string(ask(agent.Get, capable).Stdout)
	_, state, _ := strings.Cut(cached, "state[]=")
	state, _, _ = strings.Cut(state, "\n")
	if !strings.Contains(cached, "continue=1\n") || state == "" {
		t.Fatalf("get = %q, want that git may ask again", cached)
	}
	again := string(ask(agent.Get, "state[]="+state+"\n"+capable).Stdout)
	if again == cached || !strings.Contains(again, "credential=") || strings.Contains(again, "continue") {
		t.Errorf("get after a 401 = %q, want another session", again)
	}
	ask(agent.Erase, strings.TrimSuffix(atGateway, "\n")+"username=x-access-token\npassword=gpg-2\n\n")
	if next := string(ask(agent.Get, atGateway).Stdout); !strings.Contains(next, "password=gpg-3\n") {
		t.Errorf("get after an erase = %q, want another session", next)
	}
	// An erase for another host is not about this session.
	ask(agent.Erase, "protocol=https\nhost=github.com\npath=acme/widgets\npassword=gpg-3\n\n")
	if next := string(ask(agent.Get, atGateway).Stdout); !strings.Contains(next, "password=gpg-3\n") {
		t.Errorf("get after another host's erase = %q, want the same session", next)
	}
}

func TestWithAGatewayThereAreSessionsForProgramsAndNoTokens(t *testing.T) {
	ask, begun := newGatewayServer(t, gatewayFile)
	for _, operation := range []string{agent.Token, agent.TokenRead, agent.TokenWrite, agent.Token + agent.Fresh} {
		for _, payload := range []string{widgets, atGateway} {
			if r := ask(operation, payload); r.Exit != 1 || len(r.Stdout) > 0 || !strings.Contains(string(r.Stderr), "this workspace has none: git and programs go through the gateway") {
				t.Errorf("%s = %+v, want that there are no tokens", operation, r)
			}
		}
	}
	if begun.Load() != 0 {
		t.Errorf("%d sessions were begun, want none", begun.Load())
	}
	for _, c := range []struct{ name, payload, token, stderr string }{
		{"a repository", widgets, "gpg-1", ""},
		{"the same", widgets, "gpg-1", ""},
		{"all that the workspace may", "protocol=https\nhost=github.com\n\n", "gpg-2", ""},
		{"another repository", "protocol=https\nhost=github.com\npath=other/x\n\n", "", "not in this workspace's repos"},
		{"another host", "protocol=https\nhost=evil.example\n\n", "", "it serves github.com, git.example over https"},
		{"the gateway, which is no host of GitHub's", atGateway, "", "this workspace does not serve that host"},
	} {
		r := ask(agent.Session, c.payload)
		var g agent.Grant
		if err := json.Unmarshal(r.Stdout, &g); (err == nil) != (c.token != "") || g.Token != c.token || !strings.Contains(string(r.Stderr), c.stderr) {
			t.Errorf("%s: %+v, want %q and %q", c.name, r, c.token, c.stderr)
		}
		if c.token != "" && !slices.Equal(g.Refs, []string{"agent/**"}) {
			t.Errorf("%s: refs %v, want what the broker says", c.name, g.Refs)
		}
	}
}

func TestWithoutAGatewayThereAreNoSessions(t *testing.T) {
	ask, begun := newGatewayServer(t, workspaceFile)
	if r := ask(agent.Session, widgets); r.Exit != 1 || !strings.Contains(string(r.Stderr), "has no gateway; add gateway: https://BROKER") || begun.Load() != 0 {
		t.Errorf("session = %+v, want that there is no gateway", r)
	}
}

// In tests a gateway on this machine may listen without TLS.
func TestAGatewayAtALoopbackAddress(t *testing.T) {
	ask, _ := newGatewayServer(t, "source: broker+unix:///unused\ngateway: http://127.0.0.1:8080\n")
	for payload, want := range map[string]bool{
		"protocol=http\nhost=127.0.0.1:8080\npath=acme/widgets\n\n":  true,
		"protocol=https\nhost=127.0.0.1:8080\npath=acme/widgets\n\n": false,
		"protocol=http\nhost=127.0.0.1:8081\npath=acme/widgets\n\n":  false,
		"protocol=http\nhost=127.0.0.1\npath=acme/widgets\n\n":       false,
	} {
		if got := strings.Contains(string(ask(agent.Get, payload).Stdout), "password=gpg-"); got != want {
			t.Errorf("get of %q is answered: %v, want %v", payload, got, want)
		}
	}
}

// gatepass install --gateway names to the helper a gateway that the file does not name.
func TestAGatewayThatTheFileDoesNotName(t *testing.T) {
	ask, begun := newGatewayServer(t, "source: broker+unix:///unused\nrepos: [acme/*]\n")
	through := func(operation string) string { return agent.Through(operation, "https://broker.example:8443") }
	for _, c := range []struct{ name, operation, payload, stdout, stderr string }{
		{"the gateway", through(agent.Get), atGateway, "password=gpg-1\n", ""},
		{"a second time", through(agent.Get), atGateway, "password=gpg-1\n", ""},
		{"GitHub itself", through(agent.Get), widgets, "quit=1\n", "git goes through the gateway"},
		{"a token", through(agent.Token), widgets, "", "this workspace has none"},
		{"a repository that is not ours", through(agent.Get), strings.Replace(atGateway, "acme", "other", 1), "quit=1\n", "not in this workspace's repos"},
		{"no gateway", agent.Get + "@http://broker.example", atGateway, "quit=1\n", "http is only for a loopback address"},
		{"not told of it", agent.Get, atGateway, "", ""},
	} {
		r := ask(c.operation, c.payload)
		if !strings.Contains(string(r.Stdout), c.stdout) || c.stdout == "" && len(r.Stdout) > 0 {
			t.Errorf("%s: stdout = %q, want %q", c.name, r.Stdout, c.stdout)
		}
		if !strings.Contains(string(r.Stderr), c.stderr) || c.stderr == "" && len(r.Stderr) > 0 {
			t.Errorf("%s: stderr = %q, want %q", c.name, r.Stderr, c.stderr)
		}
	}
	if begun.Load() != 1 {
		t.Errorf("%d sessions were begun, want one", begun.Load())
	}
	var st agent.State
	if err := json.Unmarshal(ask(agent.Status, "").Stdout, &st); err != nil || len(st.Tokens) != 1 {
		t.Errorf("status = %+v, %v, want the session in it", st, err)
	}
	ask(through(agent.Erase), strings.TrimSuffix(atGateway, "\n")+"password=gpg-1\n\n")
	if next := string(ask(through(agent.Get), atGateway).Stdout); !strings.Contains(next, "password=gpg-2\n") {
		t.Errorf("get after an erase = %q, want another session", next)
	}
	if r := ask(agent.Through(agent.Get, "https://other.example"), atGateway); len(r.Stdout) > 0 || len(r.Stderr) > 0 {
		t.Errorf("get through another gateway = %+v, want nothing for this one", r)
	}
}

func TestAFileThatNamesAnotherGateway(t *testing.T) {
	ask, _ := newGatewayServer(t, gatewayFile)
	if r := ask(agent.Through(agent.Get, "https://old.example"), atGateway); !strings.Contains(string(r.Stderr), `git is configured for "https://old.example"; run gatepass install`) {
		t.Errorf("get = %+v, want what to do", r)
	}
	if r := ask(agent.Through(agent.Get, "https://broker.example:8443"), atGateway); !strings.Contains(string(r.Stdout), "password=gpg-1\n") {
		t.Errorf("get through the file's own = %+v, want a session", r)
	}
}

func TestWhyAProgramHasNoSession(t *testing.T) {
	w := newWorld(t)
	w.write(gatewayFile)
	s := &Server{Config: w.config, Open: func(*config.Workspace) (credential.Source, error) {
		return credential.SourceFunc(func(context.Context, credential.Request) (credential.Token, error) {
			return credential.Token{}, errors.New("the broker sleeps")
		}), nil
	}}
	s.prepare()
	r := s.answer(t.Context(), agent.Call{Operation: agent.Session, Config: w.config, Timeout: time.Minute, Payload: []byte("protocol=https\nhost=github.com\n\n")}, 0)
	if r.Exit != 1 || !strings.Contains(string(r.Stderr), "the broker sleeps") {
		t.Errorf("session = %+v, want the broker's reason", r)
	}
}
