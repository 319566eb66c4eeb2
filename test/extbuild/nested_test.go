package extbuild

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// module is one whose program prints a word.
func module(t *testing.T, word string) Module {
	t.Helper()
	m := Module{Dir: filepath.Join(t.TempDir(), "speaker")}
	if err := os.Mkdir(m.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	m.write(t, "go.mod", "module speaker\n\ngo 1.26\n")
	m.write(t, "main.go", "package main\n\nfunc main() { println("+word+") }\n")
	return m
}

func (m Module) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(m.Dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (m Module) entry(t *testing.T, cache string) string {
	t.Helper()
	entry, err := m.Entry(cache)
	if err != nil {
		t.Fatal(err)
	}
	return entry
}

// What is built is there whole, once, and what was left behind is gone.
func TestBuild(t *testing.T) {
	m, cache := module(t, `"hello"`), t.TempDir()
	entry := m.entry(t, cache)
	old, young := entry+".partial-1", entry+".partial-2"
	for _, dir := range []string{old, young} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	ago := time.Now().Add(-2 * stale)
	if err := os.Chtimes(old, ago, ago); err != nil {
		t.Fatal(err)
	}
	if err := m.Build(t.Context(), cache, "-s -w", map[string]string{"speak": "."}); err != nil {
		t.Fatal(err)
	}
	if said, err := exec.CommandContext(t.Context(), filepath.Join(entry, "speak")).CombinedOutput(); err != nil || string(said) != "hello\n" {
		t.Errorf("the program says %q, %v, want hello", said, err)
	}
	if left, _ := filepath.Glob(filepath.Join(cache, "*")); len(left) != 2 || left[1] != young {
		t.Errorf("the cache has %q, want the entry and what another run may be building", left)
	}
	if err := os.Remove(filepath.Join(entry, "speak")); err != nil {
		t.Fatal(err)
	}
	if err := m.Build(t.Context(), cache, "", nil); err != nil {
		t.Errorf("Build of what is there = %v", err)
	}
}

// A build that fails says why in a line, and leaves nothing.
func TestBuildFails(t *testing.T) {
	m, cache := module(t, "nothing"), t.TempDir()
	err := m.Build(t.Context(), cache, "", map[string]string{"speak": "."})
	if err == nil || !strings.Contains(err.Error(), "build speak: ") || !strings.Contains(err.Error(), "undefined: nothing") || strings.Contains(err.Error(), "\n") {
		t.Errorf("Build = %v, want one line with what the compiler says", err)
	}
	if left, _ := filepath.Glob(filepath.Join(cache, "*")); len(left) != 0 {
		t.Errorf("the cache has %q, want nothing", left)
	}
}

func TestEntryFollowsTheModule(t *testing.T) {
	m := module(t, `"a"`)
	first := m.entry(t, "/cache")
	if again := m.entry(t, "/cache"); again != first || !strings.HasPrefix(first, "/cache/speaker-go") {
		t.Errorf("Entry of the same module = %s and %s, want one below the cache", first, again)
	}
	m.write(t, "main.go", "package main\n")
	if other := m.entry(t, "/cache"); other == first {
		t.Errorf("Entry of a changed module = %s, want another one", other)
	}
}

// A changed comment had Vault built again, which takes four minutes.
func TestEntryIgnoresComments(t *testing.T) {
	m := module(t, `"a"`)
	const code = "package main\n\nfunc main() { println(1) }\n"
	m.write(t, "main.go", code)
	first := m.entry(t, "/cache")
	for name, c := range map[string]struct {
		code   string
		isSame bool
	}{
		"a comment":            {"// Command a says 1.\npackage main\n\n// main prints.\nfunc main() { println(1) /* one */ } // done\n", true},
		"another value":        {"package main\n\nfunc main() { println(2) }\n", false},
		"a comment in a text":  {"package main\n\nfunc main() { println(\"//1\") }\n", false},
		"a build constraint":   {"//go:build linux\n\npackage main\n\nfunc main() { println(1) }\n", false},
		"a directive":          {"package main\n\n//go:noinline\nfunc main() { println(1) }\n", false},
		"a commented-out call": {"package main\n\nfunc main() { /* println(1) */ }\n", false},
	} {
		m.write(t, "main.go", c.code)
		if isSame := m.entry(t, "/cache") == first; isSame != c.isSame {
			t.Errorf("%s: the same entry: %v, want %v", name, isSame, c.isSame)
		}
	}
	m.write(t, "main.go", code)
	m.write(t, "go.mod", "module speaker\n\ngo 1.25\n")
	if m.entry(t, "/cache") == first {
		t.Error("another go.mod has the same entry")
	}
}

func TestVersion(t *testing.T) {
	m := module(t, `"a"`)
	m.write(t, "go.mod", "module x\n\nrequire github.com/a/b v1.2.3\n\nrequire (\n\tgithub.com/hashicorp/vault/sdk v0.8.1\n\tgithub.com/hashicorp/vault v1.13.0 // indirect\n)\n")
	for module, want := range map[string]string{
		"github.com/hashicorp/vault": "1.13.0",
		"github.com/a/b":             "1.2.3",
		"github.com/a":               "",
	} {
		if got, err := m.Version(module); err != nil || got != want {
			t.Errorf("Version(%s) = %q, %v, want %q", module, got, err, want)
		}
	}
	if got, err := (Module{Dir: t.TempDir()}).Version("x"); err == nil {
		t.Errorf("Version of an empty folder = %q, want an error", got)
	}
}
