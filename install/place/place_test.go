//go:build unix

package place

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func link(t *testing.T, target, name string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, name); err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, name, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// A link in an image leads to a file of the image, or to none. It never leads to the
// file of this machine that has the same path.
func TestLinksOfAnImageLeadWhereTheImageHasThem(t *testing.T) {
	root, outside := t.TempDir(), t.TempDir()
	put(t, filepath.Join(outside, "secret"), "of the host", 0o600)
	put(t, filepath.Join(root, "usr/lib/gitconfig"), "of the image", 0o600)
	for name, target := range map[string]string{
		"absolute": "/usr/lib/gitconfig", "relative": "usr/lib/gitconfig", "too high": "../../../../usr/lib/gitconfig",
		"through": "/way/gitconfig", "up": "usr/lib/../lib/gitconfig", "up a link": "way/../lib/gitconfig",
		"way":         "/usr/lib",
		"of the host": outside + "/secret", "up to the host": "../" + filepath.Base(outside) + "/secret", "self": "self", "nothing": "/usr/lib/none",
	} {
		link(t, target, filepath.Join(root, name))
	}
	for name, want := range map[string]string{
		"absolute": "of the image", "relative": "of the image", "too high": "of the image", "through": "of the image",
		"up": "of the image", "up a link": "of the image", "way/gitconfig": "of the image",
		"way/none": "", "none": "", "none/at/all": "",
		"of the host": "error", "up to the host": "error", "self": "error", "nothing": "error",
	} {
		p, err := InImage(openRoot(t, root), "/"+name)
		if want == "error" {
			if err == nil {
				t.Errorf("InImage(%s) = %s, want an error", name, p.Path())
			}
			continue
		}
		if err != nil || !strings.HasPrefix(p.Path(), root) {
			t.Errorf("InImage(%s) = %s, %v, want a path of the image", name, p.Path(), err)
			continue
		}
		if text, exists, err := p.Read(); string(text) != want || exists != (want != "") || err != nil {
			t.Errorf("%s reads as %q, %v, %v, want %q", name, text, exists, err, want)
		}
	}
}

// A link to the top of an image leads there, even as the last part of a path.
func TestALinkToTheTopOfAnImage(t *testing.T) {
	root := t.TempDir()
	for name, target := range map[string]string{"absolute": "/", "relative": ".", "too high": "..", "above": "/.."} {
		link(t, target, filepath.Join(root, name))
		if p, err := InImage(openRoot(t, root), "/"+name); err != nil || p.Name != "." {
			t.Errorf("InImage of a link to %s = %q, %v, want the top", target, p.Name, err)
		}
	}
}

func TestOnHostFollowsLinks(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, "real/file"), "x", 0o600)
	for name, target := range map[string]string{"absolute": dir + "/real", "relative": "real", "loop": "loop", "file": "absolute/../real/file"} {
		link(t, target, filepath.Join(dir, name))
	}
	for name, want := range map[string]string{
		"absolute/file": "real/file", "relative/file": "real/file", "file": "real/file", "absolute/new/er": "real/new/er", "real": "real",
		"absolute": "real",
	} {
		if p, err := OnHost(filepath.Join(dir, name)); err != nil || p.Path() != filepath.Join(dir, want) {
			t.Errorf("OnHost(%s) = %s, %v, want %s", name, p.Path(), err, want)
		}
	}
	if p, err := OnHost("/"); err != nil || p.Path() != "/" {
		t.Errorf("OnHost(/) = %s, %v, want /", p.Path(), err)
	}
	if p, err := OnHost(filepath.Join(dir, "loop")); err == nil {
		t.Errorf("OnHost(loop) = %s, want an error", p.Path())
	}
}

// With the permission to search a directory, but not to list it, install can still
// write its owner's files below.
func TestTheWayNeedNotBeListed(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, "home/me/.gitconfig"), "", 0o600)
	if err := os.Chmod(filepath.Join(dir, "home"), 0o711); err != nil {
		t.Fatal(err)
	}
	part, rest := trustedPart(filepath.Join(dir, "home/me/.gitconfig"))
	if part != filepath.Join(dir, "home/me") || rest != ".gitconfig" {
		t.Errorf("trustedPart = %s, %s, want the directory itself", part, rest)
	}
	if err := os.Chmod(filepath.Join(dir, "home"), 0o777); err != nil {
		t.Fatal(err)
	}
	if part, rest = trustedPart(filepath.Join(dir, "home/me/.gitconfig")); part != filepath.Join(dir, "home") || rest != "me/.gitconfig" {
		t.Errorf("trustedPart below a directory open to all = %s, %s, want to stop at it", part, rest)
	}
}

// someoneElse gives files to another user, which only root can do.
func someoneElse(t *testing.T, paths ...string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("missing: root")
	}
	for _, path := range paths {
		if err := os.Lchown(path, 12345, 12345); err != nil {
			t.Skipf("missing: chown: %v", err)
		}
	}
}

// Root must not write or delete where a link of another user leads: in a home
// that root's HOME names, in an image, anywhere.
func TestAnotherUsersLinksAreNotFollowed(t *testing.T) {
	home, target := t.TempDir(), t.TempDir()
	put(t, filepath.Join(target, "config"), "", 0o644)
	for _, name := range []string{".gitconfig", ".config", "share/gatepass"} {
		to := target
		if name == ".gitconfig" {
			to = filepath.Join(target, "config")
		}
		link(t, to, filepath.Join(home, name))
		someoneElse(t, home, filepath.Join(home, name))
	}
	for _, name := range []string{".gitconfig", ".config/git/config", "share/gatepass/hooks"} {
		if p, err := OnHost(filepath.Join(home, name)); !isForeign(err) {
			t.Errorf("OnHost(%s) = %s, %v, want the link refused", name, p.Path(), err)
		}
		link(t, "/etc", filepath.Join(home, "image", name))
		someoneElse(t, filepath.Join(home, "image", name))
		if p, err := InImage(openRoot(t, filepath.Join(home, "image")), name); !isForeign(err) {
			t.Errorf("InImage(%s) = %s, %v, want the link refused", name, p.Path(), err)
		}
	}
}

func isForeign(err error) bool {
	_, ok := errors.AsType[*ForeignLinkError](err)
	return ok
}

func openRoot(t *testing.T, dir string) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root
}
