package command

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestColourIsForTerminals(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("missing: a terminal: %v", err)
	}
	defer terminal.Close()
	for _, c := range []struct {
		name, variable, value string
		terminal              bool
		want                  bool
	}{
		{"a terminal", "TERM", "xterm", true, true},
		{"a terminal, and no colour wanted", "NO_COLOR", "1", true, false},
		{"an empty NO_COLOR says nothing", "NO_COLOR", "", true, true},
		{"a terminal without colours", "TERM", "dumb", true, false},
		{"a file", "TERM", "xterm", false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := &Environment{Getenv: func(name string) string {
				if name == c.variable {
					return c.value
				}
				return ""
			}}
			out := file
			if c.terminal {
				out = terminal
			}
			if got := w.Colour(out); got != c.want {
				t.Errorf("colour = %v, want %v", got, c.want)
			}
		})
	}
	if new(Environment).Colour(new(bytes.Buffer)) {
		t.Error("colour of a buffer = true, want false")
	}
}

// A testTerminal records what is written to it, and is a terminal to the program.
type testTerminal struct {
	bytes.Buffer
	tty *os.File
}

func (t *testTerminal) Fd() uintptr { return t.tty.Fd() }

func TestTableOnAScreen(t *testing.T) {
	table := NewTable("WORKSPACE", "STATE", "NOTE")
	table.Row("sb-1", "ready", "")
	table.Row("sb-2", "failing", "GitHub answered 503, see status.example/incidents")
	for name, c := range map[string]struct {
		on   Screen
		want string
	}{
		"no terminal": {Screen{}, "WORKSPACE  STATE    NOTE\nsb-1       ready\nsb-2       failing  GitHub answered 503, see status.example/incidents\n"},
		"colours":     {Screen{80, true}, "\x1b[1mWORKSPACE\x1b[0m  \x1b[1mSTATE\x1b[0m    \x1b[1mNOTE\x1b[0m\nsb-1       \x1b[32mready\x1b[0m\nsb-2       \x1b[33mfailing\x1b[0m  GitHub answered 503, see status.example/incidents\n"},
		"narrow":      {Screen{width: 40}, "WORKSPACE  STATE    NOTE\nsb-1       ready\nsb-2       failing  GitHub answered 503,\n                    see status.example/\n                    incidents\n"},
	} {
		if got := table.Text(c.on); got != c.want {
			t.Errorf("%s:\n%q, want\n%q", name, got, c.want)
		}
	}
}

// What a table loses on no screen: a character.
func TestFoldCellLosesNothing(t *testing.T) {
	for _, text := range []string{"", "a", "sha256:89oSKW/qemNwmk4ICnt343NV3ZmllMao3ucQ7s5FvlA=", "eins, zwei, drei", "äöü€äöü€äöü€äöü€"} {
		for width := narrowest; width < 30; width++ {
			lines := foldCell(text, width)
			for _, line := range lines {
				if n := len([]rune(line)); n > width {
					t.Errorf("foldCell(%q, %d) has a line of %d", text, width, n)
				}
			}
			if got := strings.ReplaceAll(strings.Join(lines, ""), " ", ""); got != strings.ReplaceAll(text, " ", "") {
				t.Errorf("foldCell(%q, %d) = %q", text, width, lines)
			}
		}
	}
}

func TestWaitSaysWhatFor(t *testing.T) {
	tty, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("missing: a terminal: %v", err)
	}
	defer tty.Close()
	for name, c := range map[string]struct {
		takes time.Duration
		want  string
	}{
		"soon there":   {waitBefore - time.Millisecond, ""},
		"slow":         {waitBefore + time.Millisecond, "note: waiting for 1 of 9\n"},
		"and progress": {2*waitBefore + time.Millisecond, "note: waiting for 1 of 9\nnote: waiting for 2 of 9\n"},
	} {
		synctest.Test(t, func(t *testing.T) {
			out := &testTerminal{tty: tty}
			n := 0
			stop := (&Environment{Stderr: out}).WaitWith(func() string { n++; return fmt.Sprintf("%d of 9", n) })
			time.Sleep(c.takes)
			stop()
			time.Sleep(time.Hour)
			if out.String() != c.want {
				t.Errorf("%s: %q, want %q", name, out.String(), c.want)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		out := &testTerminal{tty: tty}
		stop := (&Environment{Stderr: out}).Wait("GitHub")
		time.Sleep(time.Minute)
		stop()
		if out.String() != "note: waiting for GitHub\n" {
			t.Errorf("what does not change is said once: %q", out.String())
		}
	})
	var file bytes.Buffer
	(&Environment{Stderr: &file}).Wait("GitHub")()
	if file.Len() > 0 {
		t.Errorf("to no terminal it says %q", &file)
	}
}
