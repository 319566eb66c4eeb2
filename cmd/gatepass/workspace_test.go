package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	workspacecmd "github.com/gatepass/gatepass/cmd/gatepass/workspace"
	"github.com/gatepass/gatepass/config"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/fakegithub"
	"github.com/gatepass/gatepass/workspace"
)

// An issuingWorld is an App in a store, installed on acme and octo.
type issuingWorld struct {
	*appWorld
	t   *testing.T
	dir string // with the store and profile.yaml

	installed map[string]int64 // by account
}

const profileText = `spec:
  sourceAccess:
    github:
      allowedRepos: [acme/widgets, "octo/*"]
      allowedRefs: [main, {ref: "agent/**", allow: [create, update, force]}]
`

func newIssuingWorld(t *testing.T) *issuingWorld {
	t.Helper()
	w := &issuingWorld{appWorld: newAppWorld(t), t: t, dir: t.TempDir(), installed: map[string]int64{}}
	w.write("profile.yaml", profileText)
	pem, err := os.ReadFile(w.key)
	if err != nil {
		t.Fatal(err)
	}
	c := issuing.Credentials{ID: w.app.ClientID, PrivateKey: store.NewSecret(string(pem)), GitHub: w.URL()}
	if err := issuing.Save(t.Context(), w.open(), c, store.CreateOnly); err != nil {
		t.Fatal(err)
	}
	for _, owner := range []string{"acme", "octo"} {
		if _, err := w.AddRepository(fakegithub.Repository{Owner: owner, Name: "widgets"}); err != nil {
			t.Fatal(err)
		}
		in, err := w.AddInstallation(fakegithub.Installation{AppID: w.app.ID, Account: owner, RepositorySelection: "all"})
		if err != nil {
			t.Fatal(err)
		}
		w.installed[owner] = in.ID
	}
	return w
}

