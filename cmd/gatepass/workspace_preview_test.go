package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/store"
)

// A preview shows what create would ask for, and leaves store and GitHub as they are.
func TestWorkspacePreview(t *testing.T) {
	w := newIssuingWorld(t)
	w.do("app", "discover")
	live, minted := len(w.Tokens()), w.Counts()
	out := w.do("workspace", "create", "profile.yaml", "--id", "sb-1", "--dry-run")
	for _, want := range []string{"workspace sb-1: nothing was minted or written\n", "acme/widgets", "contents: write", "sandbox/sb-1/github-tokens/acme", "refs: "} {
		if !strings.Contains(out, want) {
			t.Errorf("create --dry-run prints\n%s\nwant %q in it", out, want)
		}
	}
	var r previewReport
	if err := json.Unmarshal([]byte(w.do("workspace", "create", "profile.yaml", "--id", "sb-1", "--dry-run", "--json")), &r); err != nil {
		t.Fatal(err)
	}
	if !r.DryRun || len(r.Tokens) != 2 || r.Tokens[0].Owner != "acme" || r.Tokens[0].Installation == 0 || r.Tokens[1].Owner != "octo" || len(r.Refs) != 2 || r.Permissions["contents"] != "write" {
		t.Errorf("create --dry-run --json = %+v, want the tokens of acme and octo", r)
	}
	below, err := store.Workspace("sb-1")
	if err != nil {
		t.Fatal(err)
	}
	for name, err := range w.open().List(t.Context(), below) {
		t.Errorf("the store has %s, %v, want nothing of the workspace", name, err)
	}
	if len(w.Tokens()) != live || w.Counts() != minted {
		t.Errorf("GitHub was asked: %+v, before %+v", w.Counts(), minted)
	}
}

func TestWorkspacePreviewRefuses(t *testing.T) {
	_, errs, status := gatepass(t.Context(), "workspace", "create", "p.yaml", "--id", "sb-1", "--dry-run", "--policy-out", "x")
	if status != exitUsage || !strings.Contains(errs, "--dry-run writes nothing") {
		t.Errorf("--dry-run --policy-out: %d %s", status, errs)
	}
}
