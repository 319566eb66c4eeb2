package main

import (
	"strings"
	"testing"
	"time"
)

// With the clock two hours ahead "create --require-token" printed pending and exited 0,
// refresh minted again and again, and destroy left live tokens. Now the commands go by
// GitHub's clock, and say that this machine's is off.
func TestWorkspacesWithAClockThatIsOff(t *testing.T) {
	for _, moved := range []time.Duration{-2 * time.Hour, 2 * time.Hour} {
		w := newIssuingWorld(t)
		w.Advance(moved)
		run := func(want string, args ...string) {
			t.Helper()
			out, errs, status := w.gatepass(append([]string{"workspace"}, args...)...)
			if status != 0 || !strings.Contains(out, want) || !strings.HasPrefix(errs, "note: this machine's clock is 2h0m0s ") {
				t.Errorf("GitHub's clock moved by %v: %v = %d, %q, %q, want %q and a note", moved, args, status, out, errs, want)
			}
		}
		run("sb-1: ready", "create", "profile.yaml", "--id", "sb-1", "--require-token")
		run("sb-1: ready; nothing was due", "refresh", "sb-1")
		run("sb-1: ready", "show", "sb-1")
		run("ready", "list")
		if live := len(w.Tokens()); live != 2 {
			t.Errorf("%d tokens are alive, want one for each owner", live)
		}
		run("nothing is left of workspace sb-1", "destroy", "sb-1")
		if live := len(w.Tokens()); live != 0 {
			t.Errorf("%d tokens are alive, want none", live)
		}
	}
}