func (w *issuingWorld) write(name, text string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func (w *issuingWorld) storeURL() string { return "file://" + w.dir + "/store" }

func (w *issuingWorld) open() store.Store {
	w.t.Helper()
	s, err := issuing.OpenStore(w.storeURL())
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// gatepass runs a command as a separate process, in the folder of the world. Its output
// must not contain a token.
func (w *issuingWorld) gatepass(args ...string) (stdout, stderr string, status int) {
	w.t.Helper()
	cmd := exec.CommandContext(w.t.Context(), "gatepass", args...)
	cmd.Dir = w.dir
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "GOGC=" + os.Getenv("GOGC"), "HOME=" + w.dir, "SSL_CERT_FILE=" + w.ca, "GATEPASS_STORE=" + w.storeURL()}, w.variables...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if exit, failed := errors.AsType[*exec.ExitError](err); failed {
		status = exit.ExitCode()
	} else if err != nil {
		w.t.Fatal(err)
	}
	for _, text := range []string{out.String(), errs.String()} {
		if strings.Contains(text, "ghs_") || strings.Contains(text, "PRIVATE KEY") {
			w.t.Errorf("gatepass %s prints a secret: %s", strings.Join(args, " "), text)
		}
	}
	return out.String(), errs.String(), status
}

// do runs gatepass, which must succeed, and returns its output.
func (w *issuingWorld) do(args ...string) string {
	w.t.Helper()
	out, errs, status := w.gatepass(args...)
	if status != 0 || errs != "" {
		w.t.Fatalf("gatepass %s = %d, %s%s", strings.Join(args, " "), status, out, errs)
	}
	return out
}

func (w *issuingWorld) report(args ...string) (r workspacecmd.Report) {
	w.t.Helper()
	if err := json.Unmarshal([]byte(w.do(append(args, "--json")...)), &r); err != nil {
		w.t.Fatal(err)
	}
	return r
}

// hash returns the hash of the token that the workspace reads for an owner.
func (w *issuingWorld) hash(id, owner string) string {
	w.t.Helper()
	name, err := store.Token(id, owner)
	if err != nil {
		w.t.Fatal(err)
	}
	entry, err := w.open().Get(w.t.Context(), name)
	if err != nil {
		w.t.Fatal(err)
	}
	return credential.NewToken(entry.Value.Reveal(), time.Time{}).Hash()
}

func (w *issuingWorld) isLive(hash string) bool {
	return slices.ContainsFunc(w.Tokens(), func(t fakegithub.Token) bool { return t.Hash == hash })
}

// inAnHour matches the expiry of a new token, printed a little later.
var inAnHour = regexp.MustCompile(`\bin (60|5[5-9]) min\b`)

func TestWorkspaceFromCreateToDestroy(t *testing.T) {
	w := newIssuingWorld(t)
	out := w.do("workspace", "create", "profile.yaml", "--id", "sb-1", "--policy-out", "workspace.yaml")
	for _, want := range []string{"workspace sb-1: ready\n", "acme/widgets  contents: write  expires in ", "wrote workspace.yaml"} {
		if !strings.Contains(out, want) {
			t.Errorf("create prints\n%s\nwant %q in it", out, want)
		}
	}
	if !inAnHour.MatchString(out) {
		t.Errorf("create prints\n%s\nwant that the token ends in an hour", out)
	}
	policy, err := config.Load(filepath.Join(w.dir, "workspace.yaml"))
	if err != nil || policy.ID != "sb-1" || policy.Hosts[0] != w.Host() || len(policy.Refs) != 2 || !policy.Repositories.Match("octo", "x") || policy.Repositories.Match("acme", "x") {
		t.Errorf("the workspace file = %+v, %v, want what the profile says", policy, err)
	}
	first := w.hash("sb-1", "acme")
	if r := w.report("workspace", "show", "sb-1"); r.State != workspace.Ready || len(r.Tokens) != 2 || r.Tokens[0].Hash != first || len(r.Todo) != 0 {
		t.Errorf("show = %+v, want two tokens and nothing to do", r)
	}
	if out := w.do("workspace", "list"); !strings.Contains(out, "sb-1") || !strings.Contains(out, "acme, octo") || !inAnHour.MatchString(out) {
		t.Errorf("list prints\n%s\nwant the workspace", out)
	}
	w.do("workspace", "refresh", "sb-1", "--force", "--revoke")
	if second := w.hash("sb-1", "acme"); second == first || w.isLive(first) || !w.isLive(second) {
		t.Error("refresh --force --revoke does not replace the token, or leaves the old one alive")
	}
	var destroyed workspacecmd.DestroyReport
	if err := json.Unmarshal([]byte(w.do("workspace", "destroy", "sb-1", "--json")), &destroyed); err != nil || len(destroyed.Revoked) != 2 || !destroyed.Destroyed {
		t.Errorf("destroy = %+v, %v, want two tokens revoked", destroyed, err)
	}
	if live := w.Tokens(); len(live) != 0 {
		t.Errorf("%d tokens are alive, want none", len(live))
	}
	if out := w.do("workspace", "destroy", "sb-1"); out != "workspace sb-1 is destroyed; nothing is left of it\n" {
		t.Errorf("destroy again prints %q", out)
	}
	if out := w.do("workspace", "list", "--json"); out != "[]\n" {
		t.Errorf("list --json = %q, want []", out)
	}
}

// A workspace is created while GitHub is down, and repaired later. A script must opt in
// to go on: without a token the exit code is 1, unless --allow-pending is given.
func TestWorkspaceIsMadeWithoutGitHub(t *testing.T) {
	w := newIssuingWorld(t)
	up := w.Fail(fakegithub.To(http.MethodPost, "/access_tokens"), fakegithub.Status(http.StatusForbidden), -1)
	create := []string{"workspace", "create", "profile.yaml", "--id", "sb-1"}
	for _, more := range []string{"", "--require-token"} {
		args := create
		if more != "" {
			args = append(args, more)
		}
		out, errs, status := w.gatepass(args...)
		if status != 1 || !strings.Contains(out, "sb-1: pending") || strings.Count(errs, "\n") != 1 || !strings.HasPrefix(errs, "gatepass: workspace sb-1 is created, but a token is missing") || !strings.Contains(errs, "repositories of acme: mint a token") {
			t.Errorf("create %s = %d, %s%s, want it made, and a failure", more, status, out, errs)
		}
	}
	out, errs, status := w.gatepass(append(create, "--allow-pending")...)
	if status != 0 || !strings.Contains(out, "sb-1: pending") || strings.Count(errs, "\n") != 1 || !strings.HasPrefix(errs, "note: workspace sb-1 is created, but a token is missing") {
		t.Errorf("create --allow-pending = %d, %s%s, want it made, with a note", status, out, errs)
	}
	if _, _, status := w.gatepass(append(create, "--allow-pending", "--require-token")...); status != 2 {
		t.Errorf("create with both = %d, want a mistake of the command line", status)
	}
	up()
	if r := w.report("workspace", "refresh", "sb-1"); r.State != workspace.Ready || r.LastError != nil {
		t.Errorf("refresh = %+v, want it healed", r)
	}
}

// A valid token hides that it cannot be replaced: refresh names the owner and fails,
// and until a run succeeds, every command shows why and since when.
func TestTheLastErrorOfAWorkspace(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the command many times")
	}
	w := newIssuingWorld(t)
	w.do("workspace", "create", "profile.yaml", "--id", "sb-1")
	if out := w.do("workspace", "refresh", "sb-1"); out != "" && !strings.HasPrefix(out, "workspace sb-1: ready; nothing was due\n") {
		t.Errorf("refresh = %q, want that nothing was due", out)
	}
	if r := w.report("workspace", "refresh", "sb-1"); !r.NothingDue || r.State != workspace.Ready {
		t.Errorf("refresh --json = %+v, want that nothing was due", r)
	}
	up := w.Fail(w.mintsOf("octo"), fakegithub.Status(http.StatusForbidden), -1)
	out, errs, status := w.gatepass("workspace", "refresh", "sb-1", "--force")
	if status != 1 || !strings.HasPrefix(out, "workspace sb-1: failing\n") || !strings.Contains(errs, "repositories of octo: mint a token") || strings.Contains(errs, "acme") {
		t.Errorf("refresh = %d, %q, %q, want that octo failed", status, out, errs)
	}
	show := w.do("workspace", "show", "sb-1")
	if !strings.HasPrefix(show, "workspace sb-1: failing\n") || !strings.Contains(show, "last error: 0m ago, for octo: repositories of octo: mint a token") {
		t.Errorf("show = %q, want the last error", show)
	}
	if list := w.do("workspace", "list"); !strings.Contains(list, "failing") || !strings.Contains(list, "\nsb-1 failed 0m ago: repositories of octo: ") {
		t.Errorf("list = %q, want the last error", list)
	}
	r := w.report("workspace", "show", "sb-1")
	if r.LastError == nil || !slices.Equal(r.LastError.Owners, []string{"octo"}) || time.Since(r.LastError.At).Abs() > time.Hour || !strings.Contains(r.LastError.Why, "GitHub answered 403") {
		t.Errorf("show --json = %+v, want the last error", r.LastError)
	}
	up()
	if r := w.report("workspace", "refresh", "sb-1", "--force"); r.LastError != nil || r.State != workspace.Ready || r.NothingDue {
		t.Errorf("refresh = %+v, want that all is well again", r)
	}
	if list := w.do("workspace", "list", "--json"); strings.Contains(list, "last_error") {
		t.Errorf("list = %s, want no error any more", list)
	}
}

