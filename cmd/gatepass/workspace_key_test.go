package main

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/store"
)

// The first system's layout, for real: a sandbox has its tokens in /sandbox/ID, with
// a key of its own, and both are gone with it.
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
	if out := w.do("workspace", "destroy", id, "--store", address); !strings.Contains(out, "nothing is left of workspace "+id) {
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
