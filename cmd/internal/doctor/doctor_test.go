package doctor

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/credential/agent"
	"github.com/gatepass/gatepass/internal/gitconfig"
	"github.com/gatepass/gatepass/internal/gitsafety"
	"github.com/gatepass/gatepass/internal/version"
)

// ward is a machine for the doctor: an empty home and one directory on PATH.
type ward struct {
	t    *testing.T
	home string
	env  map[string]string
}

func newWard(t *testing.T) *ward {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("the programs are scripts")
	}
	w := &ward{t: t, home: t.TempDir()}
	if err := os.Chmod(w.home, 0o755); err != nil { // independent of the umask
		t.Fatal(err)
	}
	w.env = map[string]string{
		"HOME": w.home, "PATH": w.home, "XDG_RUNTIME_DIR": w.home, "GIT_CONFIG_NOSYSTEM": "1",
		"GATEPASS_CONFIG": filepath.Join(w.home, "workspace.yaml"),
	}
	w.write("workspace.yaml", "source: file://"+w.home+"/token\nrepos: [acme/*]\nrefs: [main]\n", 0o644)
	t.Setenv("PATH", w.home) // programs are looked up there too
	return w
}

func (w *ward) write(name, text string, mode os.FileMode) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.home, name), []byte(text), mode); err != nil {
		w.t.Fatal(err)
	}
}

func (w *ward) run() []Finding {
	var environ []string
	for name, value := range w.env {
		environ = append(environ, name+"="+value)
	}
	return Run(w.t.Context(), Options{Getenv: func(name string) string { return w.env[name] }, Environ: environ, Dir: w.home})
}

func has(found []Finding, level Level, text string) bool {
	return slices.ContainsFunc(found, func(f Finding) bool { return f.Level == level && strings.Contains(f.Text, text) })
}

func TestWithoutGit(t *testing.T) {
	found := newWard(t).run()
	if !has(found, Failure, "git is not on PATH") || !has(found, OK, "no token was requested, because the workspace file does not name a single repository; run gatepass doctor in a clone to check one") {
		t.Errorf("Run = %v, want that git is missing", found)
	}
}

// Whatever hangs, the user waits less than two seconds.
func TestNothingIsWaitedForLong(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for checks that do not end")
	}
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Skip("sleep is not on PATH")
	}
	git, err := exec.LookPath("git")
	if err != nil {
		t.Skip("git is not on PATH")
	}
	for name, text := range map[string]string{
		"everything":      "#!/bin/sh\n" + sleep + " 30\n",
		"only the push":   "#!/bin/sh\ncase \"$*\" in *push*) " + sleep + " 30 ;; esac\nexec '" + git + "' \"$@\"\n",
		"the second list": "#!/bin/sh\ncase \"$*\" in *--list*) exec " + sleep + " 30 ;; esac\nexec '" + git + "' \"$@\"\n",
	} {
		w := newWard(t)
		w.write("git", text, 0o755)
		var found []Finding
		best := time.Hour
		for range 5 { // this machine may be slow too
			started := time.Now()
			found = w.run()
			if best = min(best, time.Since(started)); best <= 2*time.Second {
				break
			}
		}
		if best > 2*time.Second {
			t.Errorf("%s hangs: Run took %v, want less than 2s", name, best)
		}
		late := func(f Finding) bool {
			return f.Level != OK && (strings.Contains(f.Text, "in time") || strings.HasPrefix(f.Text, "no answer within "))
		}
		if !slices.ContainsFunc(found, late) {
			t.Errorf("%s hangs: Run = %v, want it said", name, found)
		}
	}
}

func TestChain(t *testing.T) {
	helper := func(scope, key, value string) gitconfig.Setting {
		return gitconfig.Setting{Scope: scope, Key: key, Value: value}
	}
	const ours = "/usr/bin/git-credential-gatepass"
	for _, c := range []struct {
		name  string
		list  []gitconfig.Setting
		at    int // of ours; -1 if git does not ask it
		asked int
		reset bool
	}{
		{"nothing", nil, -1, 0, false},
		{"ours", []gitconfig.Setting{helper("system", "credential.https://github.com.helper", ours)}, 0, 1, false},
		{"ours for another host", []gitconfig.Setting{helper("system", "credential.https://git.example.helper", ours)}, -1, 0, false},
		{"a reset before ours", []gitconfig.Setting{helper("system", "credential.helper", "store"), helper("global", "credential.https://github.com.helper", ""), helper("global", "credential.https://github.com.helper", ours)}, 0, 1, false},
		{"a reset after ours", []gitconfig.Setting{helper("system", "credential.helper", ours), helper("local", "credential.helper", ""), helper("local", "credential.helper", "cache")}, -1, 1, true},
		{"a wildcard host", []gitconfig.Setting{helper("system", "credential.https://*.com.helper", "store"), helper("system", "credential.helper", ours)}, 1, 2, false},
		{"by its name", []gitconfig.Setting{helper("global", "credential.helper", "gatepass")}, 0, 1, false},
		{"other variables", []gitconfig.Setting{helper("global", "credential.username", "x"), helper("global", "core.helper", ours)}, -1, 0, false},
	} {
		got := chainFor(c.list, "https", "github.com")
		if got.ours() != c.at || len(got.links) != c.asked || (got.reset != nil) != c.reset {
			t.Errorf("%s: chain = %+v, want ours at %d of %d, reset %v", c.name, got, c.at, c.asked, c.reset)
		}
	}
}

