package main

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/broker/identity"
	"github.com/gatepass/gatepass/cmd/gatepass/command"
	"github.com/gatepass/gatepass/cmd/gatepass/workspace"
	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/store"
)

// A preview shows what create would request, and changes neither the store nor GitHub.
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
	var r workspace.PreviewReport
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
	if status != command.ExitUsage || !strings.Contains(errs, "--dry-run cannot be combined with --policy-out") {
		t.Errorf("--dry-run --policy-out: %d %s", status, errs)
	}
}

// The first system's layout, with real calls: a sandbox has its tokens in /sandbox/ID,
// encrypted with its own key, and both are gone after it.
func TestWorkspaceWithAKeyOfItsOwn(t *testing.T) {
	endpoint := os.Getenv("GATEPASS_TEST_AWS_ENDPOINT")
	if endpoint == "" {
		t.Skip("missing: AWS emulator (set GATEPASS_TEST_AWS_ENDPOINT to the address of a moto_server)")
	}
	w := newIssuingWorld(t)
	id := fmt.Sprint("sb-", time.Now().UnixNano())
	address := "ssm:///km" + id + "?region=us-east-1&workspaces=/&kms_key=create:alias/km-github-token-{workspace}&endpoint=" + url.QueryEscape(endpoint)
	for name, value := range map[string]string{"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true"} {
		t.Setenv(name, value)
		w.variables = append(w.variables, name+"="+value)
	}
	s, err := issuing.OpenStore(address)
	if err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(w.key)
	if err != nil {
		t.Fatal(err)
	}
	if err := issuing.Save(t.Context(), s, issuing.Credentials{ID: w.app.ClientID, PrivateKey: store.NewSecret(string(pem)), GitHub: w.URL()}, store.CreateOnly); err != nil {
		t.Fatal(err)
	}
	w.write("one.yaml", "spec: {sourceAccess: {github: {allowedRepos: [acme/widgets], allowedRefs: [main]}}}\n")
	w.do("workspace", "create", "one.yaml", "--id", id, "--store", address, "--policy-out", "workspace.yaml")
	if text, err := os.ReadFile(filepath.Join(w.dir, "workspace.yaml")); err != nil || !strings.Contains(string(text), "source: ssm:///sandbox/{workspace}/github-token?") {
		t.Errorf("the workspace file is\n%s%v\nwant the first system's place", text, err)
	}
	doctor, _, _ := w.gatepass("doctor", "--store", address)
	if strings.Contains(doctor, "key-being-made") {
		t.Errorf("the mark is still there:\n%s", doctor)
	}
	if out := w.do("workspace", "destroy", id, "--store", address); !strings.Contains(out, "workspace "+id+" is destroyed; nothing is left of it\n") {
		t.Errorf("workspace destroy prints %s", out)
	}
	folder, err := store.Workspace(id)
	if err != nil {
		t.Fatal(err)
	}
	for name, err := range s.List(t.Context(), folder) {
		t.Errorf("%s is left, %v", name, err)
	}
	if live := w.Tokens(); len(live) != 0 {
		t.Errorf("%d tokens are alive, want none", len(live))
	}
}

func TestJoinTokenIsPrintedOnce(t *testing.T) {
	w := newIssuingWorld(t)
	text := strings.TrimSuffix(w.do("workspace", "join-token", "sb-1", "--rule", "agents"), "\n")
	token, err := identity.ParseJoinToken(text)
	if err != nil {
		t.Fatal(err)
	}
	entry, err := w.open().Get(t.Context(), store.JoinToken(token.Hash()))
	if err != nil || strings.Contains(entry.Value.Reveal(), text) || !strings.Contains(entry.Value.Reveal(), `"sb-1"`) {
		t.Errorf("the store has %q, %v, want the workspace under the token's hash", entry.Value.Reveal(), err)
	}
	var r workspace.JoinReport
	if err := json.Unmarshal([]byte(w.do("workspace", "join-token", "sb-1", "--rule", "agents", "--ttl", "90s", "--json")), &r); err != nil {
		t.Fatal(err)
	}
	if left := time.Until(r.ExpiresAt); r.Workspace != "sb-1" || r.Rule != "agents" || left > 90*time.Second || left < 60*time.Second || r.JoinToken == text {
		t.Errorf("the report is for %s and %v, want sb-1 and 90s", r.Workspace, left)
	}
}

func TestJoinTokenRefuses(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the command many times")
	}
	w := newIssuingWorld(t)
	for _, c := range []struct {
		name   string
		args   []string
		status int
		want   string
	}{
		{"no workspace", nil, 2, "the workspace's ID is missing"},
		{"no rule", []string{"sb-1"}, 2, "--rule is missing"},
		{"a long life", []string{"--rule", "agents", "--ttl", "11m", "sb-1"}, 2, "at most 10m0s"},
		{"no life", []string{"--rule", "agents", "--ttl", "0s", "sb-1"}, 2, "at most 10m0s"},
		{"an id that climbs", []string{"--rule", "agents", "../sb-1"}, 2, "an ID must"},
		{"a rule of two lines", []string{"--rule", "a\nb", "sb-1"}, 2, "printable"},
		{"another kind of store", []string{"--rule", "agents", "--store", "x://y", "sb-1"}, 1, "unknown store"},
	} {
		out, errs, status := w.gatepass(append([]string{"workspace", "join-token"}, c.args...)...)
		if status != c.status || !strings.Contains(errs, c.want) || out != "" {
			t.Errorf("%s: %d, %q, %q, want %d with %q", c.name, status, out, errs, c.status, c.want)
		}
	}
}
