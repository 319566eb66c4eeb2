package hooks

import (
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"
)

func TestMirrorIsSeenInTheArguments(t *testing.T) {
	for command, want := range map[string]bool{
		"git push --mirror":                                   true,
		"git push --mir origin":                               true,
		"git push --m":                                        true,
		"/usr/bin/git push origin --mirror":                   true,
		"/usr/lib/git-core/git-push --mirror":                 true,
		"git -C dir -c a.b=c --no-pager push --mirror":        true,
		"git --git-dir x --work-tree=push push --mirr":        true,
		"git --config-env a.b=C push --mirror":                true,
		"git push --no-mirror --mirror origin":                true,
		"git --namespace a --work-tree b push --mirror":       true,
		"git --super-prefix a --shallow-file b push --mirror": true,
		"git --attr-source HEAD -p push --mirror":             true,
		"/usr/bin/git.real push --mirror":                     true,
		"/nix/bin/.git-wrapped push --mirror":                 true,
		"git.real clone --mirror":                             false,
		"git push origin main":                                false,
		"git push -- origin":                                  false,
		"git push --no-mirror origin":                         false,
		"git push -m":                                         false,
		"git push --mirrors":                                  false,
		"git push --":                                         false,
		"git push origin mirror":                              false,
		"git -C --mirror push":                                false,
		"git clone --mirror":                                  false,
		"git remote add --mirror=push x y":                    false,
		"git":                                                 false,
		"git -c":                                              false,
		"sh -c git push --mirror":                             false,
		"git-lfs push --mirror":                               false,
	} {
		args, ok := process{argv: strings.Fields(command)}.pushArguments()
		if got := ok && asksForMirror(args); got != want {
			t.Errorf("%s: mirror = %v, want %v", command, got, want)
		}
	}
}

func TestTheNearestPushDecides(t *testing.T) {
	above := []process{
		{10, []string{"sh", "hook"}},
		{9, []string{"git", "push", "origin"}},
		{8, []string{"sh"}},
		{7, []string{"git", "push", "--mirror"}},
	}
	if args, ok := pusher(above); !ok || asksForMirror(args) {
		t.Errorf("pusher = %q, %v, want the inner push", args, ok)
	}
	if got := nearestGit(above, 10); got != 9 {
		t.Errorf("nearestGit = %d, want 9", got)
	}
	if got := nearestGit(nil, 10); got != 10 {
		t.Errorf("nearestGit of nothing = %d, want the parent", got)
	}
	if args, ok := pusher([]process{{1, nil}}); ok {
		t.Errorf("pusher of a kernel thread = %q, want none", args)
	}
}

func TestAncestorsAreSeen(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux shows them")
	}
	above := ancestors()
	if len(above) == 0 || above[0].pid != os.Getppid() || len(above[0].argv) == 0 {
		t.Errorf("ancestors = %v, want the parent %d first", above, os.Getppid())
	}
}

func TestMark(t *testing.T) {
	m := mark{"pre-push", 10, 11, 2}
	if got := readMark(m.String()); got != m {
		t.Errorf("readMark(%q) = %v, want %v", m, got, m)
	}
	for _, s := range []string{"", "x", "pre-push 1", "pre-push a b c"} {
		if got := readMark(s); got != (mark{}) {
			t.Errorf("readMark(%q) = %v, want none", s, got)
		}
	}
	if !m.covers("pre-push", 10, 99) || !m.covers("pre-push", 99, 11) || m.covers("pre-push", 99, 99) || m.covers("pre-commit", 10, 11) {
		t.Errorf("%v covers the wrong calls", m)
	}
}

// A push that mirrors is refused, whether its arguments or the remote's configuration
// ask for it.
func TestMirrors(t *testing.T) {
	plain := []process{{10, []string{"sh"}}, {9, []string{"git", "push", "origin", "main"}}}
	mirror := []process{{10, []string{"sh"}}, {9, []string{"git", "push", "--mirror", "origin"}}}
	for _, c := range []struct {
		name    string
		above   []process
		mirrors []string
		want    string // part of the advice; "" if it may continue
	}{
		{"a plain push", plain, nil, ""},
		{"a plain push beside a mirror", plain, []string{"backup"}, ""},
		{"a push that says so", mirror, nil, "without --mirror"},
		{"a push to a remote that says so", plain, []string{"backup", "origin"}, "unset remote.origin.mirror"},
		{"a hidden push, to a remote whose configuration says so", nil, []string{"origin"}, "unset remote.origin.mirror"},
	} {
		r := &Repository{above: c.above, settings: settings{mirrors: c.mirrors}}
		err := r.Mirrors("origin")
		if (err == nil) != (c.want == "") || err != nil && (!errors.Is(err, ErrMirror) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: Mirrors(origin) = %v, want %q", c.name, err, c.want)
		}
	}
}
