package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/cmd/internal/doctor"
	"github.com/gatepass/gatepass/credential/agent"
	"github.com/gatepass/gatepass/store"
	"github.com/rogpeppe/go-internal/testscript"
)

// TestDoctor runs testdata/doctor_*.txtar like TestScripts, but with the real programs,
// a file as the source, and a runtime directory. $SKEWED is a host whose clock is an
// hour off, $REAL the directory of the programs. The command "findings N" checks how
// many lines of the last stdout are not in order.
func TestDoctor(t *testing.T) {
	git, err := exec.LookPath("git")
	if err != nil {
		t.Skip("git is not on PATH")
	}
	files, err := filepath.Glob("testdata/doctor_*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	bin := realPrograms(t)
	testscript.Run(t, testscript.Params{
		Files:               files,
		RequireExplicitExec: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "findings": findings, "age": age, "own": own,
		},
		Condition: func(cond string) (bool, error) { return cond == "root" && os.Geteuid() == 0, nil },
		Setup: func(env *testscript.Env) error {
			if err := setUp(env, git); err != nil {
				return err
			}
			return setUpDoctor(env, bin)
		},
	})
}

// realPrograms returns a directory with the programs that git runs: the one that
// binVariable names, or one built now.
func realPrograms(t *testing.T) string {
	if dir := os.Getenv(binVariable); dir != "" {
		return dir
	}
	dir := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", dir, "../git-credential-gatepass", "../gatepass-pre-push", "../gatepass-agent")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", build, err, out)
	}
	return dir
}

const healthyWorkspace = "source: file://$WORK/token\nrepos: [acme/widgets]\nrefs: [main, \"agent/**\"]\n"

func setUpDoctor(env *testscript.Env, bin string) error {
	for _, name := range []string{"git-credential-gatepass", "gatepass-pre-push", agent.Program} {
		link := filepath.Join(env.WorkDir, "bin", name)
		if err := os.RemoveAll(link); err != nil {
			return err
		}
		if err := os.Symlink(filepath.Join(bin, name), link); err != nil {
			return err
		}
	}
	run, err := os.MkdirTemp("/tmp", "gp") // short, because the path of a socket is limited
	if err != nil {
		return err
	}
	workspace := filepath.Join(env.WorkDir, "workspace.yaml")
	env.Setenv("XDG_RUNTIME_DIR", run)
	env.Setenv("LANG", "C.UTF-8")
	env.Setenv("REAL", bin)
	env.Setenv("GATEPASS_DOCTOR_TIMEOUT", "20s") // a busy machine must not be a finding
	env.Setenv("GORACE", "atexit_sleep_ms=0")
	env.Setenv("SKEWED", skewedHost(env))
	env.Defer(func() {
		stopAgents(run)
		_ = os.RemoveAll(run)
	})
	return writeSource(env, workspace)
}

// writeSource fills $WORK and $SKEWED into the script's workspace files, and writes a
// token if the script has none.
func writeSource(env *testscript.Env, workspace string) error {
	text, err := os.ReadFile(workspace)
	if err != nil {
		return err
	}
	if !strings.Contains(string(text), "source:") {
		if err := os.WriteFile(workspace, []byte(healthyWorkspace), 0o644); err != nil {
			return err
		}
	}
	files, err := filepath.Glob(filepath.Join(env.WorkDir, "*.yaml"))
	if err != nil {
		return err
	}
	expand := strings.NewReplacer("$WORK", env.WorkDir, "$SKEWED", env.Getenv("SKEWED"))
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(expand.Replace(string(text))), 0o644); err != nil {
			return err
		}
		if err := os.Chmod(file, 0o644); err != nil { // testscript unpacks files with other modes
			return err
		}
	}
	token := filepath.Join(env.WorkDir, "token")
	if err := writeUnless(token, "ghs_fresh\n"); err != nil {
		return err
	}
	return os.Chmod(token, 0o600)
}

func skewedHost(env *testscript.Env) string {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat))
	}))
	env.Defer(s.Close)
	return s.Listener.Addr().String()
}

// findings counts the lines that are not in order. It ignores that a file belongs to
// the tester and not to root.
func findings(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	n := 0
	for line := range strings.Lines(ts.ReadFile("stdout")) {
		line = strings.TrimSpace(line)
		bad := strings.HasPrefix(line, "! ") || strings.HasPrefix(line, "✗ ")
		if bad && (os.Geteuid() == 0 || !strings.Contains(line, "is your own")) {
			n++
		}
	}
	if neg || n != want {
		ts.Fatalf("%d lines are not in order, want %d", n, want)
	}
}

