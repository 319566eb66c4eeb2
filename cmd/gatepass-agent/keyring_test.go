package main

import (
	"context"
	"encoding/json"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/credential/agent"
	"github.com/zalando/go-keyring"
)

// A desk is one workspace with a token file, and agents for it.
type desk struct {
	t            *testing.T
	config, file string
	getenv       func(string) string
	widgets      string // a request without its end
}

func newDesk(t *testing.T, cache string) *desk {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil { // independent of the umask
		t.Fatal(err)
	}
	run := filepath.Join(dir, "run")
	if err := os.Mkdir(run, 0o700); err != nil {
		t.Fatal(err)
	}
	d := &desk{
		t: t, config: filepath.Join(dir, "workspace.yaml"), file: filepath.Join(dir, "token"),
		getenv:  func(name string) string { return map[string]string{"XDG_RUNTIME_DIR": run}[name] },
		widgets: "protocol=https\nhost=github.com\npath=acme/widgets\n",
	}
	d.write(d.config, "source: file://"+(&url.URL{Path: d.file}).EscapedPath()+"\ncache: "+cache+"\n")
	return d
}

func (d *desk) write(path, text string) {
	d.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		d.t.Fatal(err)
	}
}

// start runs an agent until stop is called, or the test ends.
func (d *desk) start() (stop func()) {
	d.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, []string{"--config", d.config}, d.getenv, strings.NewReader(""), io.Discard, d.t.Output(), false)
	}()
	stop = func() {
		cancel()
		done <- <-done
	}
	d.t.Cleanup(stop)
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if _, found, _ := d.try(agent.Status, ""); found {
			return stop
		}
	}
	d.t.Fatal("the agent does not listen after a minute")
	return nil
}

func (d *desk) try(operation, payload string) (agent.Reply, bool, error) {
	c := agent.Call{Operation: operation, Config: d.config, Payload: []byte(payload)}
	return agent.AskRunning(c, d.getenv, time.Now().Add(time.Minute))
}

func (d *desk) ask(operation, payload string) agent.Reply {
	d.t.Helper()
	r, found, err := d.try(operation, payload)
	if err != nil || !found {
		d.t.Fatalf("AskRunning(%s) = %v, found %v", operation, err, found)
	}
	return r
}

// wants asks for the token of widgets.
func (d *desk) wants(token string) {
	d.t.Helper()
	r := d.ask(agent.Get, d.widgets+"\n")
	if !strings.Contains(string(r.Stdout), "password="+token+"\n") {
		d.t.Fatalf("get = %q, %q, want the password %s", r.Stdout, r.Stderr, token)
	}
}

func (d *desk) warning() string {
	d.t.Helper()
	var st agent.State
	if err := json.Unmarshal(d.ask(agent.Status, "").Stdout, &st); err != nil {
		d.t.Fatal(err)
	}
	return st.Warning
}

func needKeyring(t *testing.T) {
	t.Helper()
	if os.Getenv("GATEPASS_TEST_SECRET_SERVICE") == "" {
		t.Skip("missing: Secret Service (run make test-real)")
	}
}

func TestTheNextAgentTakesTheTokenFromTheKeyring(t *testing.T) {
	needKeyring(t)
	d := newDesk(t, "keyring")
	d.write(d.file, "ghs_one")
	stop := d.start()
	d.wants("ghs_one")
	stop()

	d.write(d.file, "ghs_two")
	stop = d.start()
	d.wants("ghs_one")
	if w := d.warning(); w != "" {
		t.Errorf("warning = %q, want none", w)
	}
	d.ask(agent.Erase, d.widgets+"password=ghs_none\n\n")
	d.wants("ghs_one")
	d.ask(agent.Erase, d.widgets+"password=ghs_one\n\n")
	d.wants("ghs_two")
	stop()

	d.write(d.file, "ghs_three")
	d.start()
	d.wants("ghs_two")
}

// git 2.46 and later names a rejected token when it asks again.
func TestATokenFromTheKeyringIsReplacedWithinOneGitCommand(t *testing.T) {
	needKeyring(t)
	d := newDesk(t, "keyring")
	d.write(d.file, "ghs_one")
	stop := d.start()
	d.wants("ghs_one")
	stop()

	d.write(d.file, "ghs_two")
	d.start()
	capable := "capability[]=state\n" + d.widgets
	first := string(d.ask(agent.Get, capable+"\n").Stdout)
	if !strings.Contains(first, "password=ghs_one\n") || !strings.Contains(first, "continue=1\n") {
		t.Fatalf("get = %q, want ghs_one and that git may ask again", first)
	}
	_, state, _ := strings.Cut(first, "state[]=")
	state, _, _ = strings.Cut(state, "\n")
	second := string(d.ask(agent.Get, capable+"state[]="+state+"\n\n").Stdout)
	if !strings.Contains(second, "password=ghs_two\n") {
		t.Errorf("get after a 401 = %q, want ghs_two", second)
	}
}

func TestAnotherSourceInTheFileTakesNothingFromTheKeyring(t *testing.T) {
	needKeyring(t)
	d := newDesk(t, "keyring")
	d.write(d.file, "ghs_one")
	d.start()
	d.wants("ghs_one")
	d.write(d.file+"2", "ghs_two")
	d.write(d.config, "source: file://"+d.file+"2\ncache: keyring\n")
	d.wants("ghs_two")
}

func TestKeyringSource(t *testing.T) {
	needKeyring(t)
	d := newDesk(t, "keyring")
	d.write(d.config, "workspace: sb-1\nsource: keyring://gatepass-test/{workspace}/{owner}\n")
	if err := keyring.Set("gatepass-test", "sb-1/acme", "ghs_stored"); err != nil {
		t.Fatal(err)
	}
	d.start()
	d.wants("ghs_stored")
	other := d.ask(agent.Get, strings.Replace(d.widgets, "acme", "other", 1)+"\n")
	if string(other.Stdout) != "quit=1\n" || !strings.Contains(string(other.Stderr), "no such entry") {
		t.Errorf("get = %q, %q, want quit=1 and that there is no such entry", other.Stdout, other.Stderr)
	}
}

func TestWithoutAKeyringTokensStayInMemory(t *testing.T) {
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent/bus")
	d := newDesk(t, "keyring")
	d.write(d.file, "ghs_one")
	d.start()
	d.wants("ghs_one")
	d.write(d.file, "ghs_two")
	d.wants("ghs_one")
	if w := d.warning(); !strings.Contains(w, "so tokens are kept in memory only") {
		t.Errorf("warning = %q, want that tokens are kept in memory only", w)
	}
}

func TestOtherCachesDoNotLookForAKeyring(t *testing.T) {
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent/bus")
	d := newDesk(t, "memory")
	d.write(d.file, "ghs_one")
	d.start()
	d.wants("ghs_one")
	if w := d.warning(); w != "" {
		t.Errorf("warning = %q, want none", w)
	}
}
