package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// openTerminal makes a pseudoterminal: text written to person is typed, and person
// reads what a user sees.
func openTerminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("missing: pseudoterminals: ", err)
	}
	t.Cleanup(func() { person.Close() })
	if err := unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return person, program
}

// converse runs gatepass at a terminal where a person answers the questions in turn. It
// returns what gatepass printed to standard output, and what the person saw.
func (w *storeWorld) converse(answers [][2]string, args ...string) (stdout, seen string, status int) {
	w.t.Helper()
	person, program := openTerminal(w.t)
	cmd := w.command(w.t, args...)
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = program, &out, program
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	watchdog := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer watchdog.Stop()
	program.Close()
	var screen strings.Builder
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		buffer := make([]byte, 4096)
		for {
			n, err := person.Read(buffer)
			screen.Write(buffer[:n])
			if len(answers) > 0 && strings.HasSuffix(screen.String(), answers[0][0]) {
				_, _ = io.WriteString(person, answers[0][1])
				answers = answers[1:]
			}
			if err != nil { // EIO: the last writer has closed
				return
			}
		}
	}()
	_ = cmd.Wait()
	<-heard
	if len(answers) > 0 {
		w.t.Errorf("at the terminal stands %q, want the question %q", screen.String(), answers[0][0])
	}
	return out.String(), screen.String(), cmd.ProcessState.ExitCode()
}

func TestAppAddAsksAtATerminal(t *testing.T) {
	w := newStoreWorld(t)
	w.install("acme", 11)
	out, seen, status := w.converse([][2]string{
		{"client ID of the App: ", "\n"}, // an empty answer, so that it asks again
		{"client ID of the App: ", w.app.ClientID + "\n"},
		{"path of the App's private key (PEM): ", w.key + "\n"},
	}, "app", "add")
	if status != 0 || !strings.Contains(out, "is set up\n") || strings.Contains(out, "path of") {
		t.Errorf("app add = %d, %q, %q, want the App set up and no question in the output", status, out, seen)
	}
	w.wants("app add", map[string]string{"app-client-id": w.app.ClientID, "private-key": "PEM", "github-url": w.URL(), "installations/acme": "11"})
}

func TestAppAddAtATerminalCanBeLeft(t *testing.T) {
	w := newStoreWorld(t)
	for _, c := range []struct {
		name    string
		answers [][2]string
		args    []string
		status  int
		want    string
	}{
		{"the key is typed", [][2]string{{"(PEM): ", "-----BEGIN RSA PRIVATE KEY-----\n"}}, []string{"--app-client-id", w.app.ClientID}, 1, "this is the key itself, not the path of its file"},
		{"the input ends", [][2]string{{"App: ", "\x04"}}, nil, 1, "ask for the client ID of the App: nothing was typed"},
		{"no question is allowed", nil, []string{"--non-interactive"}, 2, "missing: --app-client-id"},
	} {
		out, seen, status := w.converse(c.answers, append([]string{"app", "add"}, c.args...)...)
		if status != c.status || out != "" || !strings.Contains(seen, "gatepass: ") || !strings.Contains(seen, c.want) {
			t.Errorf("%s: app add = %d, %q, %q, want %d and %q", c.name, status, out, seen, c.status, c.want)
		}
		w.wants(c.name, map[string]string{})
	}
}

// A signal ends the wait for an answer.
func TestAppAddAtATerminalIsInterrupted(t *testing.T) {
	w := newStoreWorld(t)
	person, program := openTerminal(t)
	cmd := w.command(t, "app", "add")
	cmd.Stdin, cmd.Stderr = program, program
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	watchdog := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer watchdog.Stop()
	program.Close()
	buffer, seen := make([]byte, 4096), ""
	for !strings.HasSuffix(seen, ": ") {
		n, err := person.Read(buffer)
		if err != nil {
			t.Fatalf("at the terminal stands %q, %v, want a question", seen, err)
		}
		seen += string(buffer[:n])
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	rest, _ := io.ReadAll(person) // ends with EIO
	if err := cmd.Wait(); err == nil || !strings.Contains(string(rest), "it was interrupted") {
		t.Errorf("app add = %v, %q, want it to say that it was interrupted", err, rest)
	}
}
