//go:build linux

package install_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestScriptHelp(t *testing.T) {
	eachShell(t, func(t *testing.T, sh shell) {
		out := sh.must(t, "--help")
		if !strings.Contains(out, "ENV GIT_ASKPASS=") {
			t.Errorf("--help = %s, want what to put into the Dockerfile", out)
		}
	})
}

// Installing twice has the effect of installing once, two equal images get equal files,
// and uninstalling restores what was there before.
func TestScriptIntoARoot(t *testing.T) {
	eachShell(t, func(t *testing.T, sh shell) {
		root, twin := newRoot(t), newRoot(t)
		before := manifest(t, root)

		out := sh.must(t, "--policy-later", "--root", root)
		if !strings.Contains(out, "an allowed push succeeds, another push is refused\n") {
			t.Errorf("install said %q, want that it is verified", out)
		}
		installed := manifest(t, root)
		for _, want := range []string{
			"usr/local/bin/gatepass-agent -rwxr-xr-x", "etc/profile.d/gatepass.sh -rw-r--r--", "etc/gitconfig -rw-r--r--",
			"opt/conda/etc/gitconfig -rw-r--r--", "usr/local/share/gatepass/hooks/pre-push -rwxr-xr-x",
		} {
			if !slices.ContainsFunc(installed, func(line string) bool { return strings.HasPrefix(line, want) }) {
				t.Errorf("no %s after the install", want)
			}
		}

		sh.must(t, "--policy-later", "--root", root, "--no-verify-install")
		same(t, "installed twice", manifest(t, root), installed)
		sh.must(t, "--policy-later", "--root", twin, "--no-verify-install")
		same(t, "installed into its twin", manifest(t, twin), installed)

		sh.must(t, "--uninstall", "--root", root)
		same(t, "uninstalled", manifest(t, root), before)
		if out := sh.must(t, "--uninstall", "--root", root); out != "nothing to do: not installed\n" {
			t.Errorf("second uninstall said %q, want that there is nothing to do", out)
		}
	})
}

// The trial push has a transport and a repository of its own: settings for others in
// the builder's environment do not matter.
func TestScriptVerifiesInAnyEnvironment(t *testing.T) {
	sh := shells(t)[0]
	sh.env = append(sh.env, "GIT_ALLOW_PROTOCOL=https", "GIT_PROTOCOL_FROM_USER=0", "GIT_DIR=/nowhere", "GATEPASS_CONFIG=/nowhere",
		"GIT_CONFIG_GLOBAL=/nowhere")
	if out := sh.must(t, "--policy-later", "--root", newRoot(t)); !strings.Contains(out, "an allowed push succeeds, another push is refused\n") {
		t.Errorf("install said %q, want that it is verified", out)
	}
}

func TestScriptHonoursSourceDateEpoch(t *testing.T) {
	if testing.Short() {
		t.Skip("runs install.sh twice more")
	}
	eachShell(t, func(t *testing.T, sh shell) {
		root := newRoot(t)
		sh.env = append(sh.env, "SOURCE_DATE_EPOCH=1000000000")
		sh.must(t, "--policy-later", "--root", root, "--no-verify-install")
		for _, name := range []string{
			"usr/local/bin/gatepass", "etc/profile.d/gatepass.sh", "etc/gitconfig", "usr/local/share/gatepass",
			"usr/local/share/gatepass/hooks/pre-push", "usr/local/share/gatepass/image/receipt",
		} {
			info, err := os.Stat(filepath.Join(root, name))
			if err != nil {
				t.Fatal(err)
			}
			if got := info.ModTime().Unix(); got != 1000000000 {
				t.Errorf("time of %s = %d, want 1000000000", name, got)
			}
		}
	})
}

func TestScriptTakesAPrefixAndAWorkspaceFile(t *testing.T) {
	if testing.Short() {
		t.Skip("runs install.sh many times")
	}
	sh := shells(t)[0]
	root := newRoot(t)
	before := manifest(t, root)
	policy := write(t, filepath.Join(t.TempDir(), "policy.yaml"), "hosts: [ghe.example.com]\nrefs: [main]\n", 0o664)
	sh.must(t, "--root", root, "--prefix=/opt/it's here", "--workspace-file", policy)

	contains(t, filepath.Join(root, "etc/gitconfig"), `[credential "https://ghe.example.com"]`)
	contains(t, filepath.Join(root, "etc/gatepass/workspace.yaml"), "refs: [main]")
	profile := filepath.Join(root, "etc/profile.d/gatepass.sh")
	out, err := exec.Command("sh", "-c", `. "$1" && printf %s "$GIT_ASKPASS $GIT_TERMINAL_PROMPT"`, "sh", profile).CombinedOutput()
	if want := "/opt/it's here/bin/gatepass-askpass 0"; err != nil || string(out) != want {
		t.Errorf("profile sets %q, %v, want %q", out, err, want)
	}

	// Another prefix replaces the first; the workspace file stays.
	sh.must(t, "--policy-later", "--root", root, "--no-verify-install")
	if _, err := os.Stat(filepath.Join(root, "opt/it's here/bin/gatepass")); err == nil {
		t.Error("the programs at the first prefix are still there")
	}
	contains(t, filepath.Join(root, "etc/gatepass/workspace.yaml"), "refs: [main]")
	sh.must(t, "--uninstall", "--root", root)
	same(t, "uninstalled", manifest(t, root), before)
}

