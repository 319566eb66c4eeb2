package main

import (
	"strings"
	"testing"

	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/fakegithub"
	"github.com/gatepass/gatepass/workspace"
)

// A profile of the first system works unchanged, and one line names what is ignored.
func TestWorkspaceOfASandboxProfile(t *testing.T) {
	w := newIssuingWorld(t)
	w.write("sandbox.yaml", `apiVersion: klankermaker.ai/v1alpha1
kind: SandboxProfile
metadata: {name: my-profile, prefix: sb}
spec:
  runtime: {substrate: ec2, region: us-east-1}
  sourceAccess:
    mode: allowlist
    github: {allowedRepos: [github.com/acme/widgets], allowedRefs: [main]}
`)
	const note = "note: ignored, because gatepass reads only spec.sourceAccess: metadata.prefix, spec.runtime\n"
	out, errs, status := w.gatepass("workspace", "create", "sandbox.yaml", "--id", "sb-1", "--policy-out", "workspace.yaml")
	if status != 0 || errs != note || !strings.Contains(out, "workspace sb-1: ready") {
		t.Fatalf("workspace create = %d, %q, %q, want it ready and one note", status, out, errs)
	}
	if r := w.report("workspace", "show", "sb-1"); r.Profile != "my-profile" || len(r.Repositories) != 1 || r.Repositories[0] != "acme/widgets" || r.Permissions["contents"] != "write" {
		t.Errorf("workspace show = %+v, want pushes to acme/widgets alone", r)
	}
	if _, errs, status := w.gatepass("app", "status", "--profile", "sandbox.yaml"); status != 0 || errs != "note: sandbox.yaml: "+strings.TrimPrefix(note, "note: ") {
		t.Errorf("app status = %d, %q, want the same note with the file's name", status, errs)
	}
}

// A user who moves a sandbox is told that the other system still delivers to it, and
// takes it over with an explicit option.
func TestWorkspaceAdopts(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the command many times")
	}
	w := newIssuingWorld(t)
	w.write("one.yaml", "spec: {sourceAccess: {github: {allowedRepos: [acme/widgets]}}}\n")
	name, err := store.OnlyToken("sb-1")
	if err != nil {
		t.Fatal(err)
	}
	w.do("app", "discover")
	theirs, err := w.MintFor(w.installation(t, "acme"), nil, nil)
	if err == nil {
		err = w.open().Put(t.Context(), name, store.NewSecret(theirs), store.CreateOnly)
	}
	if err != nil {
		t.Fatal(err)
	}
	const says = "gatepass: workspace sb-1: the store has a live token that gatepass did not write, and left it alone: sandbox/sb-1/github-token; another system delivers to the workspace; stop that system for this workspace, then: gatepass workspace refresh sb-1 --adopt\n"
	for _, args := range [][]string{{"create", "one.yaml", "--id", "sb-1"}, {"refresh", "sb-1"}} {
		if _, errs, status := w.gatepass(append([]string{"workspace"}, args...)...); status != 1 || errs != says || !w.isLive(fakegithub.Hash(theirs)) {
			t.Errorf("workspace %s = %d, %q, and the other's token is alive: %t", args[0], status, errs, w.isLive(fakegithub.Hash(theirs)))
		}
	}
	if r := w.report("workspace", "show", "sb-1"); r.LastError == nil || !r.LastError.Foreign || len(r.Todo) != 1 || r.Todo[0].Do != workspace.Leave {
		t.Errorf("workspace show = %+v, want the error and what is left", r)
	}
	// A system that wrote a token a moment ago may write the next one: both would revoke
	// each other's tokens.
	const young = "gatepass: workspace sb-1: another system wrote its token 0m ago and may write the next one; stop that system for it, then wait until "
	for _, args := range [][]string{{"create", "one.yaml", "--id", "sb-1", "--adopt"}, {"refresh", "sb-1", "--adopt"}} {
		if _, errs, status := w.gatepass(append([]string{"workspace"}, args...)...); status != 1 || !strings.HasPrefix(errs, young) || !strings.HasSuffix(errs, " or add --stopped\n") || !w.isLive(fakegithub.Hash(theirs)) {
			t.Errorf("workspace %s --adopt = %d, %q, want %q; the other's token is alive: %t", args[0], status, errs, young, w.isLive(fakegithub.Hash(theirs)))
		}
	}
	if _, errs, status := w.gatepass("workspace", "refresh", "sb-1", "--stopped"); status != 2 || !strings.Contains(errs, "--adopt") {
		t.Errorf("workspace refresh --stopped = %d, %q, want that --adopt is missing", status, errs)
	}
	w.do("workspace", "refresh", "sb-1", "--adopt", "--stopped")
	if w.isLive(fakegithub.Hash(theirs)) {
		t.Error("the other's token is alive after --adopt")
	}
	if r := w.report("workspace", "show", "sb-1"); r.State != workspace.Ready || len(r.Todo) != 0 {
		t.Errorf("workspace show = %+v, want it ready", r)
	}
}

// installation returns the store's id for an account.
func (w *issuingWorld) installation(t *testing.T, owner string) int64 {
	t.Helper()
	all, err := workspace.StoredInstallations(t.Context(), w.open())
	if err != nil {
		t.Fatal(err)
	}
	for _, in := range all {
		if in.Account.Login == owner {
			return in.ID
		}
	}
	t.Fatalf("the store knows no installation on %s", owner)
	return 0
}