// age DURATION FILE sets the time of a file to that long ago.
func age(ts *testscript.TestScript, neg bool, args []string) {
	ago, err := time.ParseDuration(args[0])
	ts.Check(err)
	written := time.Now().Add(-ago)
	ts.Check(os.Chtimes(ts.MkAbs(args[1]), written, written))
}

// own UID FILE changes the owner of a file.
func own(ts *testscript.TestScript, neg bool, args []string) {
	uid, err := strconv.Atoi(args[0])
	ts.Check(err)
	ts.Check(os.Chown(ts.MkAbs(args[1]), uid, -1))
}

// put writes an entry of the store, as another program would.
func (w *issuingWorld) put(text, value string) {
	w.t.Helper()
	name, err := store.ParseName(text)
	if err == nil {
		err = w.open().Put(w.t.Context(), name, store.NewSecret(value), store.Replace)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// forget leaves a live token of a workspace that the ledger does not know.
func (w *issuingWorld) forget(id string) (hash string) {
	w.t.Helper()
	live := w.Tokens()
	if len(live) == 0 {
		w.t.Fatal("no token is alive")
	}
	token, err := w.MintFor(live[0].InstallationID, nil, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	w.put("sandbox/"+id+"/github-tokens/acme", token)
	return w.hash(id, "acme")
}

// newHealthyWorld has a workspace with fresh tokens.
func newHealthyWorld(t *testing.T) *issuingWorld {
	t.Helper()
	w := newIssuingWorld(t)
	w.variables = append(w.variables, "LANG=C.UTF-8", "GATEPASS_DOCTOR_TIMEOUT=30s")
	w.do("app", "discover")
	w.do("workspace", "create", "profile.yaml", "--id", "sb-1")
	return w
}

func TestDoctorOfAHealthyIssuingSide(t *testing.T) {
	w := newHealthyWorld(t)
	out := w.do("doctor", "--side", "issuing")
	for _, want := range []string{
		"store\n  ✓ the store file:///", "only its owner can use it\nApp\n  ✓ the App's key SHA256:", ": GitHub accepts it for the App Sandbox\\u202e Pass\n",
		"  ✓ the clock agrees with the clock of " + w.Host(), "installations\n  ✓ the App is installed on acme, octo, and the store has these installations\n",
		"workspaces\n  ✓ 1 workspace: 1 ready\n", "debris\n  ✓ there are no remains of workspaces that are gone\neverything is in order\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("doctor prints\n%s\nwant %q in it", out, want)
		}
	}
	d := decode[diagnosis](t, w.do("doctor", "--side", "issuing", "--json"))
	if !d.OK || d.Failures+d.Warnings != 0 || len(d.Findings) != 7 {
		t.Errorf("doctor --json = %+v, want seven findings in order", d)
	}
	if out := w.do("doctor", "--side", "issuing", "--fix", "--yes"); !strings.HasSuffix(out, "everything is in order\n") {
		t.Errorf("doctor --fix prints\n%s\nwant nothing to do", out)
	}
}

// Which side is checked depends on what is set up.
func TestDoctorChoosesItsSide(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the doctor many times")
	}
	w := newHealthyWorld(t)
	w.write("workspace.yaml", "repos: [acme/widgets]\nrefs: [main]\n")
	noStore, file := "GATEPASS_STORE=", "GATEPASS_CONFIG="+w.dir+"/workspace.yaml"
	if _, err := os.Stat("/etc/gatepass/workspace.yaml"); err == nil {
		t.Skip("this machine has a workspace file of its own")
	}
	for _, c := range []struct {
		name            string
		variables, args []string
		inside, issuing bool
	}{
		{"a store is named", nil, nil, false, true},
		{"by an option", []string{noStore}, []string{"--store", w.storeURL()}, false, true},
		{"a workspace file is named", []string{noStore, file}, nil, true, false},
		{"both are named", []string{file}, nil, true, true},
		{"nothing is", []string{noStore}, nil, true, false},
		{"only one is wanted", []string{file}, []string{"--side", "issuing"}, false, true},
		{"only the other is wanted", []string{file}, []string{"--side", "workspace"}, true, false},
		{"both are wanted", nil, []string{"--side", "both"}, true, true},
		{"things are to be fixed", []string{noStore}, []string{"--fix", "--yes"}, false, true},
	} {
		before := w.variables
		w.variables = append(slices.Clone(before), c.variables...)
		out, _, _ := w.gatepass(append([]string{"doctor"}, c.args...)...)
		w.variables = before
		inside, issuing := strings.Contains(out, "push guard\n"), strings.Contains(out, "store\n  ")
		if inside != c.inside || issuing != c.issuing {
			t.Errorf("%s: doctor looks at the workspace side %v and the issuing side %v, want %v and %v", c.name, inside, issuing, c.inside, c.issuing)
		}
		if isHint := strings.HasPrefix(out, "gatepass is not set up here; to use tokens: write"); isHint != (c.name == "nothing is") {
			t.Errorf("%s: doctor says what to do first: %v\n%s", c.name, isHint, out)
		}
	}
}

func TestDoctorWhereTheStoreIsEmpty(t *testing.T) {
	w := newIssuingWorld(t)
	w.variables = append(w.variables, "LANG=C.UTF-8", "GATEPASS_STORE=file://"+w.dir+"/other")
	out, errs, status := w.gatepass("doctor")
	if status != 1 || strings.Count(out, "\n") != 5 || !strings.Contains(out, "✗ load the GitHub App: this store has no App; fix: run gatepass app create, or gatepass app add\n") ||
		errs != "gatepass: doctor: 1 check failed\n" {
		t.Errorf("doctor = %d, %q, %q, want one failure that says what to do", status, out, errs)
	}
	out, _, status = w.gatepass("doctor", "--store", "s3://x")
	if status != 1 || !strings.Contains(out, "✗ open the store: unknown store s3://; fix: write one of ssm:///") {
		t.Errorf("doctor --store s3://x = %d, %q, want the store's failure", status, out)
	}
}

func TestDoctorFixes(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the doctor many times")
	}
	w := newHealthyWorld(t)
	hash := w.forget("sb-9")
	mine := w.hash("sb-1", "acme")
	out := w.do("doctor")
	if !strings.Contains(out, "! 1 token of sb-9 that the ledger does not have, valid until ") || !strings.Contains(out, "; fix: gatepass doctor --fix, which revokes and deletes it\n0 failures, 1 warning\n") {
		t.Errorf("doctor prints\n%s\nwant the token, and what --fix would do", out)
	}
	if _, errs, status := w.gatepass("doctor", "--fix"); status != 2 || !strings.Contains(errs, "there is no terminal: add --yes") || !w.isLive(hash) {
		t.Errorf("doctor --fix without a terminal = %d, %q, want it refused", status, errs)
	}
	d := decode[diagnosis](t, w.do("doctor", "--fix", "--yes", "--json"))
	last := d.Findings[len(d.Findings)-1]
	if last.Level != doctor.OK || !strings.HasSuffix(last.Text, ": revoked 1 token, nothing is left of it in the store") || d.Warnings != 0 {
		t.Errorf("doctor --fix --json = %+v, want the token revoked", d)
	}
	if w.isLive(hash) || !w.isLive(mine) {
		t.Error("the forgotten token is alive, or the other is not")
	}
	if out := w.do("doctor"); !strings.HasSuffix(out, "everything is in order\n") {
		t.Errorf("afterwards doctor prints\n%s\nwant all in order", out)
	}
}

