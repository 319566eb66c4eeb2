package hooks

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/hooks/refs"
)

var oidA, oidB = strings.Repeat("a", 40), strings.Repeat("b", 40)

// git runs git in the current directory and returns its output.
func git(t testing.TB, stdin string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git %q: %v", args, err)
	}
	return strings.TrimSpace(string(out))
}

// emptyRepository makes the current directory a repository of its own.
func emptyRepository(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed")
	}
	t.Chdir(t.TempDir())
	t.Setenv("GIT_CONFIG_NOSYSTEM", "1")
	t.Setenv("GIT_CONFIG_GLOBAL", "/dev/null")
	for _, who := range []string{"AUTHOR", "COMMITTER"} {
		t.Setenv("GIT_"+who+"_NAME", "Test")
		t.Setenv("GIT_"+who+"_EMAIL", "test@example.com")
	}
	git(t, "", "init", "-q")
}

// commit makes an empty commit with the given parents.
func commit(t *testing.T, tree, message string, parents ...string) string {
	t.Helper()
	args := []string{"commit-tree", "-m", message, tree}
	for _, p := range parents {
		args = append(args, "-p", p)
	}
	return git(t, "", args...)
}

// related calls GitAncestry, which has to answer everything.
func related(ctx context.Context, t *testing.T, changes ...refs.Change) []refs.Relation {
	t.Helper()
	relations := GitAncestry(ctx, changes)
	if len(relations) != len(changes) {
		t.Fatalf("GitAncestry answers %d of %d questions", len(relations), len(changes))
	}
	return relations
}

func TestGitAncestry(t *testing.T) {
	emptyRepository(t)
	tree := git(t, "", "mktree")
	a := commit(t, tree, "a")
	b := commit(t, tree, "b", a)
	c := commit(t, tree, "c", b)
	side := commit(t, tree, "side", a)
	merge := commit(t, tree, "merge", side, c)
	git(t, "", "tag", "-a", "-m", "tag", "annotated", c)
	tag := git(t, "", "rev-parse", "refs/tags/annotated")
	absent := strings.Repeat("1", 40)

	cases := []struct {
		name     string
		old, new string
		ff       bool
		unknown  bool
	}{
		{"the next commit", a, b, true, false},
		{"two on", a, c, true, false},
		{"back", c, a, false, false},
		{"sideways", side, c, false, false},
		{"a merge of the first parent", side, merge, true, false},
		{"a merge of the second parent", b, merge, true, false},
		{"to a tag of a later commit", a, tag, true, false},
		{"from a tag of a later commit", tag, a, false, false},
		{"from what is not here", absent, c, false, true},
		{"to a tree", a, tree, false, true},
		{"the same change again", a, b, true, false},
	}
	check := func(t *testing.T, from, to int) {
		var changes []refs.Change
		for _, c := range cases[from:to] {
			changes = append(changes, refs.Change{Old: c.old, New: c.new})
		}
		for i, got := range related(t.Context(), t, changes...) {
			c := cases[from+i]
			if got.FastForward != c.ff || (got.Unknown != "") != c.unknown {
				t.Errorf("%s = %+v, want fast-forward %v, unknown %v", c.name, got, c.ff, c.unknown)
			}
		}
	}
	t.Run("one by one", func(t *testing.T) {
		for i := range cases {
			check(t, i, i+1)
		}
	})
	t.Run("all at once", func(t *testing.T) { check(t, 0, len(cases)) })
}

// Many fast-forwards need one git, not one each.
func TestWalkProvesManyFastForwards(t *testing.T) {
	emptyRepository(t)
	tree := git(t, "", "mktree")
	base := commit(t, tree, "base")
	var changes []refs.Change
	for i := range 20 {
		one := commit(t, tree, fmt.Sprint(i), base)
		changes = append(changes, refs.Change{Old: base, New: commit(t, tree, fmt.Sprint(i, "next"), one)})
	}
	proven := walk(t.Context(), changes)
	for _, c := range changes {
		if !proven[c] {
			t.Errorf("walk does not prove %v", c)
		}
	}
	back, across := refs.Change{Old: changes[1].New, New: base}, refs.Change{Old: changes[1].New, New: changes[2].New}
	proven = walk(t.Context(), []refs.Change{back, across})
	if proven[back] || proven[across] {
		t.Errorf("walk proves %v, want neither the way back nor across", proven)
	}
}

