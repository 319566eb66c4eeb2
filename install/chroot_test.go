//go:build linux

package install_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/test/fakegithub"
)

// someone is a user of the chroot who is not root.
const someone = 1000

// needChroot skips a test that installs into /, unless it runs in a chroot that make
// test-real made for it.
func needChroot(t *testing.T) {
	t.Helper()
	if os.Getenv("GATEPASS_TEST_CHROOT") == "" || os.Geteuid() != 0 {
		t.Skip("missing: a chroot and root (make test-real)")
	}
}

// system returns the manifest of the whole chroot, without the kernel's file systems,
// what make test-real mounts, and the temporary files of this test.
func system(t *testing.T) []string {
	t.Helper()
	// The overlay's own top, and /tmp, into which this test writes.
	mine := func(line string) bool { return strings.HasPrefix(line, ". ") || strings.HasPrefix(line, "tmp ") }
	return slices.DeleteFunc(manifest(t, "/", "/proc", "/dev", "/sys", "/gatepass", "/gatepass-tests", "/tmp"), mine)
}

// asSomeone returns the shell as an ordinary user with a home has it.
func asSomeone(t *testing.T, sh shell) (shell, string) {
	t.Helper()
	home, err := os.MkdirTemp("/tmp", "home-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(home) })
	if err := os.Chown(home, someone, someone); err != nil {
		t.Fatal(err)
	}
	sh.user = someone
	sh.env = append(slices.DeleteFunc(slices.Clone(sh.env), func(v string) bool {
		return strings.HasPrefix(v, "HOME=") || strings.HasPrefix(v, "TMPDIR=")
	}), "HOME="+home)
	return sh, home
}

// plainPath removes our own binaries, which are first on the PATH of a test, from the
// image's PATH.
func plainPath(sh shell) shell {
	sh.env = slices.Clone(sh.env)
	for i, v := range sh.env {
		sh.env[i] = strings.Replace(v, "PATH="+os.Getenv("GATEPASS_TEST_BIN_DIR")+":", "PATH=", 1)
	}
	return sh
}

// otherGit installs a git with its own system file in the image, as conda does.
func otherGit(t *testing.T) {
	t.Helper()
	write(t, "/opt/conda/bin/git", "#!/bin/sh\n>/tmp/ran\nGIT_CONFIG_SYSTEM=/opt/conda/etc/gitconfig\nexport GIT_CONFIG_SYSTEM\nexec /usr/bin/git \"$@\"\n", 0o755)
	t.Cleanup(func() {
		os.RemoveAll("/opt/conda")
		os.Remove("/tmp/ran")
	})
}

// ran tells whether that git has run since the last call.
func ran() bool { return os.Remove("/tmp/ran") == nil }

func TestImage(t *testing.T) {
	needChroot(t)
	otherGit(t)
	eachShell(t, func(t *testing.T, sh shell) {
		sh = plainPath(sh)
		before := system(t)
		dry := sh.must(t, "--dry-run", "--policy-later")
		out := sh.must(t, "--policy-later")
		for _, want := range []string{"verified with /", "guard: "} {
			if !strings.Contains(out, want) {
				t.Errorf("install said %q, want %q in it", out, want)
			}
		}
		if ran() || !strings.Contains(dry, "/opt/conda/etc/gitconfig") {
			t.Errorf("install ran a git that is not on PATH, or its dry run said %q without that git's file", dry)
		}
		installed := system(t)
		contains(t, "/etc/gitconfig", "git-credential-gatepass")
		contains(t, "/opt/conda/etc/gitconfig", "git-credential-gatepass")
		for _, line := range installed {
			if strings.Contains(line, "gatepass") && !strings.Contains(line, " 0:0 ") {
				t.Errorf("%s, want it to belong to root", line)
			}
		}
		sh.must(t, "--policy-later")
		same(t, "installed twice", system(t), installed)
		if out := sh.must(t, "--policy-later", "--run-gits"); !strings.Contains(out, "verified with /opt/conda/bin/git: ") || !ran() {
			t.Errorf("install --run-gits said %q, want all gits verified", out)
		}
		sh.must(t, "--uninstall")
		same(t, "uninstalled", system(t), before)
		if ran() {
			t.Error("uninstall ran a git that is not on PATH")
		}
	})
}

// The feature of a dev container passes on its options.
func TestDevContainerFeature(t *testing.T) {
	needChroot(t)
	from, err := release()
	if err != nil {
		t.Fatal(err)
	}
	feature := t.TempDir()
	if err := os.CopyFS(filepath.Join(feature, "gatepass-linux-"+runtime.GOARCH), os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	entrypoint := write(t, filepath.Join(feature, "install.sh"), featureScript, 0o755)
	policy := write(t, filepath.Join(t.TempDir(), "it is mine.yaml"), "refs: [main]\n", 0o644)
	sh := plainPath(shells(t)[0])
	before := system(t)

	with := sh
	with.env = append(slices.Clone(sh.env), "WORKSPACEFILE="+policy, "GITHOST=ghe.example.com", "VERIFY=false")
	out, stderr, code := with.do(t, entrypoint)
	if code != 0 || stderr != "" || strings.Contains(out, "verified") {
		t.Errorf("install.sh of the feature = %d, %s%s, want 0 without a trial", code, out, stderr)
	}
	contains(t, "/etc/gatepass/workspace.yaml", "refs: [main]")
	contains(t, "/etc/gitconfig", "ghe.example.com")

	without := sh
	without.env = append(slices.Clone(sh.env), "WORKSPACEFILE=", "GITHOST=", "VERIFY=true", "POLICYLATER=false")
	sh.must(t, "--uninstall")
	if _, stderr, code := without.do(t, entrypoint); code != 1 || !strings.Contains(stderr, "--policy-later") {
		t.Errorf("install.sh of the feature without a workspace file = %d, %q, want it refused", code, stderr)
	}
	without.env = append(without.env, "POLICYLATER=true")
	if out, stderr, code := without.do(t, entrypoint); code != 0 || !strings.Contains(out, "verified") {
		t.Errorf("install.sh of the feature = %d, %s%s, want 0 and a trial", code, out, stderr)
	}
	sh.must(t, "--uninstall")
	same(t, "uninstalled", system(t), before)
}

// If the environment makes git ignore its system file, the guard is off, and the
// install reports that instead of leaving an image that only seems guarded.
func TestImageInWhichTheGuardCannotWork(t *testing.T) {
	needChroot(t)
	sh := plainPath(shells(t)[0])
	defer sh.must(t, "--uninstall")
	sh.env = append(sh.env, "GIT_CONFIG_NOSYSTEM=1")
	_, stderr, code := sh.run(t, "--policy-later")
	if want := "/usr/bin/git: git made a push that the policy refuses; "; code != 1 || !strings.Contains(stderr, want) {
		t.Errorf("install.sh = %d, %q, want 1, %q", code, stderr, want)
	}
}

// The trial of an image concerns only that image: an unreadable workspace file or a
// hook of this machine does not matter.
func TestImageBesideAnotherPolicy(t *testing.T) {
	needChroot(t)
	hook := write(t, filepath.Join(t.TempDir(), "pre-push"), "#!/bin/sh\nexit 1\n", 0o755)
	for name, text := range map[string]string{
		"/etc/gatepass/workspace.yaml": "nonsense: 1\n", "/etc/gitconfig": "[core]\n\thooksPath = " + filepath.Dir(hook) + "\n",
	} {
		before, err := os.ReadFile(name)
		switch {
		case err == nil:
			t.Cleanup(func() { write(t, name, string(before), 0o644) })
		case errors.Is(err, fs.ErrNotExist):
			t.Cleanup(func() { os.Remove(name) })
		default:
			t.Fatal(err)
		}
		write(t, name, text, 0o644)
	}
	shells(t)[0].must(t, "--policy-later", "--root", newRoot(t))
}

func TestImageAsSomeone(t *testing.T) {
	needChroot(t)
	eachShell(t, func(t *testing.T, sh shell) {
		sh, home := asSomeone(t, plainPath(sh))
		before := system(t)
		_, stderr, code := sh.run(t, "--policy-later")
		if want := "gatepass: write /usr/local/bin/git-credential-gatepass: permission denied; run as the file's owner or choose another scope\n"; code != 1 || stderr != want {
			t.Errorf("install.sh = %d, %q, want 1, %q", code, stderr, want)
		}
		same(t, "refused", system(t), before)

		root := filepath.Join(home, "image")
		if err := os.Mkdir(root, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(root, someone, someone); err != nil {
			t.Fatal(err)
		}
		empty := manifest(t, root)
		sh.must(t, "--policy-later", "--prefix", home+"/.local", "--root", root)
		installed := manifest(t, root)
		contains(t, filepath.Join(root, "etc/gitconfig"), home+"/.local/bin/git-credential-gatepass")
		sh.must(t, "--policy-later", "--prefix", home+"/.local", "--root", root)
		same(t, "installed twice", manifest(t, root), installed)
		sh.must(t, "--uninstall", "--root", root)
		same(t, "uninstalled", manifest(t, root), empty)
		same(t, "outside of the root", system(t), before)
	})
}

// The purpose of an image: its user clones and pushes with a token that they never see,
// and what the policy does not allow is refused.
func TestImageAtWork(t *testing.T) {
	needChroot(t)
	root := plainPath(shells(t)[0])
	before := system(t)
	gh := newGitHub(t)
	sh, home := asSomeone(t, root)
	token := write(t, filepath.Join(home, "token"), gh.token, 0o600)
	if err := os.Chown(token, someone, someone); err != nil {
		t.Fatal(err)
	}
	policy := write(t, filepath.Join(t.TempDir(), "workspace.yaml"),
		"hosts: ['"+gh.server.Host()+"']\nsource: file://"+token+"\nrepos: [acme/widgets]\nrefs: ['agent/**']\n", 0o644)
	root.must(t, "--workspace-file", policy)

	ca := write(t, filepath.Join(home, "ca.pem"), string(gh.server.CAPEM()), 0o644)
	sh.env = append(sh.env, "GIT_SSL_CAINFO="+ca)
	runtime := filepath.Join(home, "runtime")
	if err := os.Mkdir(runtime, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(runtime, someone, someone); err != nil {
		t.Fatal(err)
	}
	t.Run("with XDG_RUNTIME_DIR", func(t *testing.T) {
		with := sh
		with.env = append(slices.Clone(sh.env), "XDG_RUNTIME_DIR="+runtime)
		gh.work(t, with, home, "agent/with")
	})
	t.Run("without", func(t *testing.T) { gh.work(t, sh, home, "agent/without") })

	root.must(t, "--uninstall")
	same(t, "uninstalled", system(t), before)
}

type gitHub struct {
	server *fakegithub.Server
	token  string
}

func newGitHub(t *testing.T) gitHub {
	t.Helper()
	server, err := fakegithub.New(fakegithub.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	app, err := server.AddApp(fakegithub.App{Slug: "gatepass", Permissions: fakegithub.Permissions{"contents": "write"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := server.AddRepository(fakegithub.Repository{Owner: "acme", Name: "widgets"}); err != nil {
		t.Fatal(err)
	}
	in, err := server.AddInstallation(fakegithub.Installation{AppID: app.ID, Account: "acme", RepositorySelection: "all"})
	if err != nil {
		t.Fatal(err)
	}
	token, err := server.MintFor(in.ID, []string{"widgets"}, fakegithub.Permissions{"contents": "write"})
	if err != nil {
		t.Fatal(err)
	}
	return gitHub{server: server, token: token}
}

// work does what the user does in a login shell, with the settings of /etc/profile.d.
func (gh gitHub) work(t *testing.T, sh shell, home, branch string) {
	t.Helper()
	defer func() {
		if out, stderr, code := sh.do(t, "-c", "exec gatepass agent stop"); code != 0 || !strings.Contains(out, "was stopped") {
			t.Errorf("gatepass agent stop = %d, %q, %q, want that it was stopped", code, out, stderr)
		}
	}()
	steps := `set -e
. /etc/profile.d/gatepass.sh
test "$GIT_ASKPASS" = /usr/local/bin/gatepass-askpass
rm -rf "$1/work"
git clone -q "$2" "$1/work"
cd "$1/work"
git -c user.name=x -c user.email=x@example.com commit -q --allow-empty -m work
git push -q origin "HEAD:refs/heads/$3"
if git push -q origin HEAD:refs/heads/main; then exit 9; fi`
	url := "https://" + gh.server.Host() + "/acme/widgets.git"
	out, stderr, code := sh.do(t, "-c", steps, "sh", home, url, branch)
	if code != 0 || !strings.Contains(stderr, "gatepass: push to refs/heads/main denied: ") {
		t.Fatalf("clone and push = %d, %s%s, want 0 and main denied", code, out, stderr)
	}
	if strings.Contains(out+stderr, gh.token) {
		t.Error("the token is shown")
	}
	_, stderr, code = sh.do(t, "-c", `git ls-remote --exit-code "$1" "refs/heads/$2"`, "sh", url, branch)
	if code != 0 {
		t.Errorf("ls-remote %s = %d, %s, want the pushed branch", branch, code, stderr)
	}
}
