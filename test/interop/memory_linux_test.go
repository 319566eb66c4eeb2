//go:build linux

package interop

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/test/memory"
)

// children are the processes that descend from one.
func children(of int) (found []int) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is well-formed
	for _, path := range stats {
		text, _ := os.ReadFile(path) // a process may have ended
		_, rest, _ := strings.Cut(string(text), ") ")
		fields := strings.Fields(rest)
		if len(fields) > 1 && fields[1] == strconv.Itoa(of) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			found = append(append(found, pid), children(pid)...)
		}
	}
	return found
}

// While git pushes by the gateway, the broker has GitHub's token and git's memory does not:
// neither a core dump nor a debugger finds one.
func TestTheMemoryOfGitHasNoToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := gitProgram{w: w}
	dir, commit := w.cloned(g, "widgets")
	var seen []byte
	w.mu.Lock()
	w.onPush = func() {
		for _, pid := range children(os.Getpid()) {
			environ, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
			if bytes.Contains(environ, []byte("SESSION="+w.session)) { // of this test, not of another one
				seen = append(seen, memory.Of(pid)...)
			}
		}
	}
	w.mu.Unlock()
	w.pushed(g, dir, "refs/heads/work:"+branch)
	w.wantRef("widgets", branch, commit)
	if len(seen) < 100<<10 || !bytes.Contains(seen, []byte("git-receive-pack")) {
		t.Fatalf("%d bytes of git's memory were read: the test sees nothing", len(seen))
	}
	if len(w.Tokens()) < 2 {
		t.Fatalf("%d tokens were minted, want one to read and one to write", len(w.Tokens()))
	}
	basic := base64.StdEncoding.EncodeToString([]byte("x-access-token:ghs")) // as GitHub is shown it
	for _, token := range []string{"ghs_", basic} {
		if i := bytes.Index(seen, []byte(token)); i >= 0 {
			t.Errorf("git's memory has %.60q", seen[i:])
		}
	}
}