func TestSubjectIsOneRepositoryOfOurs(t *testing.T) {
	w := newWard(t)
	c := gather(t.Context(), Options{Getenv: func(name string) string { return w.env[name] }, Dir: w.home, Limit: time.Second})
	for url, want := range map[string]gitsafety.Target{
		"https://github.com/acme/widgets.git":   {Host: "github.com", Path: "acme/widgets.git"},
		"https://me:pw@GitHub.com/acme/widgets": {Host: "github.com", Path: "acme/widgets"},
		"git@github.com:acme/widgets":           {Host: "github.com", Path: "acme/widgets"},
		"ssh://git@github.com:22/acme/widgets":  {Host: "github.com", Path: "acme/widgets"},
		"https://github.com/other/widgets":      {Host: "github.com"},
		"https://git.example/acme/widgets":      {Host: "github.com"},
		"../remote.git":                         {Host: "github.com"},
	} {
		c.settings = []gitconfig.Setting{{Key: "remote.origin.url", Value: url}}
		if got := c.testRepository(); got != want {
			t.Errorf("subject with remote %q = %v, want %v", url, got, want)
		}
	}
}

func TestSkew(t *testing.T) {
	for _, ahead := range []time.Duration{0, -time.Hour, 90 * time.Second} {
		s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Date", time.Now().Add(-ahead).UTC().Format(http.TimeFormat))
		}))
		got, err := skew(t.Context(), s.URL)
		s.Close()
		if err != nil || (got-ahead).Abs() > 30*time.Second {
			t.Errorf("skew = %v, %v, want about %v", got, err, ahead)
		}
	}
	if _, err := skew(t.Context(), "https://127.0.0.1:1/"); err == nil {
		t.Error("skew of a host that is not there = nil, want an error")
	}
}

func TestUnsetIsWhatGitUnderstands(t *testing.T) {
	git, err := exec.LookPath("git")
	if err != nil {
		t.Skip("git is not on PATH")
	}
	file := filepath.Join(t.TempDir(), "my config's")
	for _, value := range []string{"store", "!f() { x $*; }; f", "a.b[c]^|(d)", `back\slash`} {
		for _, v := range []string{"kept", value} {
			if out, err := exec.Command(git, "config", "--file", file, "--add", "credential.https://a b.helper", v).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		}
		command := unsetValue(gitconfig.Setting{Origin: "file:" + file, Key: "credential.https://a b.helper", Value: value})
		if out, err := exec.Command("/bin/sh", "-c", command).CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", command, err, out)
		}
		out, _ := exec.Command(git, "config", "--file", file, "--get-all", "credential.https://a b.helper").Output()
		if string(out) != "kept\n" {
			t.Errorf("after %s the values are %q, want only the other", command, out)
		}
		_ = os.Remove(file)
	}
}

func TestAnswerShowsNoToken(t *testing.T) {
	token, given := parseAnswer("username=x\npassword=ghs_secret\npassword_expiry_utc=1700000000\n")
	if !given || token.Expiry.Unix() != 1700000000 || strings.Contains(token.String(), "secret") {
		t.Errorf("parseAnswer = %v, %v, want a token that is not shown", token, given)
	}
	if _, given := parseAnswer("quit=1\n"); given {
		t.Error("parseAnswer(quit=1) gives a token")
	}
}

func TestMessagesOfPrograms(t *testing.T) {
	if got := firstOf([]byte("\nfatal: https://me:hunter2@x\nmore\n"), nil).Error(); strings.Contains(got, "hunter2") || strings.Contains(got, "more") {
		t.Errorf("firstOf = %q, want one line without the password", got)
	}
}

// An agent of the previous version goes on as that version.
func TestAnAgentOfTheVersionBeforeIsNamed(t *testing.T) {
	for name, c := range map[string]struct {
		agent agent.State
		level Level
		text  string
	}{
		"this version": {agent.State{PID: 7, Version: version.String()}, OK, "process 7, version " + version.String()},
		"replaced":     {agent.State{PID: 7, Version: version.String(), Program: "/bin/a", Replaced: true}, Warning, "/bin/a was replaced since"},
	} {
		if f := ageOf(c.agent); f.Level != c.level || !strings.Contains(f.Text, c.text) || (f.Fix == "") != (c.level == OK) {
			t.Errorf("%s: %+v, want %s and %q", name, f, c.level, c.text)
		}
	}
}
