package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/credential/credentialtest"
)

const (
	gitsCache = "git credential-cache"
	github    = "github.com"
	widgets   = "acme/widgets.git"
)

// A testUsers is three users: one whose tokens come from a file, one whose tokens
// come from a broker, and one with git's own cache.
type testUsers struct {
	file, broker, peer *testUser
	stop               func()
}

// newUsers sets up the three users. For the broker's user, the agent has to find out what
// git is about to do, read or write; for the file's user it does not.
func (b *bench) newUsers() (t testUsers, err error) {
	for name, w := range map[string]**testUser{"file": &t.file, "broker": &t.broker, "peer": &t.peer} {
		if *w, err = b.newUser(name); err != nil {
			return t, err
		}
	}
	secret := filepath.Join(t.file.dir, "token")
	if err := os.WriteFile(secret, []byte(credentialtest.Secret(1)), 0o600); err != nil {
		return t, err
	}
	br, err := b.startBroker(github, "", 0)
	if err != nil {
		return t, err
	}
	t.stop = func() { t.file.close(); t.broker.close(); t.peer.close(); br.close() }
	err = firstOf(
		t.file.configure("source: file://"+secret),
		t.broker.configure(br.line()),
		t.file.install(),
		t.broker.install(),
		t.peer.useGitsCache(github, credentialtest.Secret(1), widgets),
	)
	if err != nil {
		t.stop()
	}
	return t, err
}

// warmGet times the command that git runs for "get" when the token is cached. The
// peer's command is the one that git runs for "credential.helper = cache".
func (b *bench) warmGet() ([]row, error) {
	t, err := b.newUsers()
	if err != nil {
		return nil, err
	}
	defer t.stop()
	floor, err := b.baselineProgram()
	if err != nil {
		return nil, err
	}
	peer := t.peer.command("git", "credential-cache", "get")
	commands := []command{
		warm(t.file.command(helperProgram, "get")), warm(peer), warm(t.broker.command(helperProgram, "get")),
	}
	if floor != "" {
		commands = append(commands, command{path: floor, env: t.file.env(), warm: true})
	}
	times, err := b.race(b.runs(1500), commands...)
	if err != nil {
		return nil, err
	}
	rows := []row{
		row{Promise: "warm get, file source", Ours: times[0].figure()}.beside(gitsCache+" get", times[1].figure()).judged(ratioAtMost(1.1)),
		// Not a promise: without a git process above it, the agent searches all of its
		// ancestors, which no real operation causes.
		row{Promise: "  from a broker: finds out whether git reads or writes", Ours: times[2].figure()}.beside(gitsCache+" get", times[1].figure()),
	}
	if floor != "" {
		rows = append(rows, row{Promise: "  a Go program that does nothing", Ours: times[3].figure()}.beside(gitsCache+" get", times[1].figure()))
	}
	return rows, nil
}

// getting makes a command request widgets and expect a token.
func getting(c command) command {
	c.stdin, c.want = request(github, widgets), "password=ghs_"
	return c
}

// warm is like getting, for a token that is cached after the first run.
func warm(c command) command {
	c = getting(c)
	c.warm = true
	return c
}

// fill times everything that git does for a credential, including its own start.
func (b *bench) fill() ([]row, error) {
	t, err := b.newUsers()
	if err != nil {
		return nil, err
	}
	defer t.stop()
	times, err := b.race(b.runs(400),
		warm(t.file.command("git", "credential", "fill")),
		warm(t.peer.command("git", "credential", "fill")),
		warm(t.broker.command("git", "credential", "fill")))
	if err != nil {
		return nil, err
	}
	with := "with helper = cache"
	return []row{
		row{Promise: "git credential fill, file source", Ours: times[0].figure()}.beside(with, times[1].figure()).judged(ratioAtMost(1.15)),
		row{Promise: "  from a broker: finds out whether git reads or writes", Ours: times[2].figure()}.beside(with, times[1].figure()),
	}, nil
}

const nothing = "package main\n\nfunc main() {}\n"

// baselineProgram builds a program that does nothing, with the same flags as our programs.
// Its path is empty without a go command.
func (b *bench) baselineProgram() (string, error) {
	if b.baseline != "" {
		return b.baseline, nil
	}
	if _, err := exec.LookPath("go"); err != nil {
		return "", nil
	}
	dir, err := b.tempDir("floor")
	if err != nil {
		return "", err
	}
	source, program := filepath.Join(dir, "nothing.go"), filepath.Join(dir, "nothing")
	if err := os.WriteFile(source, []byte(nothing), 0o600); err != nil {
		return "", err
	}
	if err := b.goBuild(program, source); err != nil {
		return "", err
	}
	b.baseline = program
	return program, nil
}

// goBuild builds a static, stripped program.
func (b *bench) goBuild(program, source string) error {
	cmd := exec.CommandContext(b.ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", program, source)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stderr = b.log
	return cmd.Run()
}

// The simple askpass, a peer: this program under another name. It fetches a credential
// at each prompt, and prints the requested part.
const (
	promptProgram  = "simple-askpass"
	socketVariable = "BENCH_BROKER_SOCKET"
	hostVariable   = "BENCH_BROKER_HOST"
)

func answerPrompt(getenv func(string) string, stdout io.Writer) int {
	username, password, err := fetch(getenv(socketVariable), getenv(hostVariable))
	if err != nil {
		return 1
	}
	answer := password
	if len(os.Args) > 1 && strings.HasPrefix(os.Args[1], "Username") {
		answer = username
	}
	fmt.Fprintln(stdout, answer)
	return 0
}

func fetch(socket, host string) (username, password string, err error) {
	body, err := api.EncodeRequest(api.TokenRequest{Host: host, Repo: api.Repo{Owner: "acme", Name: "widgets"}, Operation: api.Read})
	if err != nil {
		return "", "", err
	}
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	res, err := client.Post("http://broker"+api.TokenPath, api.MediaType, bytes.NewReader(body))
	if err != nil {
		return "", "", err
	}
	defer res.Body.Close()
	var answer struct{ Username, Token string }
	err = json.NewDecoder(res.Body).Decode(&answer)
	return answer.Username, answer.Token, err
}