// mintsOf matches requests for tokens of an account.
func (w *issuingWorld) mintsOf(owner string) func(*http.Request) bool {
	return fakegithub.To(http.MethodPost, fmt.Sprintf("/app/installations/%d/access_tokens", w.installed[owner]))
}

// A blocked workspace gets no token, which is not a failed run. create and refresh
// fail.
func TestABlockedWorkspaceIsNoSuccess(t *testing.T) {
	w := newIssuingWorld(t)
	name, err := store.Blocked("sb-1")
	if err == nil {
		err = w.open().Put(t.Context(), name, store.NewSecret("{}"), store.Replace)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, errs, status := w.gatepass("workspace", "create", "profile.yaml", "--id", "sb-1"); status != 1 || !strings.Contains(errs, "it has no token for acme, octo") {
		t.Errorf("create = %d, %q, want a failure that names the owners", status, errs)
	}
	if _, errs, status := w.gatepass("workspace", "refresh", "sb-1"); status != 1 || !strings.Contains(errs, "it has no token for acme, octo") {
		t.Errorf("refresh = %d, %q, want a failure that names the owners", status, errs)
	}
}

func TestWorkspaceBeforeTheApp(t *testing.T) {
	w := newIssuingWorld(t)
	w.variables = []string{"GATEPASS_STORE=file://" + w.dir + "/other"}
	if _, errs, status := w.gatepass("workspace", "create", "profile.yaml", "--id", "sb-1"); status != 1 || strings.Count(errs, "this store has no App") != 1 {
		t.Errorf("create = %d, %s, want it made, and the reason said once", status, errs)
	}
	if r := w.report("workspace", "show", "sb-1"); r.State != workspace.Pending || len(r.Todo) != 2 {
		t.Errorf("show = %+v, want two tokens to mint", r)
	}
	w.do("workspace", "destroy", "sb-1")
}

func TestWorkspaceRefuses(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the command many times")
	}
	w := newIssuingWorld(t)
	w.write("bad.yaml", "spec:\n  sourceAccess:\n    github:\n      allowedRepo: [a/b]\n")
	create := func(args ...string) []string { return append([]string{"workspace", "create"}, args...) }
	for _, c := range []struct {
		name   string
		args   []string
		status int
		want   string
	}{
		{"no profile", create("--id", "sb-1"), 2, "the profile's file is missing"},
		{"no id", create("profile.yaml"), 2, "--id is missing"},
		{"an id that climbs", create("profile.yaml", "--id", "../x"), 2, "an ID must have up to 128 letters"},
		{"a margin of a day", create("profile.yaml", "--id", "sb-1", "--ttl-margin", "24h"), 2, "a margin must be from 1m to 50m"},
		{"not a profile", create("bad.yaml", "--id", "sb-1"), 1, `line 4 column 7: unknown key "allowedRepo" in github: did you mean "allowedRepos"?`},
		{"no such profile", create("none.yaml", "--id", "sb-1"), 1, "read the profile none.yaml: no such file"},
		{"not a store", create("profile.yaml", "--id", "sb-1", "--store", "s3://x"), 1, "unknown store s3://"},
		{"not a source", create("profile.yaml", "--id", "sb-1", "--policy-out", "w", "--source", "x"), 1, "create the workspace file: source: want a URL"},
		{"two outputs", create("profile.yaml", "--id", "sb-1", "--policy-out", "-", "--json"), 2, "--policy-out - cannot be combined with --json: both write to standard output"},
		{"an unknown workspace to show", []string{"workspace", "show", "sb-9"}, 1, "workspace sb-9: there is no such workspace; list them: gatepass workspace list"},
		{"an unknown workspace to refresh", []string{"workspace", "refresh", "sb-9"}, 1, "workspace sb-9: there is no such workspace; list them: gatepass workspace list"},
		{"nothing to destroy", []string{"workspace", "destroy"}, 2, "the workspace's ID is missing"},
	} {
		out, errs, status := w.gatepass(c.args...)
		if status != c.status || out != "" || strings.Count(errs, "\n") != 1 || !strings.Contains(errs, c.want) {
			t.Errorf("%s: %d, %q, %q, want %d and one line with %q", c.name, status, out, errs, c.status, c.want)
		}
	}
	if live := w.Tokens(); len(live) != 0 {
		t.Errorf("%d tokens were minted, want none", len(live))
	}
	if _, err := os.Stat(filepath.Join(w.dir, "w")); err == nil {
		t.Error("a refused create leaves a workspace file")
	}
}

