//go:build unix

package install

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/gatepass/gatepass/install/place"

	"github.com/gatepass/gatepass/hooks"
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

// The root of an image may not be another user's link.
func TestAnotherUsersLinkIsNoRootOfAnImage(t *testing.T) {
	home := t.TempDir()
	link(t, "/", filepath.Join(home, "rootfs"))
	someoneElse(t, home, filepath.Join(home, "rootfs"))
	_, err := new(tree).openImage(filepath.Join(home, "rootfs"))
	if _, isForeign := errors.AsType[*place.ForeignLinkError](err); !isForeign {
		t.Errorf("openImage = %v, want the link refused", err)
	}
}

// Another user may add a link to the path after the plan was made. Each step that
// writes or deletes has to notice.
func TestALinkThatComesLaterIsNotFollowed(t *testing.T) {
	home, outside := t.TempDir(), t.TempDir()
	put(t, filepath.Join(outside, "f"), "theirs", 0o644)
	if err := os.Mkdir(filepath.Join(home, "way"), 0o755); err != nil {
		t.Fatal(err)
	}
	host, err := place.OnHost(filepath.Join(home, "way/f"))
	if err != nil {
		t.Fatal(err)
	}
	host = place.Place{Root: openRoot(t, home), Name: "way/f", Shown: host.Shown} // as below a directory of another user
	if err := os.Remove(filepath.Join(home, "way")); err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{outside, "inside"} { // os.Root itself follows links that stay inside
		put(t, filepath.Join(home, "inside/f"), "theirs", 0o644)
		link(t, target, filepath.Join(home, "way"))
		var u rollback
		steps := map[string]func() error{
			"prepare": func() error { return FileChange{Change: edit, place: host, old: []byte("theirs")}.prepare(&u) },
			"commit":  FileChange{Change: remove, place: host}.commit,
			"write":   func() error { return Shims{Create: []string{"f"}, place: host.Parent()}.write(&u) },
			"clear":   Shims{Remove: []string{"f"}, place: host.Parent()}.clear,
			"copy":    func() error { return Copy{Change: create, place: host, text: []byte("ours")}.prepare(time.Now(), &u) },
			"place":   Copy{Change: replace, place: host}.commit,
			"remove":  Copy{Change: remove, place: host}.commit,
			"make":    func() error { return host.MakeDirs(u.add) },
		}
		for name, step := range steps {
			if err := step(); !errors.Is(err, place.ErrChanged) {
				t.Errorf("%s through a link to %s = %v, want it refused", name, target, err)
			}
		}
		host.RemoveIfEmpty()
		for _, file := range []string{filepath.Join(outside, "f"), filepath.Join(home, "inside/f")} {
			if text, err := os.ReadFile(file); err != nil || string(text) != "theirs" {
				t.Errorf("%s = %q, %v, want it as it was", file, text, err)
			}
		}
		if err := os.Remove(filepath.Join(home, "way")); err != nil {
			t.Fatal(err)
		}
	}
}

// If a link has taken the place of a file, it is replaced or refused, and its target is
// left alone.
func TestALinkInPlaceOfAFileIsNotWrittenThrough(t *testing.T) {
	home := t.TempDir()
	put(t, filepath.Join(home, "theirs"), "theirs", 0o644)
	link(t, "theirs", filepath.Join(home, "f"))
	link(t, "none", filepath.Join(home, "dangling"))
	for _, name := range []string{"f", "dangling"} {
		p := place.Place{Root: openRoot(t, home), Name: name, Shown: name}
		var u rollback
		if err := (FileChange{Change: edit, place: p, old: []byte("theirs"), new: []byte("ours")}).prepare(&u); err == nil {
			t.Errorf("prepare(%s) = nil, want the link refused", name)
		}
		u.run()
		if err := writeProgram(p, program{text: "ours"}); err != nil {
			t.Error(err)
		}
		if info, err := os.Lstat(filepath.Join(home, name)); err != nil || !info.Mode().IsRegular() {
			t.Errorf("%s is %v, %v, want a file of our own", name, info, err)
		}
	}
	if text, err := os.ReadFile(filepath.Join(home, "theirs")); err != nil || string(text) != "theirs" {
		t.Errorf("what the link led to = %q, %v, want it as it was", text, err)
	}
	if _, err := os.Lstat(filepath.Join(home, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the target of the dangling link: %v, want none", err)
	}
}

// A directory may be in the receipt and in git's configuration. If it stays, one note names
// it.
func TestAKeptDirectoryIsNotedOnce(t *testing.T) {
	home := t.TempDir()
	way := filepath.Join(home, "share/gatepass")
	put(t, filepath.Join(way, "hooks/theirs"), "", 0o644)
	var l layout
	end, err := l.placeOf(filepath.Join(way, "hooks"))
	if err != nil {
		t.Fatal(err)
	}
	p := Plan{noted: []string{way}}
	p.removeWay(&l, way, end)
	p.removeWay(&l, way, end)
	p.removeDirectories()
	if want := []string{way + " is kept: it has files of others"}; !slices.Equal(p.Notes, want) {
		t.Errorf("Notes = %q, want %q", p.Notes, want)
	}
}

// A file that another user writes must not make root delete what belongs to a third:
// not the system's shims, not an empty directory.
func TestAnotherUsersConfigurationNamesNothingOfOthers(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("missing: git")
	}
	home, system := t.TempDir(), filepath.Join(t.TempDir(), "gatepass/hooks")
	put(t, filepath.Join(system, "pre-push"), hooks.Shim{Guard: "/usr/bin/gatepass-pre-push", Event: "pre-push"}.Text(), 0o755)
	config := filepath.Join(home, ".gitconfig")
	put(t, config, "[core]\n\thooksPath = "+system+"\n[gatepass]\n\tmadeDirectory = "+filepath.Dir(system)+"\n", 0o644)
	env := map[string]string{"HOME": home, "PATH": os.Getenv("PATH")}
	o := Options{Getenv: func(name string) string { return env[name] }}
	plan, err := Removal(t.Context(), o)
	if err != nil || len(plan.Hooks) != 1 {
		t.Fatalf("Removal of one's own = %+v, %v, want the shims removed", plan, err)
	}
	someoneElse(t, home, config)
	plan, err = Removal(t.Context(), o)
	if err != nil || len(plan.Hooks)+len(plan.Directories) != 0 {
		t.Errorf("Removal of another user's = %+v, %v, want the shims left alone", plan, err)
	}
}

// Git appends to each file that trace2.* in the user's configuration names. That user
// may not be the one who runs the command, root, and a plan writes nothing at all.
func TestAPlanWritesNoTrace(t *testing.T) {
	home := t.TempDir()
	trace := filepath.Join(home, "trace")
	put(t, filepath.Join(home, ".gitconfig"), "[trace2]\n\tnormalTarget = "+trace+"\n\teventTarget = "+trace+"\n\tperfTarget = "+trace+"\n", 0o644)
	env := map[string]string{"HOME": home, "PATH": os.Getenv("PATH")}
	for _, plan := range []func(context.Context, Options) (*Plan, error){New, Removal} {
		for _, scope := range []Scope{Global, System} {
			o := Options{Scope: scope, PolicyLater: true, Guard: GuardNone, BinDir: t.TempDir(), Getenv: func(name string) string { return env[name] }}
			put(t, filepath.Join(o.BinDir, helperName), "", 0o755)
			if _, err := plan(t.Context(), o); err != nil {
				t.Fatal(err)
			}
		}
	}
	if text, err := os.ReadFile(trace); err == nil {
		t.Errorf("git wrote a trace: %s", text)
	}
}