// The remote has no replacement objects and no grafts: with them, going back can look
// like a fast-forward.
func TestAncestryIsWhatTheRemoteSees(t *testing.T) {
	emptyRepository(t)
	tree := git(t, "", "mktree")
	base := commit(t, tree, "base")
	ours, theirs := commit(t, tree, "ours", base), commit(t, tree, "theirs", base)
	replaced, grafted := refs.Change{Old: theirs, New: ours}, refs.Change{Old: ours, New: base}
	git(t, "", "replace", "--graft", ours, theirs)
	if err := os.WriteFile(".git/info/grafts", []byte(base+" "+ours+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, got := range related(t.Context(), t, replaced, grafted) {
		if got != (refs.Relation{}) {
			t.Errorf("GitAncestry = %+v, want no fast-forward", got)
		}
	}
}

func TestWithoutGitEveryChangeIsForced(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for _, got := range related(t.Context(), t, refs.Change{Old: oidB, New: oidA}) {
		if got.FastForward || !strings.Contains(got.Unknown, "git could not be run") {
			t.Errorf("GitAncestry without git = %+v, want it unknown, and why", got)
		}
	}
}

func TestAncestryIsBounded(t *testing.T) {
	emptyRepository(t)
	ctx, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	start := time.Now()
	changes := make([]refs.Change, 1000)
	for i := range changes {
		changes[i] = refs.Change{Old: oidA, New: fmt.Sprintf("%040x", i+1)}
	}
	for _, got := range related(ctx, t, changes...) {
		if got.FastForward || !strings.Contains(got.Unknown, "git did not answer in time") {
			t.Fatalf("GitAncestry without time = %+v, want unknown", got)
		}
	}
	if took := time.Since(start); took > 30*time.Second {
		t.Errorf("GitAncestry without time took %v", took)
	}
}

// git's own for-each-ref matches with the same rules if ** is a whole part and names
// are ASCII: its ? is one byte.
func TestPatternsAgreeWithGit(t *testing.T) {
	emptyRepository(t)
	tree := git(t, "", "mktree")
	oid := commit(t, tree, "a")
	var create strings.Builder
	names := strings.Fields("a b ab a.b c/a c/b c/ab d/a/b d/x/a/b d/x/y/b e/b/b/a v1 v12 release/1 release/1.2 release-2/x")
	for _, name := range names {
		fmt.Fprintf(&create, "create refs/heads/%s %s\n", name, oid)
	}
	git(t, create.String(), "update-ref", "--stdin")
	for _, text := range []string{"*", "**", "a*", "*b", "?", "??", "v?", "c/*", "*/a", "**/a", "**/b", "**/*b", "d/**", "d/**/b", "d/*/b", "d/*/*/b", "release*/*", "release/?", "**/a/**", "*/*", "**/*/*", "e/**/b/**", "*.?"} {
		policy, err := refs.Compile([]refs.Entry{{Ref: text}})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, name := range names {
			if policy.Matching("refs/heads/"+name) != nil {
				got = append(got, name)
			}
		}
		want := strings.Fields(git(t, "", "for-each-ref", "--format=%(refname:lstrip=2)", policy.Rules()[0].Full))
		if !sameSet(got, want) {
			t.Errorf("%q matches %q, git says %q", text, got, want)
		}
	}
}

func sameSet(a, b []string) bool {
	seen := map[string]int{}
	for _, s := range a {
		seen[s]++
	}
	for _, s := range b {
		seen[s]--
	}
	for _, n := range seen {
		if n != 0 {
			return false
		}
	}
	return true
}
