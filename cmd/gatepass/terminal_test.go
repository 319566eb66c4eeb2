package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
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
			w := &app{getenv: func(name string) string {
				if name == c.variable {
					return c.value
				}
				return ""
			}}
			out := file
			if c.terminal {
				out = terminal
			}
			if got := w.colour(out); got != c.want {
				t.Errorf("colour = %v, want %v", got, c.want)
			}
		})
	}
	if new(app).colour(new(bytes.Buffer)) {
		t.Error("colour of a buffer = true, want false")
	}
}
