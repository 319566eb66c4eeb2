//go:build linux

package cmd_test

import (
	"bytes"
	"encoding/base64"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/gatepass/gatepass/credential"
	"github.com/rogpeppe/go-internal/testscript"
)

// spellings returns the forms in which a token could be left somewhere.
func spellings(token string) [][]byte {
	plain := credential.DefaultUsername + ":" + token
	return [][]byte{
		[]byte(token), []byte(url.QueryEscape(token)),
		[]byte(base64.StdEncoding.EncodeToString([]byte(token))),
		[]byte(base64.StdEncoding.EncodeToString([]byte(plain))),
	}
}

// held returns the name of a token that data contains, "" for none.
func (w *world) held(data []byte) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	for token, name := range w.tokens {
		for _, s := range spellings(token) {
			if bytes.Contains(data, s) {
				return name
			}
		}
	}
	if w.hasBroker && (mintedToken.Match(data) || bytes.Contains(data, mintedBasic)) {
		return "that the broker has"
	}
	return ""
}

// Patterns of GitHub's tokens, plain and as git sends them: the test does not know the
// tokens that a real broker gets.
var (
	mintedToken = regexp.MustCompile(`ghs_[A-Za-z0-9._-]{30,}`)
	mintedBasic = []byte(base64.StdEncoding.EncodeToString([]byte(credential.DefaultUsername + ":ghs"))) // whole groups of three
)

// leaks [FILE...] checks that no token is in any file of the script (home, runtime and
// temporary directories, clones) except the named ones, or was in a command line since
// watch, and that the last program printed none.
func (w *world) leaks(ts *testscript.TestScript, args []string) {
	for i, name := range args {
		args[i] = ts.MkAbs(name)
	}
	for _, root := range []string{w.work, w.run} {
		ts.Check(filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if os.IsNotExist(err) {
				return nil // a running program has removed it
			}
			if d != nil && d.IsDir() && path == filepath.Join(w.work, "store") {
				return fs.SkipDir // the broker's
			}
			if err != nil || !d.Type().IsRegular() || slices.Contains(args, path) {
				return err
			}
			data, err := os.ReadFile(path)
			if os.IsNotExist(err) {
				return nil
			}
			if name := w.held(data); name != "" {
				ts.Fatalf("%s holds the token %s", path, name)
			}
			return err
		}))
	}
	for _, stream := range []string{"stdout", "stderr"} {
		if name := w.held([]byte(ts.ReadFile(stream))); name != "" {
			ts.Fatalf("%s holds the token %s", stream, name)
		}
	}
	if w.watching == nil {
		return
	}
	seen := w.watching.stop()
	w.watching = nil
	if len(seen) == 0 {
		ts.Fatalf("watch saw no command line at all")
	}
	for line := range seen {
		if name := w.held([]byte(line)); name != "" {
			ts.Fatalf("a command line holds the token %s", name)
		}
	}
}

// A watcher collects the command lines of this machine's processes.
type watcher struct {
	done chan struct{}
	once sync.Once
	seen chan map[string]bool
}

// watch reads all command lines every few milliseconds until leaks.
func (w *world) watch(ts *testscript.TestScript, args []string) {
	usage(ts, len(args) == 0, "watch")
	w.watching = &watcher{done: make(chan struct{}), seen: make(chan map[string]bool, 1)}
	go w.watching.run()
}

func (w *watcher) run() {
	seen := map[string]bool{}
	tick := time.NewTicker(3 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-w.done:
			w.seen <- seen
			return
		case <-tick.C:
		}
		files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, f := range files {
			if line, err := os.ReadFile(f); err == nil && len(line) > 0 {
				seen[string(line)] = true
			}
		}
	}
}

func (w *watcher) stop() (seen map[string]bool) {
	w.once.Do(func() {
		close(w.done)
		seen = <-w.seen
	})
	return seen
}
