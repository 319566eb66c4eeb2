//go:build unix

package install

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// An attacked is an image that an attacker wrote, next to files of the host.
type attacked struct {
	t               *testing.T
	root, host, src string
}

func newAttacked(t *testing.T) attacked {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("missing: git")
	}
	top := t.TempDir()
	a := attacked{t, filepath.Join(top, "image"), filepath.Join(top, "host"), filepath.Join(top, "src")}
	for _, name := range programs {
		put(t, filepath.Join(a.src, name), "ours", 0o755)
		put(t, filepath.Join(a.host, "bin", name), "of the host", 0o755)
	}
	put(t, filepath.Join(a.host, "shadow"), "of the host", 0o600)
	put(t, filepath.Join(a.root, "etc/passwd"), "of the image", 0o644)
	return a
}

func (a attacked) options() Options {
	env := map[string]string{"PATH": os.Getenv("PATH"), "HOME": a.src}
	return Options{Scope: Image, Root: a.root, From: a.src, PolicyLater: true, Getenv: func(name string) string { return env[name] }}
}

func (a attacked) install() error {
	plan, err := New(a.t.Context(), a.options())
	if err != nil {
		return err
	}
	return plan.Apply()
}

func (a attacked) uninstall() error {
	plan, err := Removal(a.t.Context(), a.options())
	if err != nil {
		return err
	}
	return plan.Apply()
}

// unharmed checks that everything of the host is unchanged.
func (a attacked) unharmed() {
	a.t.Helper()
	files := []string{filepath.Join(a.host, "shadow")}
	for _, name := range programs {
		files = append(files, filepath.Join(a.host, "bin", name))
	}
	for _, file := range files {
		if text, err := os.ReadFile(file); err != nil || string(text) != "of the host" {
			a.t.Errorf("%s = %q, %v, want it as it was", file, text, err)
		}
	}
	for _, dir := range []string{a.host, filepath.Join(a.host, "bin")} {
		entries, err := os.ReadDir(dir)
		if want := map[string]int{"host": 2, "bin": len(programs)}[filepath.Base(dir)]; err != nil || len(entries) != want {
			a.t.Errorf("%s holds %v, %v, want nothing new", dir, entries, err)
		}
	}
}

// The receipt is in the image, so the author of the image can write it. uninstall
// --root runs as root and believes only what install could have written.
func TestTheReceiptNamesNothingOfOthers(t *testing.T) {
	for name, lines := range map[string]string{
		"a path that leads up":     "prefix /usr/local\nfile /../host/shadow\n",
		"a file of the image":      "prefix /usr/local\nfile /etc/passwd\n",
		"a name of ours elsewhere": "prefix /usr/local\nfile /etc/gatepass\n",
		"another name in bin":      "prefix /usr/local\nfile /usr/local/bin/sh\n",
		"a prefix that leads up":   "prefix /../host\nfile /usr/local/bin/gatepass\n",
		"no prefix":                "file /usr/local/bin/gatepass\n",
		"two prefixes":             "prefix /usr/local\nprefix /opt\n",
		"a directory of others":    "prefix /usr/local\ndir /var/empty\n",
		"a directory leading up":   "prefix /usr/local\ndir /usr/../../host/bin\n",
		"a line of another kind":   "prefix /usr/local\nlink /etc/passwd\n",
		"a file in the state dir":  "prefix /usr/local\nfile /usr/local/share/gatepass/image/../../../../../etc/passwd\n",
		"a control character":      "prefix /usr/local\nfile /usr/local/bin/gatepass\r\n",
		"nothing":                  "",
	} {
		t.Run(name, func(t *testing.T) {
			a := newAttacked(t)
			put(t, filepath.Join(a.root, receiptPath), lines, 0o644)
			put(t, filepath.Join(a.root, "usr/local/bin/gatepass"), "of the image", 0o755)
			if err := os.MkdirAll(filepath.Join(a.root, "var/empty"), 0o755); err != nil {
				t.Fatal(err)
			}
			for verb, f := range map[string]func() error{"uninstall": a.uninstall, "install": a.install} {
				if err := f(); err == nil || !strings.Contains(err.Error(), "receipt") || strings.Contains(err.Error(), "\r") {
					t.Errorf("%s = %v, want the receipt refused", verb, err)
				}
			}
			for _, file := range []string{"etc/passwd", "var/empty", "usr/local/bin/gatepass"} {
				if _, err := os.Stat(filepath.Join(a.root, file)); err != nil {
					t.Error(err)
				}
			}
			a.unharmed()
		})
	}
}

