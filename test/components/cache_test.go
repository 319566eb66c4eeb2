//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// fillWith returns a fill that writes one file, and counts its calls.
func fillWith(text string, calls *int) func(string) error {
	return func(dir string) error {
		*calls++
		return os.WriteFile(filepath.Join(dir, "file"), []byte(text), 0o600)
	}
}

func (c cache) content(t *testing.T, key string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(c.path(key), "file"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestBuildFillsAnEntryOnce(t *testing.T) {
	c := cache{dir: t.TempDir()}
	calls := 0
	for range 2 {
		if err := c.build("thing-1", fillWith("whole", &calls)); err != nil {
			t.Fatal(err)
		}
	}
	if got := c.content(t, "thing-1"); got != "whole" || calls != 1 {
		t.Errorf("build twice = %q after %d fills, want whole after 1", got, calls)
	}
}

func TestBuildRedoesAnInterruptedSetUp(t *testing.T) {
	c := cache{dir: t.TempDir()}
	left := filepath.Join(c.path("thing-1")+".partial", "half")
	if err := os.MkdirAll(left, 0o755); err != nil {
		t.Fatal(err)
	}
	if c.has("thing-1") {
		t.Error("has(thing-1) = true with only a part of it there, want false")
	}
	calls := 0
	if err := c.build("thing-1", fillWith("whole", &calls)); err != nil {
		t.Fatal(err)
	}
	if got := c.content(t, "thing-1"); got != "whole" {
		t.Errorf("content = %q, want whole", got)
	}
	if _, err := os.Stat(filepath.Join(c.path("thing-1"), "half")); err == nil {
		t.Error("the entry has a file of the interrupted set-up, want only new ones")
	}
}

func TestBuildThatFailsLeavesNothing(t *testing.T) {
	c := cache{dir: t.TempDir()}
	failure := errors.New("no room")
	err := c.build("thing-1", func(dir string) error {
		os.WriteFile(filepath.Join(dir, "half"), nil, 0o600)
		return failure
	})
	if !errors.Is(err, failure) {
		t.Errorf("build = %v, want %v", err, failure)
	}
	entries, err := os.ReadDir(c.dir)
	if err != nil || len(entries) != 0 {
		t.Errorf("cache = %v, %v, want it empty", entries, err)
	}
}

func TestLockKeepsASecondRunOut(t *testing.T) {
	c := cache{dir: t.TempDir()}
	unlock, err := c.lock(t.Context(), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	var said bytes.Buffer
	if _, err := c.lock(ctx, &said); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("second lock = %v, want %v", err, context.DeadlineExceeded)
	}
	if !strings.Contains(said.String(), "waiting for another run") {
		t.Errorf("second lock said %q, want that it waits", said.String())
	}
	unlock()
	unlock, err = c.lock(t.Context(), io.Discard)
	if err != nil {
		t.Fatalf("lock after unlock = %v, want nil", err)
	}
	unlock()
}