// The workspace file of an image may come later, but not the settings that lead git to
// the gateway.
func TestScriptTakesAGateway(t *testing.T) {
	sh := shells(t)[0]
	root := newRoot(t)
	before := manifest(t, root)
	sh.must(t, "--root", root, "--policy-later", "--gateway", "https://broker.example", "--gateway-ca=/etc/ssl/broker.pem")
	contains(t, filepath.Join(root, "etc/gitconfig"), `[url "https://broker.example/"]`)
	contains(t, filepath.Join(root, "etc/gitconfig"), "git-credential-gatepass --gateway https://broker.example\n")
	contains(t, filepath.Join(root, "etc/gitconfig"), "sslCAInfo = /etc/ssl/broker.pem")
	contains(t, filepath.Join(root, "etc/profile.d/gatepass.sh"), "export CARGO_NET_GIT_FETCH_WITH_CLI=true")
	contains(t, filepath.Join(root, "etc/profile.d/gatepass.sh"), "|| NODE_EXTRA_CA_CERTS='/etc/ssl/broker.pem'\nexport NODE_EXTRA_CA_CERTS")
	sh.must(t, "--uninstall", "--root", root)
	same(t, "uninstalled", manifest(t, root), before)
}

func TestScriptUninstallKeepsWhatOthersAdded(t *testing.T) {
	sh := shells(t)[0]
	root := newRoot(t)
	sh.must(t, "--policy-later", "--root", root, "--no-verify-install")
	config := filepath.Join(root, "etc/gitconfig")
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	write(t, config, string(text)+"[user]\n\tname = later\n", 0o644)
	write(t, filepath.Join(root, "usr/local/share/gatepass/note"), "mine\n", 0o644)
	out := sh.must(t, "--uninstall", "--root", root)
	if !strings.Contains(out, "/usr/local/share/gatepass is kept: it has files of others") {
		t.Errorf("uninstall said %q, want which folder stays", out)
	}
	contains(t, config, "name = later")
	if left, err := os.ReadFile(config); err != nil || strings.Contains(string(left), "gatepass") {
		t.Errorf("%s = %q, %v, want nothing of gatepass", config, left, err)
	}
}

func TestScriptDryRunWritesNothing(t *testing.T) {
	sh := shells(t)[0]
	root := newRoot(t)
	before := manifest(t, root)
	out := sh.must(t, "--policy-later", "--root", root, "--dry-run", "--host", "ghe.example.com:8443")
	same(t, "after a dry run", manifest(t, root), before)
	for _, want := range []string{root + "/usr/local/bin/gatepass\n", root + "/etc/profile.d/gatepass.sh\n", `+[credential "https://ghe.example.com:8443"]` + "\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("dry run said %q, want %q in it", out, want)
		}
	}
}