func TestTheReceiptOfAnotherUserIsRefused(t *testing.T) {
	a := newAttacked(t)
	file := filepath.Join(a.root, receiptPath)
	put(t, file, "prefix /usr/local\nfile /usr/local/bin/gatepass\n", 0o644)
	if err := os.Chmod(file, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := a.uninstall(); err == nil || !strings.Contains(err.Error(), "another user can write to it") {
		t.Errorf("uninstall with a receipt open to all = %v, want it refused", err)
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	someoneElse(t, file)
	if err := a.uninstall(); err == nil || !strings.Contains(err.Error(), "another user can write to it") {
		t.Errorf("uninstall with a receipt of another user = %v, want it refused", err)
	}
}

// A link on the path of a file in the receipt is resolved inside the image, both at
// uninstall and at install, which removes programs of an earlier prefix.
func TestTheReceiptsPathsStayInTheImage(t *testing.T) {
	for _, target := range []string{"absolute", "../host", "../../../../../../../host"} {
		a := newAttacked(t)
		if target == "absolute" {
			target = a.host
		}
		link(t, target, filepath.Join(a.root, "opt"))
		receipt := "prefix /opt\ndir /opt\n"
		for _, name := range programs {
			receipt += "file /opt/bin/" + name + "\n"
		}
		put(t, filepath.Join(a.root, receiptPath), receipt, 0o644)
		if err := a.install(); err == nil {
			t.Errorf("install with an earlier prefix that is a link to %s = nil, want it refused", target)
		}
		if err := a.uninstall(); err == nil {
			t.Errorf("uninstall of what is behind a link to %s = nil, want it refused", target)
		}
		a.unharmed()
	}
}

// The place of a program may be a link to a directory of the host, into which a move
// would put the file. So may the place of every other file.
func TestALinkInAnyPlaceLeadsNowhere(t *testing.T) {
	places := []string{profilePath, receiptPath, "/etc/gitconfig", systemHooks + "/pre-push"}
	for _, name := range programs {
		places = append(places, "/usr/local/bin/"+name)
	}
	for _, place := range places {
		for at := place; at != "/"; at = filepath.Dir(at) { // each directory on the way as well
			a := newAttacked(t)
			if at == "/etc" {
				if err := os.RemoveAll(filepath.Join(a.root, "etc")); err != nil {
					t.Fatal(err)
				}
			}
			link(t, a.host, filepath.Join(a.root, at))
			if err := a.install(); err == nil {
				t.Errorf("install with %s linked to a directory of the host = nil, want it refused", at)
			}
			a.unharmed()
		}
	}
}

// An image may have its /etc/gitconfig elsewhere, by an absolute link. That does not
// concern the host: no file is created there, no time is set.
func TestAnAbsoluteLinkMeansTheImagesFile(t *testing.T) {
	a := newAttacked(t)
	real := filepath.Join(a.root, a.host, "gitconfig")
	link(t, filepath.Join(a.host, "gitconfig"), filepath.Join(a.root, "etc/gitconfig"))
	if err := a.install(); err == nil || !strings.Contains(err.Error(), "link to a file that does not exist; create that file or remove the link") {
		t.Errorf("install with a dangling link = %v, want it refused", err)
	}
	put(t, real, "[safe]\n\tdirectory = *\n", 0o644)
	if err := a.install(); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(real); err != nil || !strings.Contains(string(text), "git-credential-gatepass") {
		t.Errorf("the image's file = %q, %v, want it configured", text, err)
	}
	if err := a.uninstall(); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(real); err != nil || string(text) != "[safe]\n\tdirectory = *\n" {
		t.Errorf("the image's file = %q, %v, want it as it was", text, err)
	}
	a.unharmed()
}

// No program of an image is executed, in a dry run or otherwise: the place of a git
// tells where its configuration is.
func TestNothingOfAnImageIsRun(t *testing.T) {
	a := newAttacked(t)
	ran := filepath.Join(a.root, "ran")
	evil := "#!/bin/sh\n>'" + ran + "'\n"
	for _, name := range []string{"usr/bin/git", "opt/evil/bin/git", "root/miniconda3/bin/git", "usr/local/bin/gatepass", "usr/local/bin/gatepass-pre-push"} {
		put(t, filepath.Join(a.root, name), evil, 0o755)
	}
	plan, err := New(t.Context(), a.options()) // a dry run ends here
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"/etc/gitconfig", "/opt/evil/etc/gitconfig", "/root/miniconda3/etc/gitconfig"}
	var got []string
	for _, f := range plan.Files {
		got = append(got, strings.TrimPrefix(f.Path, plan.Root))
	}
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("files to write = %v, want %v", got, want)
	}
	if err := plan.Apply(); err != nil {
		t.Fatal(err)
	}
	if err := a.uninstall(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(ran); err == nil {
		t.Error("a program of the image ran")
	}
}

// A failed install leaves nothing behind, and changes no time.
func TestAFailedInstallLeavesNothing(t *testing.T) {
	a := newAttacked(t)
	config := filepath.Join(a.root, "etc/gitconfig")
	put(t, config, "", 0o644)
	put(t, config+".lock", "", 0o644)
	long := time.Unix(1_500_000_000, 0)
	for _, file := range []string{config, config + ".lock", filepath.Join(a.root, "etc"), a.root} {
		if err := os.Chtimes(file, long, long); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.install(); err == nil {
		t.Fatal("install beside a locked file = nil, want an error")
	}
	for _, file := range []string{config, filepath.Join(a.root, "etc"), a.root} {
		if info, err := os.Stat(file); err != nil || !info.ModTime().Equal(long) {
			t.Errorf("%s is of %v, %v, want %v", file, info.ModTime(), err, long)
		}
	}
	if entries, err := os.ReadDir(a.root); err != nil || len(entries) != 1 {
		t.Errorf("the image holds %v, %v, want etc alone", entries, err)
	}
}

func FuzzParseReceipt(f *testing.F) {
	r := receipt{prefix: "/usr/local", dirs: []string{"/usr/local/share"}, files: []string{receiptPath, "/usr/local/bin/gatepass"}}
	f.Add(string(r.encode()))
	f.Add("prefix /\nfile /../etc/shadow\n")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := parseReceipt(text)
		if err != nil {
			return
		}
		for _, file := range r.files {
			if !installs(file) || filepath.Clean(file) != file {
				t.Errorf("parseReceipt(%q) names %q", text, file)
			}
		}
	})
}
