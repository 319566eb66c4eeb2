package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/fakegithub"
	"github.com/gatepass/gatepass/test/kubernetestest"
)

// From an App's key to a workspace that is gone, with a store in Kubernetes.
func TestRealKubernetesStore(t *testing.T) {
	c := kubernetestest.New(t)
	w := &issuingWorld{appWorld: newAppWorld(t), t: t, dir: t.TempDir()}
	w.write("profile.yaml", profileText)
	for _, owner := range []string{"acme", "octo"} {
		if _, err := w.AddRepository(fakegithub.Repository{Owner: owner, Name: "widgets"}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.AddInstallation(fakegithub.Installation{AppID: w.app.ID, Account: owner, RepositorySelection: "all"}); err != nil {
			t.Fatal(err)
		}
	}
	url := "kubernetes://" + c.Namespace() + "/team"
	w.variables = append(w.variables, "LANG=C.UTF-8", "GATEPASS_DOCTOR_TIMEOUT=30s", "GATEPASS_GITHUB_URL="+w.URL(), "GATEPASS_STORE="+url, "KUBECONFIG="+c.Kubeconfig)

	w.do("app", "add", "--app-client-id", w.app.ClientID, "--private-key-file", w.key)
	w.do("workspace", "create", "profile.yaml", "--id", "sb-1")
	if live := w.Tokens(); len(live) != 2 {
		t.Errorf("%d tokens are alive, want one for each owner", len(live))
	}
	if out := w.do("doctor", "--side", "issuing"); !strings.Contains(out, "the store "+url) || !strings.HasSuffix(out, "everything is in order\n") {
		t.Errorf("doctor prints\n%s", out)
	}
	_, errs, status := w.gatepass("workspace", "create", "profile.yaml", "--id", "sb-2", "--policy-out", "w.yaml")
	if status == 0 || !strings.Contains(errs, "--source broker+https://") {
		t.Errorf("create --policy-out = %d, %q, want that a source is named", status, errs)
	}
	w.do("workspace", "refresh", "sb-1", "--force", "--revoke")
	w.do("workspace", "destroy", "sb-1")
	if live := w.Tokens(); len(live) != 0 {
		t.Errorf("%d tokens are alive after destroy, want none", len(live))
	}
	t.Setenv("KUBECONFIG", c.Kubeconfig)
	s, err := issuing.OpenStore(url)
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for n, err := range s.List(t.Context(), store.Everything()) {
		if err != nil {
			t.Fatal(err)
		}
		left = append(left, n.String())
	}
	slices.Sort(left)
	want := []string{"config/github/app-client-id", "config/github/github-url", "config/github/installations/acme", "config/github/installations/octo", "config/github/private-key"}
	if !slices.Equal(left, want) {
		t.Errorf("the store has %q, want %q", left, want)
	}
	if err := issuing.Probe(t.Context(), s); err != nil {
		t.Errorf("Probe = %v", err)
	}
}
