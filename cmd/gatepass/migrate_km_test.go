package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/cmd/gatepass/command"
	"github.com/gatepass/gatepass/cmd/gatepass/workspace"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/fakegithub"
)

// deliver writes a token where the first system does, and returns it.
func (w *issuingWorld) deliver(t *testing.T, id string, mode store.Mode) string {
	t.Helper()
	name, err := store.OnlyToken(id)
	if err != nil {
		t.Fatal(err)
	}
	token, err := w.MintFor(w.installation(t, "acme"), nil, nil)
	if err == nil {
		err = w.open().Put(t.Context(), name, store.NewSecret(token), mode)
	}
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// age makes the token look written a while ago, by the store's clock.
func (w *issuingWorld) age(t *testing.T, id string, ago time.Duration) {
	t.Helper()
	name, err := store.OnlyToken(id)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Now().Add(-ago)
	if err := os.Chtimes(filepath.Join(w.dir, "store", name.String()), at, at); err != nil {
		t.Fatal(err)
	}
}

// states are the states of all sandboxes in the survey.
func (w *issuingWorld) states(t *testing.T) string {
	t.Helper()
	var s workspace.KMSurvey
	if err := json.Unmarshal([]byte(w.do("migrate", "km", "--json")), &s); err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, one := range s.Sandboxes {
		all = append(all, one.ID+" "+one.State)
	}
	return strings.Join(all, ", ")
}

// From the survey to a sandbox that is taken over, the other system's return, and the way
// back.
func TestMigrateKM(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the command many times")
	}
	w := newIssuingWorld(t)
	w.write("one.yaml", "spec: {sourceAccess: {github: {allowedRepos: [acme/widgets], allowedRefs: [\"release/*\"]}}}\n")
	w.do("app", "discover")
	theirs, other := w.deliver(t, "sb-1", store.CreateOnly), w.deliver(t, "sb-2", store.CreateOnly)

	out := w.do("migrate", "km")
	for _, want := range []string{w.app.ClientID + ", used without a change\n", "installed on: acme, octo", "sb-1", "theirs", "gatepass migrate km PROFILE --id sb-1"} {
		if !strings.Contains(out, want) {
			t.Errorf("migrate km prints\n%s\nwant %q in it", out, want)
		}
	}
	out, errs, status := w.gatepass("migrate", "km", "one.yaml", "--id", "sb-1", "--dry-run")
	if status != 0 || !strings.Contains(out, "nothing was minted or written") || !strings.Contains(errs, "release/* stays within one path segment") || !strings.Contains(errs, "note: take over sandbox sb-1: km wrote its token") {
		t.Errorf("migrate km --dry-run = %d\n%s%s", status, out, errs)
	}
	if got := w.states(t); got != "sb-1 theirs, sb-2 theirs" || !w.isLive(fakegithub.Hash(theirs)) {
		t.Errorf("after the dry run: %s, and the token is alive: %v", got, w.isLive(fakegithub.Hash(theirs)))
	}

	if out, errs, status := w.gatepass("migrate", "km", "one.yaml", "--id", "sb-1"); status != 1 || out != "" || !strings.Contains(errs, "gatepass: take over sandbox sb-1: km wrote its token 0m ago and may write the next one; stop its schedule, then wait until ") || !w.isLive(fakegithub.Hash(theirs)) {
		t.Errorf("migrate km while km may run = %d\n%s%s", status, out, errs)
	}
	w.age(t, "sb-1", workspace.KMInterval+time.Minute)
	if out, errs, status := w.gatepass("migrate", "km", "one.yaml", "--id", "sb-1"); status != 0 || !strings.Contains(out, "workspace sb-1: ready") {
		t.Errorf("migrate km = %d\n%s%s", status, out, errs)
	}
	if got := w.states(t); got != "sb-1 taken over, sb-2 theirs" {
		t.Errorf("after the take-over: %s", got)
	}
	if w.isLive(fakegithub.Hash(theirs)) || !w.isLive(fakegithub.Hash(other)) {
		t.Error("the token of sb-1 is alive, or that of sb-2 is not")
	}

	back := w.deliver(t, "sb-1", store.Replace)
	if got := w.states(t); got != "sb-1 both, sb-2 theirs" {
		t.Errorf("with both systems, before a refresh: %s", got)
	}
	if _, errs, status := w.gatepass("migrate", "km", "one.yaml", "--id", "sb-1"); status != 1 || !strings.Contains(errs, "both systems deliver to it: km wrote its token 0m ago") || !w.isLive(fakegithub.Hash(back)) {
		t.Errorf("migrate km with both systems = %d %s, and the other's token is alive: %v", status, errs, w.isLive(fakegithub.Hash(back)))
	}
	if _, _, status := w.gatepass("workspace", "refresh", "sb-1", "--force"); status != 1 || !w.isLive(fakegithub.Hash(back)) {
		t.Errorf("with both systems a refresh ends with %d, and the other's token is alive: %v", status, w.isLive(fakegithub.Hash(back)))
	}
	if got := w.states(t); got != "sb-1 both, sb-2 theirs" {
		t.Errorf("with both systems: %s", got)
	}

	if out, errs, status := w.gatepass("migrate", "km", "one.yaml", "--id", "sb-1", "--stopped"); status != 0 || !strings.Contains(out, "workspace sb-1: ready") {
		t.Errorf("migrate km --stopped = %d\n%s%s", status, out, errs)
	}
	if got := w.states(t); got != "sb-1 taken over, sb-2 theirs" || w.isLive(fakegithub.Hash(back)) {
		t.Errorf("with --stopped: %s, and the other's token is alive: %v", got, w.isLive(fakegithub.Hash(back)))
	}
	if _, errs, status := w.gatepass("migrate", "km", "one.yaml", "--id", "sb-9", "--stopped"); status != 1 || !strings.Contains(errs, "take over sandbox sb-9: the store has no such sandbox") {
		t.Errorf("migrate km of no sandbox = %d %s", status, errs)
	}

	w.do("workspace", "destroy", "sb-1")
	w.deliver(t, "sb-1", store.CreateOnly)
	if got := w.states(t); got != "sb-1 theirs, sb-2 theirs" {
		t.Errorf("after the way back: %s", got)
	}
}

func TestMigrateKMRefuses(t *testing.T) {
	for _, args := range [][]string{{"--id", "sb-1"}, {"p.yaml"}, {"p.yaml", "--id", "../x"}, {"p.yaml", "--id", "x", "--json"}, {"a", "b"}} {
		if _, errs, status := gatepass(t.Context(), append([]string{"migrate", "km"}, args...)...); status != command.ExitUsage || errs == "" {
			t.Errorf("migrate km %q = %d %s", args, status, errs)
		}
	}
}
