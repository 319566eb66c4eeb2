package main

import (
	"strings"
	"testing"
)

// A profile of the first system makes a workspace as it is, and what of it is
// ignored is said in one line.
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
	const note = "note: ignored, since only spec.sourceAccess is read: metadata.prefix, spec.runtime\n"
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
