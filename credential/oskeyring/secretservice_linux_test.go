package oskeyring

import (
	"bytes"
	"context"
	"errors"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/zalando/go-keyring"
)

// realRing returns the session's keyring, if that is one for tests, and a service name
// that nothing else uses.
func realRing(t *testing.T) (r ring, service string) {
	t.Helper()
	if os.Getenv("GATEPASS_TEST_SECRET_SERVICE") == "" {
		t.Skip("missing: Secret Service (run make test-real, or test/components/keyring.sh DIR go test ...)")
	}
	return system(), "gatepass-test-" + t.Name() + time.Now().Format("-150405.000000000")
}

func TestSecretServiceKeepsValues(t *testing.T) {
	r, service := realRing(t)
	it := item{service, "account"}
	for _, value := range [][]byte{[]byte("one"), []byte("two\n\x00\xff"), bytes.Repeat([]byte("x"), 64<<10), {}} {
		if err := r.set(t.Context(), it, "a test", value); err != nil {
			t.Fatal(err)
		}
		got, written, err := r.get(t.Context(), it)
		if err != nil || !bytes.Equal(got, value) || time.Since(written).Abs() > time.Minute {
			t.Errorf("get = %d bytes of %v, %v, want the %d bytes just set", len(got), written, err, len(value))
		}
	}
	if _, _, err := r.get(t.Context(), item{service, "other"}); !errors.Is(err, errNotFound) {
		t.Errorf("get of another account = %v, want %v", err, errNotFound)
	}
	for range 2 { // the second time there is nothing to remove
		if err := r.remove(t.Context(), it); err != nil {
			t.Errorf("remove = %v, want nil", err)
		}
	}
	if _, _, err := r.get(t.Context(), it); !errors.Is(err, errNotFound) {
		t.Errorf("get after remove = %v, want %v", err, errNotFound)
	}
}

func TestSecretServiceAndGoKeyringReadEachOther(t *testing.T) {
	r, service := realRing(t)
	if err := keyring.Set(service, "theirs", "ghs_theirs"); err != nil {
		t.Fatal(err)
	}
	s, err := open(t, "keyring://"+service+"/theirs")
	if err != nil {
		t.Fatal(err)
	}
	tok, err := s.Token(t.Context(), widgets)
	if left := time.Until(tok.Expiry); err != nil || tok.Secret() != "ghs_theirs" || left < 59*time.Minute || left > time.Hour {
		t.Errorf("Token = %v for %v, %v, want go-keyring's for an hour", tok, left, err)
	}
	if err := r.set(t.Context(), item{service, "ours"}, "a test", []byte("ghs_ours")); err != nil {
		t.Fatal(err)
	}
	if value, err := keyring.Get(service, "ours"); value != "ghs_ours" || err != nil {
		t.Errorf("go-keyring reads %q, %v, want ghs_ours", value, err)
	}
}

func TestSecretServiceCache(t *testing.T) {
	_, scope := realRing(t)
	src := &issuer{}
	first := &Cache{Source: src, Scope: scope}
	want(t, first, widgets, "tok-1")
	next := &Cache{Source: src, Scope: scope}
	tok := want(t, next, widgets, "tok-1")
	if err := errors.Join(first.Warning(), next.Warning()); err != nil {
		t.Errorf("Warning = %v, want nil", err)
	}
	next.Reject(widgets, tok.Fingerprint())
	if _, _, err := system().get(t.Context(), item{"gatepass", next.account(widgets)}); !errors.Is(err, errNotFound) {
		t.Errorf("get of the rejected token = %v, want %v", err, errNotFound)
	}
}

func TestSecretServiceDropsExpiredEntries(t *testing.T) {
	r, scope := realRing(t)
	c := &Cache{Source: &issuer{}, Scope: scope}
	it := item{"gatepass", c.account(widgets)}
	const old = `{"token":"ghs_old","expires_at":"2026-01-01T00:00:00Z"}`
	if err := r.set(t.Context(), it, "a test", []byte(old)); err != nil {
		t.Fatal(err)
	}
	c.Source = &issuer{fails: true}
	if _, err := c.Token(t.Context(), widgets); !errors.Is(err, errDown) {
		t.Errorf("Token = %v, want %v", err, errDown)
	}
	if _, _, err := r.get(t.Context(), it); !errors.Is(err, errNotFound) {
		t.Errorf("get of the expired entry = %v, want %v", err, errNotFound)
	}
}

func TestSecretServiceWithTwoEntriesOfOneName(t *testing.T) {
	r, service := realRing(t)
	it := item{service, "account"}
	if err := r.set(t.Context(), it, "a test", []byte("one")); err != nil {
		t.Fatal(err)
	}
	duplicate(t, it)
	if _, _, err := r.get(t.Context(), it); !errors.Is(err, errAmbiguous) {
		t.Errorf("get = %v, want %v", err, errAmbiguous)
	}
	if err := r.remove(t.Context(), it); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.get(t.Context(), it); !errors.Is(err, errNotFound) {
		t.Errorf("get after remove = %v, want %v", err, errNotFound)
	}
}

