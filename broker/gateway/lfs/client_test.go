package lfs

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"maps"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/test/fakegithub"
)

// gitThrough passes everything except Git LFS to the double, with its own token: packs
// are not tested here.
func (w *world) gitThrough() http.Handler {
	w.t.Helper()
	target, err := url.Parse(w.URL())
	if err != nil {
		w.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(w.CAPEM())
	w.batch("download", "x") // so that GitHub knows the installation's token
	token, err := w.MintFor(w.Tokens()[0].InstallationID, nil, fakegithub.Permissions{"contents": "write"})
	if err != nil {
		w.t.Fatal(err)
	}
	return &httputil.ReverseProxy{
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}},
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.SetBasicAuth("x-access-token", token)
		},
	}
}

// A checkout is a folder, git with git-lfs, and a helper that answers with a gateway
// session.
type checkout struct {
	w         *world
	dir, home string
	more      map[string]string // additions to the environment
}

func (w *world) checkout() *checkout {
	w.t.Helper()
	if _, err := exec.LookPath("git-lfs"); err != nil {
		w.t.Skip("missing: git-lfs")
	}
	c := &checkout{w: w, dir: w.t.TempDir(), home: w.t.TempDir()}
	config := "[user]\n\tname = T\n\temail = t@example.com\n[push]\n\tdefault = current\n[advice]\n\tdetachedHead = false\n" +
		"[credential]\n\thelper = \"!f() { test \\\"$1\\\" = get || return; echo username=x; echo password=$SESSION; }; f\"\n"
	if err := os.WriteFile(filepath.Join(c.home, ".gitconfig"), []byte(config), 0o600); err != nil {
		w.t.Fatal(err)
	}
	c.git("lfs", "install", "--skip-repo")
	return c
}

