//go:build unix

package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/cmd/gatepass/command"
	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/fakegithub"
	"github.com/gatepass/gatepass/test/postgrestest"
)

// From an empty database to a destroyed workspace.
func TestRealPostgresStore(t *testing.T) {
	server := postgrestest.New(t, "fsync=off")
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
	url := server.URL("prefix=team")
	w.variables = append(w.variables, "LANG=C.UTF-8", "GATEPASS_DOCTOR_TIMEOUT=30s", "GATEPASS_GITHUB_URL="+w.URL(), "GATEPASS_STORE="+url)

	_, errs, status := w.gatepass("workspace", "list")
	if status == 0 || !strings.Contains(errs, "has no schema of gatepass; run gatepass store migrate") {
		t.Errorf("list before migrate = %d, %q, want that it says what to run", status, errs)
	}
	for _, want := range []string{"The tables were created, version 1.\n", "The tables have version 1 already.\n"} {
		if out := w.do("store", "migrate"); out != want {
			t.Errorf("migrate prints %q, want %q", out, want)
		}
	}
	w.do("app", "add", "--app-client-id", w.app.ClientID, "--private-key-file", w.key)
	w.do("workspace", "create", "profile.yaml", "--id", "sb-1")
	if live := w.Tokens(); len(live) != 2 {
		t.Errorf("%d tokens are alive, want one for each owner", len(live))
	}
	if out := w.do("doctor", "--side", "issuing"); !strings.Contains(out, "the store postgres://") || !strings.HasSuffix(out, "everything is in order\n") {
		t.Errorf("doctor prints\n%s", out)
	}
	w.do("workspace", "refresh", "sb-1", "--force", "--revoke")
	w.do("workspace", "destroy", "sb-1")
	if live := w.Tokens(); len(live) != 0 {
		t.Errorf("%d tokens are alive after destroy, want none", len(live))
	}
	s, err := issuing.OpenStore(url)
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for n, err := range s.List(t.Context(), store.Workspaces()) {
		if err != nil {
			t.Fatal(err)
		}
		left = append(left, n.String())
	}
	if slices.Sort(left); len(left) > 0 {
		t.Errorf("the workspace left %q", left)
	}
}

func TestStoreMigrateOfWhatHasNoTables(t *testing.T) {
	w := &issuingWorld{appWorld: newAppWorld(t), t: t, dir: t.TempDir()}
	_, errs, status := w.gatepass("store", "migrate", "--store", "file://"+w.dir)
	if status != command.ExitFailed || !strings.Contains(errs, "this store has no tables; there is nothing to do") {
		t.Errorf("migrate = %d, %q, want that there is nothing to do", status, errs)
	}
}

func TestWhatMigrateSays(t *testing.T) {
	n := 7
	for want, m := range map[string]migration{
		"The tables were created, version 2.\n":                          {From: 0, To: 2},
		"The tables were upgraded from version 1 to 2.\n":                {From: 1, To: 2},
		"The tables have version 2 already.\n7 values were encrypted.\n": {From: 2, To: 2, Encrypted: &n},
	} {
		if got := m.String(); got != want {
			t.Errorf("%+v says %q, want %q", m, got, want)
		}
	}
}
