//go:build linux

package main

import (
	"errors"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

func needKeyring(t *testing.T) {
	t.Helper()
	if _, err := (secretService{}).Find(t.Context()); err != nil {
		t.Skip("missing: Secret Service: ", err)
	}
	if _, err := user.LookupId(strconv.Itoa(os.Getuid())); err != nil {
		t.Skip("missing: an entry in /etc/passwd, without which dbus-daemon does not start: ", err)
	}
}

func TestWithKeyring(t *testing.T) {
	needKeyring(t)
	dir := t.TempDir()
	const script = `
		echo "$HOME $XDG_RUNTIME_DIR $GATEPASS_TEST_SECRET_SERVICE"
		dbus-send --session --print-reply --dest=org.freedesktop.secrets /org/freedesktop/secrets/collection/login \
			org.freedesktop.DBus.Properties.Get string:org.freedesktop.Secret.Collection string:Locked`
	args := withKeyring(dir, []string{"sh", "-c", script})
	got, err := output(hostCommand(t.Context(), args))
	if err != nil {
		t.Fatal(err)
	}
	if want := dir + "/home " + dir + "/run 1"; !strings.HasPrefix(got, want+"\n") {
		t.Errorf("the session prints %q, want it to start with %q", got, want)
	}
	if !strings.Contains(got, "boolean false") {
		t.Errorf("the session prints %q, want the keyring not locked", got)
	}
}

func TestWithKeyringPassesTheExitCodeAndEndsItsDaemons(t *testing.T) {
	needKeyring(t)
	dir := t.TempDir()
	args := withKeyring(dir, []string{"sh", "-c", "exit 7"})
	err := command(t.Context(), args[0], args[1:]...).Run()
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok || exit.ExitCode() != 7 {
		t.Errorf("the session = %v, want exit status 7", err)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		left := runningIn(t, dir)
		if len(left) == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("still running a minute after the session: %q", left)
		}
	}
}

// runningIn lists the processes whose environment names dir.
func runningIn(t *testing.T, dir string) (names []string) {
	t.Helper()
	processes, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range processes {
		env, _ := os.ReadFile(path) // it may have ended, or be another user's
		if strings.Contains(string(env), dir) {
			name, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "comm"))
			names = append(names, strings.TrimSpace(string(name)))
		}
	}
	return names
}