func (c *checkout) run(args ...string) (string, error) {
	cmd := exec.CommandContext(c.w.t.Context(), "git", args...)
	cmd.Dir = c.dir
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + c.home, "GIT_CONFIG_NOSYSTEM=1", "LC_ALL=C", "NO_PROXY=*", "SESSION=" + c.w.session,
		"GIT_ASKPASS=" + filepath.Join(c.home, "asked"), // makes a prompt fail
	}
	for _, name := range slices.Sorted(maps.Keys(c.more)) {
		cmd.Env = append(cmd.Env, name+"="+c.more[name])
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

func (c *checkout) git(args ...string) string {
	c.w.t.Helper()
	out, err := c.run(args...)
	if err != nil {
		c.w.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (c *checkout) clone() {
	c.w.t.Helper()
	c.git("clone", "--quiet", c.w.server.URL+"/acme/widgets.git", "clone")
	c.dir = filepath.Join(c.dir, "clone")
}

// write commits three large files.
func (c *checkout) write(seed string) {
	c.w.t.Helper()
	c.git("lfs", "track", "*.bin")
	for i := range 3 {
		content := strings.Repeat(fmt.Sprintf("%s %d\n", seed, i), 20_000)
		if err := os.WriteFile(filepath.Join(c.dir, fmt.Sprintf("%s%d.bin", seed, i)), []byte(content), 0o600); err != nil {
			c.w.t.Fatal(err)
		}
	}
	c.git("add", ".")
	c.git("commit", "--quiet", "--message", seed)
}

func isCall(suffix string) func(fakegithub.Request) bool {
	return func(r fakegithub.Request) bool { return strings.HasSuffix(r.Path, suffix) }
}

func newClientWorld(t *testing.T, profile string) *world {
	t.Helper()
	w := newWorld(t, profile)
	w.git = w.gitThrough()
	return w
}

// onlyProgress matches all that git-lfs may print: some versions have no --quiet.
var onlyProgress = regexp.MustCompile(`\A(Uploading LFS objects:[^\n]*\n)?\z`)

// gatepass install writes these for the gateway.
var installed = map[string]string{"access": "basic", "locksverify": "true"}

func TestGitLFSPushesWithoutAnExtraLine(t *testing.T) {
	if testing.Short() {
		t.Skip("runs git-lfs many times")
	}
	t.Parallel()
	for _, locksVerify := range []string{"unset", "true", "false"} {
		t.Run(locksVerify, func(t *testing.T) {
			t.Parallel()
			w := newClientWorld(t, pusher)
			c := w.checkout()
			for key, value := range installed {
				c.git("config", "--global", "lfs."+w.server.URL+"/."+key, value)
			}
			c.clone()
			if locksVerify != "unset" {
				c.git("config", "lfs."+w.server.URL+"/acme/widgets.git/info/lfs.locksverify", locksVerify)
			}
			c.write("a")
			out := c.git("push", "--quiet", "origin", "HEAD:agent/x")
			if !onlyProgress.MatchString(out) {
				t.Errorf("push printed %q, want nothing", out)
			}
			if got := w.LFSObjects("acme", "widgets"); len(got) != 3 {
				t.Errorf("objects = %q, want 3", got)
			}
			if asked := w.Count(isCall("/locks/verify")); (asked > 0) == (locksVerify == "false") {
				t.Errorf("GitHub was asked %d times for locks", asked)
			}
			other := w.checkout()
			other.clone()
			other.git("checkout", "--quiet", "origin/agent/x")
			got, err := os.ReadFile(filepath.Join(other.dir, "a2.bin"))
			if err != nil || len(got) != 80_000 {
				t.Errorf("a cloned file has %d bytes, %v, want 80000", len(got), err)
			}
		})
	}
}

// A push also works without what gatepass install writes.
func TestGitLFSPushesWithoutAnyConfiguration(t *testing.T) {
	t.Parallel()
	w := newClientWorld(t, pusher)
	c := w.checkout()
	c.clone()
	c.write("a")
	out := c.git("push", "--quiet", "origin", "HEAD:agent/x")
	if strings.Contains(out, "rror") || !strings.Contains(out, "Locking support detected") {
		t.Errorf("push printed %q, want git-lfs' hint about locks only", out)
	}
	config, err := os.ReadFile(filepath.Join(c.dir, ".git", "config"))
	if err != nil || strings.Count(string(config), "access = ") > 3 || strings.Contains(string(config), queryKey+"=") {
		t.Errorf("the repository's configuration after the push:\n%s\nwant no address of a transfer in it (%v)", config, err)
	}
	if got := w.LFSObjects("acme", "widgets"); len(got) != 3 {
		t.Errorf("objects = %q, want 3", got)
	}
}

func TestGitLFSSaysWhyAnUploadIsDenied(t *testing.T) {
	if testing.Short() {
		t.Skip("runs git-lfs many times")
	}
	t.Parallel()
	for name, more := range map[string]map[string]string{"installed": installed, "unset": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newClientWorld(t, cloner)
			c := w.checkout()
			for key, value := range more {
				c.git("config", "--global", "lfs."+w.server.URL+"/."+key, value)
			}
			c.clone()
			c.write("a")
			out, err := c.run("push", "origin", "HEAD:agent/x")
			if err == nil || !strings.Contains(out, "gatepass: upload denied: the profile of workspace sb-agent does not allow contents: write") || strings.Contains(out, "locksverify") {
				t.Errorf("push = %v\n%s\nwant our words, and none about locks", err, out)
			}
			if got := w.LFSObjects("acme", "widgets"); len(got) != 0 {
				t.Errorf("objects = %q, want none", got)
			}
		})
	}
}

// Nothing that git-lfs prints contains a GitHub token or a storage address.
func TestGitLFSSeesNothingOfGitHub(t *testing.T) {
	if testing.Short() {
		t.Skip("runs git-lfs many times")
	}
	t.Parallel()
	w := newClientWorld(t, pusher)
	c := w.checkout()
	c.more = map[string]string{"GIT_TRACE": "1", "GIT_CURL_VERBOSE": "1", "GIT_TRACE_CURL": "1", "GIT_TRANSFER_TRACE": "1"}
	c.clone()
	c.write("a")
	out := c.git("push", "origin", "HEAD:agent/x") + c.git("lfs", "locks") + c.git("lfs", "lock", "a0.bin") + c.git("lfs", "unlock", "a0.bin")
	if err := os.RemoveAll(filepath.Join(c.dir, ".git", "lfs")); err != nil {
		t.Fatal(err)
	}
	out += c.git("lfs", "pull", "origin")
	if !strings.Contains(out, "?"+queryKey+"=") || !strings.Contains(out, "objects/batch") {
		t.Fatalf("the trace shows no addresses:\n%s", out)
	}
	w.checkHidden("the trace of git-lfs", []byte(out))
	files := map[string][]byte{}
	for _, dir := range []string{c.dir, c.home} {
		if err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
			if err == nil && entry.Type().IsRegular() {
				files[path], err = os.ReadFile(path)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	for path, content := range files {
		w.checkHidden(path, content)
	}
}

// If an address has expired, git-lfs asks for the batch again.
func TestGitLFSAsksAgainWhenAnAddressHasEnded(t *testing.T) {
	if testing.Short() {
		t.Skip("runs git-lfs many times")
	}
	t.Parallel()
	w := newClientWorld(t, pusher)
	c := w.checkout()
	c.clone()
	c.write("a")
	w.Fail(fakegithub.To("PUT", ""), fakegithub.Status(403), 1)
	c.git("push", "--quiet", "origin", "HEAD:agent/x")
	if got := w.LFSObjects("acme", "widgets"); len(got) != 3 {
		t.Errorf("objects = %q, want 3", got)
	}
	if n := w.Count(isCall("/objects/batch")); n < 2 {
		t.Errorf("batches = %d, want another one", n)
	}
}