// duplicate stores a second entry of the same name, as another program might.
func duplicate(t *testing.T, it item) {
	t.Helper()
	s, err := openSession(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	properties := map[string]dbus.Variant{itemInterface + ".Attributes": dbus.MakeVariant(it.attributes())}
	sec := secret{Session: s.path, Parameters: []byte{}, Value: []byte("two"), ContentType: "text/plain"}
	var path, prompt dbus.ObjectPath
	if err := s.call(loginPath, collectionInterface+".CreateItem", properties, sec, false).into(&path, &prompt); err != nil {
		t.Fatal(err)
	}
}

func TestALockedSecretServiceFailsAtOnceWithoutADialog(t *testing.T) {
	r, service := realRing(t)
	it := item{service, "account"}
	if err := r.set(t.Context(), it, "a test", []byte("ghs_one")); err != nil {
		t.Fatal(err)
	}
	dialogs := lock(t)
	for name, do := range map[string]func(context.Context) error{
		"get":    func(ctx context.Context) error { _, _, err := r.get(ctx, it); return err },
		"set":    func(ctx context.Context) error { return r.set(ctx, it, "a test", []byte("ghs_two")) },
		"remove": func(ctx context.Context) error { return r.remove(ctx, it) },
	} {
		soon(t, name, func() {
			if err := do(t.Context()); !errors.Is(err, errLocked) {
				t.Errorf("%s = %v, want %v", name, err, errLocked)
			}
		})
	}
	c := &Cache{Source: &issuer{}, Scope: service}
	want(t, c, widgets, "tok-1")
	if err := c.Warning(); !errors.Is(err, errLocked) {
		t.Errorf("Warning = %v, want %v", err, errLocked)
	}
	if n := dialogs(); n > 0 {
		t.Errorf("%d dialogs would have been shown, want none", n)
	}
	// Check that dialogs are counted: go-keyring wants one, and fails without it.
	done := make(chan error, 1)
	go func() { _, err := keyring.Get(service, "account"); done <- err }()
	select {
	case err := <-done:
		if err == nil || dialogs() == 0 {
			t.Errorf("go-keyring's Get = %v after %d dialogs, want one without an answer", err, dialogs())
		}
	case <-time.After(time.Minute):
		t.Error("go-keyring's Get still waits after a minute")
	}
}

// lock locks the keyring until the test ends. The returned function counts the dialogs
// that the service has asked for since then.
func lock(t *testing.T) (dialogs func() int64) {
	t.Helper()
	s, err := openSession(context.WithoutCancel(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	p := takePrompter(t, s.bus)
	var locked []dbus.ObjectPath
	var prompt dbus.ObjectPath
	if err := s.call(servicePath, serviceInterface+".Lock", []dbus.ObjectPath{loginPath}).into(&locked, &prompt); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unlock(t, s) })
	return p.asked.Load
}

// unlock gives the password of the test's keyring in the way that gnome-keyring has for
// the login of a session.
func unlock(t *testing.T, s *session) {
	t.Helper()
	const method = "org.gnome.keyring.InternalUnsupportedGuiltRiddenInterface.UnlockWithMasterPassword"
	sec := secret{Session: s.path, Parameters: []byte{}, Value: []byte(keyringPassword), ContentType: "text/plain"}
	if err := s.call(servicePath, method, dbus.ObjectPath(loginPath), sec).into(); err != nil {
		t.Errorf("unlock the keyring again: %v", err)
	}
}

// keyringPassword is the password that test/components/keyring.sh gives to the keyring.
const keyringPassword = "\n"

// A prompter takes the place of the program with which gnome-keyring shows dialogs. It
// shows none.
type prompter struct{ asked atomic.Int64 }

func (p *prompter) BeginPrompting(dbus.ObjectPath) *dbus.Error {
	p.asked.Add(1)
	return dbus.MakeFailedError(errors.New("no user is there"))
}

func takePrompter(t *testing.T, bus *dbus.Conn) *prompter {
	t.Helper()
	p := &prompter{}
	if err := bus.Export(p, "/org/gnome/keyring/Prompter", "org.gnome.keyring.internal.Prompter"); err != nil {
		t.Fatal(err)
	}
	reply, err := bus.RequestName("org.gnome.keyring.SystemPrompter", dbus.NameFlagDoNotQueue)
	if err != nil || reply != dbus.RequestNameReplyPrimaryOwner {
		t.Fatalf("RequestName = %v, %v, want to be the one who shows dialogs", reply, err)
	}
	return p
}