func TestWorkspaceFileOnStandardOutput(t *testing.T) {
	w := newIssuingWorld(t)
	out, _, status := w.gatepass("workspace", "create", "profile.yaml", "--id", "sb-1", "--policy-out", "-", "--source", "broker+unix:///run/broker.sock")
	if status != 0 {
		t.Fatalf("create = %d", status)
	}
	if policy, err := config.Parse([]byte(out)); err != nil || policy.Source.String() != "broker+unix:///run/broker.sock" {
		t.Errorf("standard output is %q, want a workspace file: %v", out, err)
	}
}

// A workspace without access refuses because of its list of repositories, and not
// because of a missing source.
func TestWorkspaceFileOfNoAccess(t *testing.T) {
	w := newIssuingWorld(t)
	w.write("empty.yaml", "spec: {sourceAccess: {github: {allowedRepos: []}}}\n")
	w.do("workspace", "create", "empty.yaml", "--id", "sb-1", "--policy-out", "workspace.yaml")
	policy, err := config.Load(filepath.Join(w.dir, "workspace.yaml"))
	if err != nil || policy.Source == nil || policy.Repositories.Any() || policy.Repositories.Match("acme", "widgets") {
		t.Errorf("the workspace file is %+v, %v, want a source and no repository", policy, err)
	}
}

// "*" without any installation means no repository.
func TestWorkspaceBeforeAnyInstallation(t *testing.T) {
	w := newIssuingWorld(t)
	w.write("all.yaml", "spec: {sourceAccess: {github: {allowedRepos: [\"*\"]}}}\n")
	if err := os.RemoveAll(filepath.Join(w.dir, "store/config/github/installations")); err != nil {
		t.Fatal(err)
	}
	_, errs, status := w.gatepass("workspace", "create", "all.yaml", "--id", "sb-1", "--require-token")
	if status != 1 || !strings.Contains(errs, "the App is not installed on any account; install") {
		t.Errorf("create = %d, %q, want a refusal that says where to install the App", status, errs)
	}
	if _, errs, status = w.gatepass("workspace", "create", "all.yaml", "--id", "sb-1", "--allow-pending"); status != 0 || !strings.Contains(errs, "is created, but a token is missing; the next refresh mints it") {
		t.Errorf("create = %d, %q, want it made, and a note", status, errs)
	}
}