func TestScriptRefuses(t *testing.T) {
	if testing.Short() {
		t.Skip("runs install.sh many times")
	}
	empty := t.TempDir()
	bad := write(t, filepath.Join(empty, "bad.yaml"), "ref: [main]\n", 0o644)
	pattern := write(t, filepath.Join(empty, "pattern.yaml"), "refs: ['a[']\n", 0o644)
	for name, c := range map[string]struct {
		args []string
		env  string
		code int
		want string // a regular expression for the one line
	}{
		"an unknown option":        {args: []string{"--frobnicate"}, code: 2, want: `install: unknown option --frobnicate; see gatepass install --help`},
		"a missing value":          {args: []string{"--from"}, code: 2, want: `install\.sh: --from needs a value; `},
		"an empty value":           {args: []string{"--from="}, code: 2, want: `install\.sh: --from needs a value; `},
		"a relative prefix":        {args: []string{"--prefix", "usr"}, code: 1, want: `use usr: the path is not absolute`},
		"a prefix with dots":       {args: []string{"--prefix", "/usr/../x"}, code: 1, want: `use the prefix /usr/\.\./x: it is not a plain path`},
		"a host with a path":       {args: []string{"--host", "github.com/acme"}, code: 1, want: `use the host github\.com/acme: `},
		"a control character":      {args: []string{"--prefix", "/a\nb"}, code: 1, want: `the path has a control character; `},
		"an odd time":              {env: "SOURCE_DATE_EPOCH=now", code: 1, want: `SOURCE_DATE_EPOCH: it is not a number of seconds; `},
		"no programs":              {args: []string{"--from", empty}, code: 1, want: `install\.sh: there is no gatepass in .*; name .* with --from DIR`},
		"no root":                  {args: []string{"--root", "/nowhere"}, code: 1, want: `open the image root /nowhere: `},
		"to run another's git":     {args: []string{"--run-gits"}, code: 2, want: `--run-gits needs --system: gatepass runs no program of an image`},
		"without a workspace file": {code: 1, want: `install: there is no workspace file .*/etc/gatepass/workspace\.yaml: the guard would deny every push; name another with --workspace-file FILE, or use --policy-later if it is mounted later`},
		"no workspace file":        {args: []string{"--workspace-file", "/nowhere"}, code: 1, want: `read the workspace file /nowhere: `},
		"an unknown key in it":     {args: []string{"--workspace-file", bad}, code: 1, want: `use the workspace file .*/bad\.yaml: .*\bref\b.*; correct it`},
		"a bad pattern in it":      {args: []string{"--workspace-file", pattern}, code: 1, want: `use the workspace file .*/pattern\.yaml: .*; correct it`},
		"no git":                   {env: "PATH=" + withoutGit(t), code: 1, want: `install: git is not on PATH; install git`},
	} {
		t.Run(name, func(t *testing.T) {
			sh := shells(t)[0]
			root := newRoot(t)
			before := manifest(t, root)
			if c.env != "" {
				sh.env = append(sh.env, c.env)
			}
			args := c.args
			if !slices.Contains(args, "--root") {
				args = append([]string{"--root", root}, args...)
			}
			if !strings.Contains(name, "workspace file") {
				args = append([]string{"--policy-later"}, args...)
			}
			stdout, stderr, code := sh.run(t, args...)
			line := regexp.MustCompile(`\Agatepass: .*` + c.want + `.*\n\z`)
			if code != c.code || !line.MatchString(stderr) || stdout != "" {
				t.Errorf("install.sh %q = %d, %q, %q, want %d, and one line like %q", c.args, code, stdout, stderr, c.code, c.want)
			}
			same(t, "afterwards", manifest(t, root), before)
		})
	}
}

func TestScriptTakesAnyRoot(t *testing.T) {
	if testing.Short() {
		t.Skip("runs install.sh many times")
	}
	eachShell(t, func(t *testing.T, sh shell) {
		for _, name := range []string{"it's [an] image*", `a"b`, `a\b`, "a&b", "-a", "a\nb\n"} {
			root := filepath.Join(t.TempDir(), name)
			if err := os.Rename(newRoot(t), root); err != nil {
				t.Fatal(err)
			}
			before := manifest(t, root)
			sh.must(t, "--policy-later", "--root", root, "--no-verify-install")
			sh.must(t, "--uninstall", "--root="+root)
			same(t, "uninstalled", manifest(t, root), before)
		}
	})
}

// Only / itself means this machine. A link to it may belong to the user who prepared
// the image, and gatepass checks its owner.
func TestScriptTakesALinkToTheTopForAnImage(t *testing.T) {
	programs, top := t.TempDir(), filepath.Join(t.TempDir(), "image")
	write(t, filepath.Join(programs, "gatepass"), "#!/bin/sh\nprintf '%s ' \"$@\"\n", 0o755)
	if err := os.Symlink("/", top); err != nil {
		t.Fatal(err)
	}
	eachShell(t, func(t *testing.T, sh shell) {
		for root, want := range map[string]string{"/": "--system", "//": "--system", top: "--root " + top, "/.": "--root /."} {
			want = "install " + want + " --from " + programs + " -n "
			if out := sh.must(t, "--from", programs, "--root", root, "-n"); !strings.HasSuffix(out, want) {
				t.Errorf("install.sh --root %s called gatepass %s, want %s", root, out, want)
			}
		}
	})
}

// A workspace file that another user put there is not overwritten.
func TestScriptKeepsAnotherWorkspaceFile(t *testing.T) {
	sh := shells(t)[0]
	root := newRoot(t)
	write(t, filepath.Join(root, "etc/gatepass/workspace.yaml"), "refs: [main]\n", 0o644)
	before := manifest(t, root)
	mine := write(t, filepath.Join(t.TempDir(), "mine.yaml"), "refs: ['**']\n", 0o644)
	_, stderr, code := sh.run(t, "--root", root, "--workspace-file", mine)
	if code != 1 || !strings.Contains(stderr, "another file exists there; move it away") {
		t.Errorf("install.sh = %d, %q, want it refused", code, stderr)
	}
	same(t, "afterwards", manifest(t, root), before)
}