func TestDoctorSaysWhatFailedToBeFixed(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the doctor many times")
	}
	t.Parallel() // it waits
	w := newHealthyWorld(t)
	hash := w.forget("sb-9")
	w.put("sandbox/sb-8/lock", `{"holder": "x", "until": "2026-01-01T00:00:00Z"}`)
	w.variables = append(w.variables, "GATEPASS_GITHUB_URL=https://127.0.0.1:1")
	out, errs, status := w.gatepass("doctor", "--fix", "--yes", "--timeout", "4s")
	if status != 1 || !strings.Contains(errs, "1 check failed") || !strings.Contains(out, "✗ 1 token of sb-9 that the ledger does not have, valid until ") ||
		!strings.Contains(out, "✓ a lock of sb-8, whose run ended early: removed\n") || !w.isLive(hash) {
		t.Errorf("doctor --fix = %d, %q\n%s\nwant the token left and the lock removed", status, errs, out)
	}
}

func TestDoctorRefuses(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the command many times")
	}
	w := newIssuingWorld(t)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--side", "left"}, "--side must be issuing, workspace or both"},
		{[]string{"--yes"}, "--yes needs --fix"},
		{[]string{"--side", "workspace", "--fix", "--yes"}, "--fix needs the issuing side"},
		{[]string{"--timeout", "0s"}, "--timeout must be a time such as 5s"},
		{[]string{"--github-url", "http://x"}, "want https://HOST"},
		{[]string{"now"}, `unexpected argument "now"`},
	} {
		out, errs, status := w.gatepass(append([]string{"doctor"}, c.args...)...)
		if status != 2 || out != "" || strings.Count(errs, "\n") != 1 || !strings.Contains(errs, c.want) {
			t.Errorf("doctor %q = %d, %q, %q, want 2 and one line with %q", c.args, status, out, errs, c.want)
		}
	}
}
