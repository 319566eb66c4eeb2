package push

import (
	"bytes"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The commits of a scratch repository. They are the same in every run, so that a corpus
// can name them. commitB follows commitA; commitC has another history.
const (
	commitA = "51795900e899aa75f9e474c68e4a6f03d4e92ff9"
	commitB = "f4fa2edb8f6f243c96769909b984e795992e9e9e"
	commitC = "2b71b07a44f26c677323d0ae965ab6e3403c1116"
)

// emptyPack is a pack without objects, for pushes of commits that the server has.
const emptyPack = "PACK\x00\x00\x00\x02\x00\x00\x00\x00\x02\x9d\x08\x82\x3b\xd8\xa8\xea\xb5\x10\xad\x6a\xc7\x5c\x82\x3c\xfd\x3e\xd3\x1e"

// A scratch is a bare repository served by git's own receive-pack. Its branches main
// and agent/x, and its tag v1, are at commitA.
type scratch struct {
	dir    string
	packed []byte // packed-refs as first written
}

func newScratch(t testing.TB) *scratch { return newScratchOf(t, "sha1") }

func newScratchOf(t testing.TB, format string) *scratch {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("missing: git")
	}
	s := &scratch{dir: filepath.Join(t.TempDir(), "scratch.git")}
	s.git(t, "", "init", "-q", "--bare", "--object-format="+format, s.dir)
	tree := s.git(t, "", "hash-object", "-w", "-t", "tree", "--stdin")
	a := s.git(t, "a\n", "commit-tree", tree)
	s.git(t, "b\n", "commit-tree", tree, "-p", a)
	s.git(t, "c\n", "commit-tree", tree)
	s.packed = []byte(a + " refs/heads/agent/x\n" + a + " refs/heads/main\n" + a + " refs/tags/v1\n")
	s.configure(t)
	s.reset(t)
	return s
}

// configure adds settings that the tests are not about.
func (s *scratch) configure(t testing.TB) {
	t.Helper()
	file, err := os.OpenFile(filepath.Join(s.dir, "config"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	_, err = file.WriteString("[receive]\nautogc = false\ndenyDeletes = false\nadvertisePushOptions = true\n[gc]\nauto = 0\n[core]\nlogAllRefUpdates = false\nfsync = none\n")
	if err != nil {
		t.Fatal(err)
	}
}

// gitEnv returns an environment in which git reads no configuration of this machine.
func gitEnv() []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0", "LC_ALL=C",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_AUTHOR_DATE=1700000000 +0000",
		"GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com", "GIT_COMMITTER_DATE=1700000000 +0000",
	}
}

func (s *scratch) git(t testing.TB, stdin string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	if args[0] != "init" {
		cmd.Dir = s.dir
	}
	cmd.Env, cmd.Stdin = gitEnv(), strings.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git %q: %v: %s", args, err, stderr.Bytes())
	}
	return strings.TrimSpace(string(out))
}

// receive gives body to git's own server, with the repository in its first state. It
// returns the answer, and the refs that moved with their new objects.
func (s *scratch) receive(t testing.TB, body []byte) (answer []byte, moved map[string]string) {
	t.Helper()
	s.reset(t)
	before := s.refs(t)
	cmd := exec.Command("git", "receive-pack", "--stateless-rpc", s.dir)
	cmd.Env, cmd.Stdin = gitEnv(), bytes.NewReader(body)
	answer, _ = cmd.Output() // it fails for most inputs
	moved = map[string]string{}
	after := s.refs(t)
	for ref, oid := range after {
		if before[ref] != oid {
			moved[ref] = oid
		}
	}
	for ref := range before {
		if after[ref] == "" {
			moved[ref] = zero
		}
	}
	return answer, moved
}

func (s *scratch) reset(t testing.TB) {
	t.Helper()
	for _, at := range []string{"refs", "shallow"} {
		if err := os.RemoveAll(filepath.Join(s.dir, at)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(s.dir, "refs", "heads"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.dir, "packed-refs"), s.packed, 0o600); err != nil {
		t.Fatal(err)
	}
}

// refs reads the refs from their files, because another process would take most of the
// time.
func (s *scratch) refs(t testing.TB) map[string]string {
	t.Helper()
	all := map[string]string{}
	packed, err := os.ReadFile(filepath.Join(s.dir, "packed-refs"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(packed)) {
		if oid, ref, ok := strings.Cut(strings.TrimSpace(line), " "); ok && isOID(oid) {
			all[ref] = oid
		}
	}
	err = filepath.WalkDir(filepath.Join(s.dir, "refs"), func(at string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(at)
		ref, _ := filepath.Rel(s.dir, at)
		all[ref] = strings.TrimSpace(string(content))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// sorted returns the refs that moved, in order.
func sorted(moved map[string]string) []string { return slices.Sorted(maps.Keys(moved)) }

func TestTheCommitsOfAScratchRepository(t *testing.T) {
	s := newScratch(t)
	tree := s.git(t, "", "hash-object", "-t", "tree", "--stdin")
	a := s.git(t, "a\n", "commit-tree", tree)
	got := []string{a, s.git(t, "b\n", "commit-tree", tree, "-p", a), s.git(t, "c\n", "commit-tree", tree)}
	if want := []string{commitA, commitB, commitC}; !slices.Equal(got, want) {
		t.Errorf("the commits are %q, want %q", got, want)
	}
}
