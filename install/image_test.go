package install

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestDerivedSystemFile(t *testing.T) {
	for git, want := range map[string]string{
		"/usr/bin/git":                       "/etc/gitconfig",
		"/bin/git":                           "/etc/gitconfig",
		"/usr/local/bin/git":                 "/usr/local/etc/gitconfig",
		"/opt/conda/bin/git":                 "/opt/conda/etc/gitconfig",
		"/home/linuxbrew/.linuxbrew/bin/git": "/home/linuxbrew/.linuxbrew/etc/gitconfig",
	} {
		if got := derivedSystemFile(git); got != want {
			t.Errorf("derivedSystemFile(%s) = %s, want %s", git, got, want)
		}
	}
}

func TestFindImageGits(t *testing.T) {
	root := t.TempDir()
	for name, mode := range map[string]os.FileMode{
		"usr/bin/git":        0o755,
		"opt/conda/bin/git":  0o755,
		"opt/broken/bin/git": 0o644,
	} {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	local := filepath.Join(root, "usr/local/bin")
	if err := os.MkdirAll(local, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../../bin/git", filepath.Join(local, "git")); err != nil {
		t.Fatal(err)
	}
	// An image may have its folders elsewhere. The link leads to a folder of the image.
	if err := os.Rename(filepath.Join(root, "opt"), filepath.Join(root, "data")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/data", filepath.Join(root, "opt")); err != nil {
		t.Fatal(err)
	}
	pl := &tree{image: openRoot(t, root)}
	if got, want := pl.findImageGits(), []string{"/opt/conda/bin/git"}; !slices.Equal(got, want) {
		t.Errorf("findImageGits() = %v, want %v", got, want)
	}
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
