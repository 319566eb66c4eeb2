package forward

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/credential/agent"
	"github.com/gatepass/gatepass/internal/workspacefile"
)

const widgets = "protocol=https\nhost=github.com\npath=acme/widgets.git\n\n"

// desk is a World whose streams are buffers and whose agent, if any, belongs to the
// test.
type desk struct {
	Environment
	out, err bytes.Buffer
	env      map[string]string
}

func newDesk(t *testing.T, stdin io.Reader) *desk {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "gp")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	d := &desk{env: map[string]string{"XDG_RUNTIME_DIR": dir, "GATEPASS_CONFIG": filepath.Join(dir, "ws.yaml"), "PATH": dir}}
	d.Environment = Environment{
		Getenv: func(name string) string { return d.env[name] },
		Getwd:  func() (string, error) { return dir, nil },
		Stdin:  stdin, Stdout: &d.out, Stderr: &d.err,
	}
	return d
}

// answers puts an agent in the place that answers its first call with reply; a nil
// reply leaves the caller waiting.
func (d *desk) answers(t *testing.T, reply *agent.Reply) <-chan agent.Call {
	t.Helper()
	place, err := agent.Locate(d.env["GATEPASS_CONFIG"], d.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", place.Socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	calls := make(chan agent.Call, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		t.Cleanup(func() { conn.Close() }) // the garbage collector closes a connection that is not referenced
		buf := make([]byte, 4096)
		n, _ := conn.Read(buf)
		call, _, _ := agent.ParseCall(buf[:n])
		calls <- call
		if reply == nil {
			return
		}
		_, _ = conn.Write(agent.AppendReply(nil, *reply))
		conn.Close()
	}()
	return calls
}

func TestGetForwardsAndPrints(t *testing.T) {
	d := newDesk(t, strings.NewReader(widgets))
	calls := d.answers(t, &agent.Reply{Stdout: []byte("password=x\n")})
	if exit := Helper("get", d.Environment); exit != 0 || d.out.String() != "password=x\n" || d.err.Len() > 0 {
		t.Errorf("get = %d, %q, %q, want the agent's answer", exit, &d.out, &d.err)
	}
	c := <-calls
	if c.Operation != agent.Get || string(c.Payload) != widgets || c.Config != d.env["GATEPASS_CONFIG"] || c.Timeout <= 0 {
		t.Errorf("call = %+v, want get with the request, the file and the time left", c)
	}
}

func TestWhatIsNotOursNeverReachesTheAgent(t *testing.T) {
	for name, stdin := range map[string]string{
		"http":      "protocol=http\nhost=github.com\n\n",
		"cert":      "protocol=cert\nhost=github.com\npath=/k\n\n",
		"garbage":   "hello\n\n",
		"two hosts": "protocol=https\nhost=a\nhost=b\n\n",
		"nothing":   "",
	} {
		d := newDesk(t, strings.NewReader(stdin))
		if exit := Helper("get", d.Environment); exit != 0 || d.out.Len() > 0 || d.err.Len() > 0 {
			t.Errorf("%s: get = %d, %q, %q, want silence", name, exit, &d.out, &d.err)
		}
	}
}

