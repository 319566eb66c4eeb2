package main

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/cmd/gatepass/workspace"
	"github.com/gatepass/gatepass/test/fakegithub"
)

// With the clock two hours ahead, "create --require-token" printed pending and exited
// 0, refresh minted again and again, and destroy left live tokens. Now the commands
// follow GitHub's clock, and warn that this machine's is off.
func TestWorkspacesWithAClockThatIsOff(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the command many times")
	}
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
		run("workspace sb-1 is destroyed", "destroy", "sb-1")
		if live := len(w.Tokens()); live != 0 {
			t.Errorf("%d tokens are alive, want none", live)
		}
	}
}

// The workspace itself shows why a sandbox lost its access.
func TestWorkspaceShowsItsEvents(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the command many times")
	}
	w := newIssuingWorld(t)
	w.write("one.yaml", "spec: {sourceAccess: {github: {allowedRepos: [acme/widgets]}}}\n")
	w.do("workspace", "create", "one.yaml", "--id", "sb-1")
	up := w.Fail(fakegithub.To(http.MethodPost, "/access_tokens"), fakegithub.Status(http.StatusForbidden), -1)
	for range 2 {
		if _, _, status := w.gatepass("workspace", "refresh", "sb-1", "--force"); status != 1 {
			t.Fatalf("workspace refresh = %d, want GitHub's refusal", status)
		}
	}
	up()
	w.do("workspace", "refresh", "sb-1", "--force", "--revoke")
	r := w.report("workspace", "show", "sb-1", "--events")
	var got []string
	for _, e := range r.Events {
		got = append(got, e.What)
	}
	if want := []string{"minted", "delivered", "failed", "minted", "delivered", "revoked"}; !slices.Equal(got, want) || r.Events[2].Times != 2 || !strings.Contains(r.Events[2].Why, "403") {
		t.Errorf("workspace show --events --json has %+v, want %q with the reason", r.Events, want)
	}
	out := w.do("workspace", "show", "sb-1", "--events")
	for _, line := range []string{
		`(?m)^    20\S+Z +minted +acme +sha256:\S+ *$`, `(?m)^    20\S+Z +failed, 2 times +acme +- .*403`, `(?m)^    20\S+Z +revoked +acme +sha256:\S+ +another token replaced it$`,
	} {
		if !regexp.MustCompile(line).MatchString(out) {
			t.Errorf("workspace show --events prints\n%s\nwant a line of %s", out, line)
		}
	}
	if out := w.do("workspace", "show", "sb-1"); strings.Contains(out, "events") {
		t.Errorf("workspace show prints events unasked: %s", out)
	}
}

// Every way to end a workspace reports in the requested form, and a workspace with a
// damaged record can be ended.
func TestWorkspaceEndsInJSON(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the command many times")
	}
	w := newIssuingWorld(t)
	w.do("workspace", "create", "profile.yaml", "--id", "sb-1")
	stop := w.Fail(fakegithub.To(http.MethodDelete, "/installation/token"), fakegithub.Status(http.StatusForbidden), -1)
	if _, errs, status := w.gatepass("workspace", "destroy", "sb-1"); status != 1 {
		t.Fatalf("destroy = %d, %q, want GitHub's refusal", status, errs)
	}
	stop()
	var report workspace.DestroyReport
	if out := w.do("workspace", "refresh", "sb-1", "--json"); json.Unmarshal([]byte(out), &report) != nil || !report.Destroyed || len(report.Revoked) != 2 {
		t.Errorf("refresh --json = %s, want what was destroyed", out)
	}

	w.do("workspace", "create", "profile.yaml", "--id", "sb-2")
	w.write("store/sandbox/sb-2/workspace", "{")
	if out, errs, status := w.gatepass("workspace", "list"); status != 1 || out != "" || !strings.Contains(errs, "gatepass workspace destroy sb-2") {
		t.Errorf("list = %d, %q, %q, want what to do", status, out, errs)
	}
	w.do("workspace", "destroy", "sb-2")
	if live := w.Tokens(); len(live) != 0 {
		t.Errorf("%d tokens are alive, want none", len(live))
	}
}

// A record that was edited or cut off by a full disk is listed beside the others, and
// its workspace can be destroyed.
func TestARecordOfNoBytes(t *testing.T) {
	w := newIssuingWorld(t)
	w.do("workspace", "create", "profile.yaml", "--id", "sb-1")
	w.do("workspace", "create", "profile.yaml", "--id", "sb-2")
	if err := os.Truncate(filepath.Join(w.dir, "store/sandbox/sb-2/workspace"), 0); err != nil {
		t.Fatal(err)
	}
	out, errs, status := w.gatepass("workspace", "list")
	if status != 1 || !strings.Contains(out, "sb-1") || strings.Contains(out, "sb-2") || !strings.Contains(errs, "the file is empty; destroy it and create it again: gatepass workspace destroy sb-2") {
		t.Errorf("list = %d, %q, %q, want sb-1 listed, and what to do about sb-2", status, out, errs)
	}
	for _, command := range []string{"show", "refresh"} {
		if _, errs, status := w.gatepass("workspace", command, "sb-2"); status != 1 || !strings.Contains(errs, "gatepass workspace destroy sb-2") {
			t.Errorf("%s = %d, %q, want what to do", command, status, errs)
		}
	}
	if out := w.do("workspace", "destroy", "sb-2"); !strings.Contains(out, "a token for (unknown) that no workspace has may be valid") || !strings.Contains(out, "workspace sb-2 is destroyed; nothing is left of it") {
		t.Errorf("destroy = %q, want that the loss is unknown", out)
	}
	if out := w.do("workspace", "list"); !strings.Contains(out, "sb-1") {
		t.Errorf("list = %q, want sb-1", out)
	}
}
