package agent

import (
	"io"
	"net"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gatepass/gatepass/credential/protocol"
)

var refused = PushReport{Host: "github.com", Repo: "acme/widgets", Updates: []PushUpdate{
	{Action: "force", Ref: "refs/heads/größe-$(id)<b>", Reason: "this would force the ref to other history; rule main allows create"},
	{Action: "unknown", Ref: "refs/heads/a", Reason: "no"},
}}

func TestPushComesBackAsItWas(t *testing.T) {
	text := AppendPush(nil, refused)
	if got, ok := ParsePush(text); !ok || !reflect.DeepEqual(got, refused) {
		t.Errorf("ParsePush(%q) = %+v, %v, want %+v", text, got, ok, refused)
	}
	// An agent that is older than the operation takes the payload for a request.
	if r, err := protocol.ParseRequest(text); err == nil {
		t.Errorf("ParseRequest(%q) = %+v, want that it is none", text, r)
	}
	const head, update = "repository github.com acme/widgets\n", "update force refs/heads/a no\n"
	for name, bad := range map[string]string{
		"nothing": "", "no updates": head, "only updates": update, "no end": head + "update force refs/heads/a no",
		"no reason": head + "update force refs/heads/a\n", "an empty reason": head + "update force refs/heads/a \n", "another word": head + "grant force refs/heads/a no\n",
		"an empty line": head + "\n" + update, "a control character": head + "update force refs/heads/\x1b no\n", "a NUL": head + "update force refs/heads/a n\x00\n",
		"a fourth word": "repository github.com acme/widgets x\n" + update, "no UTF-8": head + "update force refs/heads/\xff no\n", "too many": head + strings.Repeat(update, MaxPushUpdates+1),
	} {
		if got, ok := ParsePush([]byte(bad)); ok {
			t.Errorf("%s: ParsePush(%q) = %+v, want it refused", name, bad, got)
		}
	}
}

func FuzzParsePush(f *testing.F) {
	f.Add(AppendPush(nil, refused))
	f.Add([]byte("repository a b\nupdate c d e f\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, ok := ParsePush(data)
		if !ok {
			return
		}
		if again := AppendPush(nil, p); string(again) != string(data) || len(p.Updates) == 0 || len(p.Updates) > MaxPushUpdates {
			t.Errorf("ParsePush(%q) = %+v, which is %q", data, p, again)
		}
	})
}

// told returns a listener at the agent's place, and the environment in which a test
// sends it something.
func told(t *testing.T) (l *net.UnixListener, getenv func(string) string) {
	t.Helper()
	getenv = env(map[string]string{"XDG_RUNTIME_DIR": short(t)})
	place, err := Locate("/x", getenv)
	if err != nil {
		t.Fatal(err)
	}
	if l, err = net.ListenUnix("unix", &net.UnixAddr{Name: place.Socket, Net: "unix"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, getenv
}

func TestTellSaysItAll(t *testing.T) {
	l, getenv := told(t)
	call := Call{Operation: PushRefused, Config: "/x", Payload: AppendPush(nil, refused)}
	if err := Notify(call, getenv, time.Now().Add(30*time.Second)); err != nil {
		t.Fatalf("Tell = %v", err)
	}
	conn, err := l.Accept() // the sender may have gone by now
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	data, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	got, whole, err := ParseCall(data)
	if err != nil || !whole || got.Operation != PushRefused || got.Config != "/x" || string(got.Payload) != string(call.Payload) {
		t.Errorf("ParseCall = %+v, %v, %v, want the call", got, whole, err)
	}
}

// A missing or slow listener does not delay the guard.
func TestTellKeepsItsDeadline(t *testing.T) {
	const patience, soon = 200 * time.Millisecond, 5 * time.Second
	tell := func(getenv func(string) string, size int) (took time.Duration, err error) {
		begun := time.Now()
		err = Notify(Call{Operation: PushRefused, Config: "/x", Payload: make([]byte, size)}, getenv, begun.Add(patience))
		return time.Since(begun), err
	}
	if took, err := tell(env(map[string]string{"XDG_RUNTIME_DIR": short(t)}), 1); err != errNoAgent || took > soon {
		t.Errorf("Tell without an agent = %v after %v, want %v soon", err, took, errNoAgent)
	}
	_, getenv := told(t)
	if took, err := tell(getenv, MaxMessage); err != ErrDeadline || took < patience || took > soon {
		t.Errorf("Tell to one that does not read = %v after %v, want %v after %v", err, took, ErrDeadline, patience)
	}
	l, getenv := told(t)
	raw, err := l.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { err = syscall.Listen(int(fd), 0) }); err != nil {
		t.Fatal(err)
	}
	for i := 0; ; i++ { // fill the listener's queue
		took, err := tell(getenv, 1)
		if took > soon || i > 1000 {
			t.Fatalf("Tell = %v after %v, want it over by %v", err, took, patience)
		}
		if err != nil {
			break
		}
	}
}