// In tests a gateway on this machine may listen without TLS.
func TestALoopbackAddressReachesTheAgent(t *testing.T) {
	const gateway = "protocol=http\nhost=127.0.0.1:8080\npath=acme/widgets.git\n\n"
	d := newDesk(t, strings.NewReader(gateway))
	if exit := Helper("get", d.Environment); exit != 0 || d.out.Len() > 0 || d.err.Len() > 0 {
		t.Errorf("get without a gateway = %d, %q, %q, want silence", exit, &d.out, &d.err)
	}
	if err := os.WriteFile(d.env["GATEPASS_CONFIG"], []byte("gateway: http://127.0.0.1:8080\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d.Stdin = strings.NewReader(gateway)
	calls := d.answers(t, &agent.Reply{Stdout: []byte("password=x\n")})
	if exit := Helper("get", d.Environment); exit != 0 || d.out.String() != "password=x\n" {
		t.Errorf("get = %d, %q, %q, want the agent's answer", exit, &d.out, &d.err)
	}
	if c := <-calls; string(c.Payload) != gateway {
		t.Errorf("call = %+v, want the request", c)
	}
}

func TestTheHelperTellsOfItsGateway(t *testing.T) {
	d := newDesk(t, strings.NewReader(widgets))
	d.Gateway = "https://broker.example"
	calls := d.answers(t, &agent.Reply{})
	Helper("get", d.Environment)
	if c := <-calls; c.Operation != "get@https://broker.example" || string(c.Payload) != widgets {
		t.Errorf("call = %+v, want get through the gateway", c)
	}
}

func TestStoreAndUnknownOperationsAreSilent(t *testing.T) {
	for _, operation := range []string{"store", "dance", ""} {
		d := newDesk(t, strings.NewReader(widgets))
		if exit := Helper(operation, d.Environment); exit != 0 || d.out.Len() > 0 || d.err.Len() > 0 {
			t.Errorf("%q = %d, %q, %q, want silence", operation, exit, &d.out, &d.err)
		}
	}
}

func TestEraseWithoutAnAgentStartsNone(t *testing.T) {
	d := newDesk(t, strings.NewReader(widgets))
	if exit := Helper("erase", d.Environment); exit != 0 || d.out.Len() > 0 || d.err.Len() > 0 {
		t.Errorf("erase = %d, %q, %q, want silence", exit, &d.out, &d.err)
	}
}

func TestGetWithoutAnAgentProgramSaysSo(t *testing.T) {
	d := newDesk(t, strings.NewReader(widgets))
	exit := Helper("get", d.Environment)
	if exit != 0 || d.out.String() != "quit=1\n" || strings.Count(d.err.String(), "\n") != 1 || !strings.Contains(d.err.String(), "gatepass-agent") {
		t.Errorf("get = %d, %q, %q, want quit=1 and one line about the agent", exit, &d.out, &d.err)
	}
}

func TestATricklingRequestEnds(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if _, err := w.WriteString("protocol=https\nhost=git"); err != nil {
		t.Fatal(err)
	}
	d := newDesk(t, r)
	d.env["GATEPASS_TIMEOUT"] = "50ms"
	start := time.Now()
	exit := Helper("get", d.Environment)
	if exit != 1 || d.out.Len() > 0 || strings.Count(d.err.String(), "\n") != 1 || time.Since(start) > 5*time.Second {
		t.Errorf("get = %d, %q, %q after %v, want one line soon", exit, &d.out, &d.err, time.Since(start))
	}
}

func TestGetStopsReadingAtTheBlankLine(t *testing.T) {
	for name, stdin := range map[string]string{"at the end": widgets, "with text behind it": widgets + "host=evil.example\n"} {
		t.Run(name, func(t *testing.T) {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			defer w.Close() // stays open: git's caller may keep it open
			if _, err := w.WriteString(stdin); err != nil {
				t.Fatal(err)
			}
			d := newDesk(t, r)
			d.env["GATEPASS_TIMEOUT"] = "1m"
			d.answers(t, &agent.Reply{Stdout: []byte("password=x\n")})
			if exit := Helper("get", d.Environment); exit != 0 || d.out.String() != "password=x\n" {
				t.Errorf("get = %d, %q, %q, want the agent's answer", exit, &d.out, &d.err)
			}
		})
	}
}

func TestASilentAgentIsGivenUp(t *testing.T) {
	d := newDesk(t, strings.NewReader(widgets))
	d.env["GATEPASS_TIMEOUT"] = "100ms"
	d.answers(t, nil)
	start := time.Now()
	Helper("get", d.Environment)
	if d.out.String() != "quit=1\n" || !strings.Contains(d.err.String(), "in time") || time.Since(start) > 5*time.Second {
		t.Errorf("get = %q, %q after %v, want quit=1 and one line soon", &d.out, &d.err, time.Since(start))
	}
}

func TestAskpass(t *testing.T) {
	const prompt = "Password for 'https://x-access-token@github.com/acme/widgets': "
	d := newDesk(t, nil)
	calls := d.answers(t, &agent.Reply{Stdout: []byte("ghs_x\n"), Stderr: []byte("never shown")})
	if exit := Askpass(prompt, d.Environment); exit != 0 || d.out.String() != "ghs_x\n" || d.err.Len() > 0 {
		t.Errorf("Askpass = %d, %q, %q, want the token only", exit, &d.out, &d.err)
	}
	c := <-calls
	want := "protocol=https\nhost=github.com\npath=acme/widgets\nusername=x-access-token\n\n"
	if c.Operation != agent.Password || string(c.Payload) != want {
		t.Errorf("call = %s %q, want %q", c.Operation, c.Payload, want)
	}
	for _, other := range []string{"Enter passphrase for key '/x': ", "Password for 'https://github.com/x@evil.example': ", ""} {
		d := newDesk(t, nil)
		if exit := Askpass(other, d.Environment); exit != 1 || d.out.Len() > 0 || d.err.Len() > 0 {
			t.Errorf("Askpass(%q) = %d, %q, %q, want silence and 1", other, exit, &d.out, &d.err)
		}
	}
}

func TestTimeout(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"": DefaultTimeout, "5s": 5 * time.Second, "7": 7 * time.Second, "0": DefaultTimeout, "-1s": DefaultTimeout, "soon": DefaultTimeout,
	} {
		if got := Timeout(func(string) string { return text }); got != want {
			t.Errorf("Timeout(%q) = %v, want %v", text, got, want)
		}
	}
}

func TestBoundedReadsToTheEnd(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	_, _ = w.WriteString("abc")
	w.Close()
	b := bounded(r, time.Now().Add(time.Minute))
	if got, err := io.ReadAll(b); err != nil || string(got) != "abc" {
		t.Errorf("ReadAll = %q, %v, want abc", got, err)
	}
	if _, err := bounded(r, time.Now().Add(-time.Second)).Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Read after the deadline = %v, want %v", err, os.ErrDeadlineExceeded)
	}
}

func TestConfigHasOneSpelling(t *testing.T) {
	for name, want := range map[string]string{
		"": workspacefile.Default, "/a//b/../ws.yaml": "/a/ws.yaml", "ws.yaml": "/cwd/ws.yaml", "../ws.yaml": "/ws.yaml",
	} {
		w := Environment{Getenv: func(string) string { return name }, Getwd: func() (string, error) { return "/cwd", nil }}
		if got, err := w.config(); err != nil || got != want {
			t.Errorf("config(%q) = %q, %v, want %q", name, got, err, want)
		}
	}
}
