package install

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/config"
	"github.com/gatepass/gatepass/hooks"
	"github.com/gatepass/gatepass/internal/shell"
)

// testGit returns this machine's git.
func testGit(t testing.TB) git {
	path, err := exec.LookPath("git")
	if err != nil {
		t.Skip("git is not on PATH")
	}
	return git{path: path, getenv: func(string) string { return "" }}
}

func never(string) bool { return false }

func TestRemovalRestoresEveryByte(t *testing.T) {
	if testing.Short() {
		t.Skip("runs git many times")
	}
	g := testGit(t)
	b := wantedBlock{
		hosts: []string{"github.com", "ghe.example.com:8443"}, proactive: []string{"https://github.com/acme", "https://github.com/Globex/api.git"},
		helper: "/opt/a b/git-credential-gatepass", guard: "/opt/a b/gatepass-pre-push", kind: GuardBoth, hooksDir: "/hooks", chain: "~/mine",
	}.block()
	ourDir := func(dir string) bool { return dir == "/hooks" }
	for name, content := range map[string]string{
		"empty":                   "",
		"ordinary":                "[user]\n\tname = x\n",
		"no line break at end":    "[user]\n\tname = x",
		"blank lines at end":      "[user]\n\tname = x\n\n\n",
		"windows lines":           "[user]\r\n\tname = x\r\n",
		"a comment last":          "[user]\n\tname = x\n# the end",
		"our host is there":       "[credential \"https://github.com\"]\n\thelper =\n\thelper = store\n\tuseHttpPath = true\n",
		"our host is there, bare": "[credential \"https://github.com\"]\n",
		"core without anything":   "[core]\n",
		"core with hooksPath":     "[core]\n\thooksPath = ~/mine\n\teditor = ed\n",
		"odd spelling":            "[CORE] HooksPath=/x\n[Credential \"https://GitHub.com\"]helper=/y\n",
		"byte order mark":         "\xef\xbb\xbf[user]\n\tname = x\n",
	} {
		t.Run(name, func(t *testing.T) {
			want := b
			if unterminated([]byte(content)) {
				want = append(slices.Clip(b[:len(b)-1]), append(slices.Clip(b[len(b)-1]), setting{key: beforeKey, value: beforeUnterminated}))
			}
			added, err := g.add(t.Context(), []byte(content), want)
			if err != nil {
				t.Fatal(err)
			}
			got, _, err := g.remove(t.Context(), added, ourDir)
			if err != nil || string(got) != content {
				t.Errorf("remove(add(%q)) = %q, %v", content, got, err)
			}
			later := string(added) + "[later]\n\ta = b\n"
			got, _, err = g.remove(t.Context(), []byte(later), ourDir)
			if err != nil || strings.Contains(string(got), "gatepass") || !strings.HasPrefix(string(got), content) {
				t.Errorf("remove with a later section = %q, %v", got, err)
			}
		})
	}
}

// Dotfiles and templates often begin as a file of only comments.
func TestAdditionToAFileWithoutSettings(t *testing.T) {
	g := testGit(t)
	added := []setting{{key: "user.name", value: "x"}}
	for _, base := range []string{"# comments\n", "[user]\n", "\n"} {
		text, err := g.add(t.Context(), []byte(base), block{added})
		if err != nil {
			t.Fatal(err)
		}
		if err := (&planner{git: g}).check(t.Context(), []byte(base), text, added); err != nil {
			t.Errorf("check(%q, %q) = %v, want nil", base, text, err)
		}
	}
}

func TestRemovalOfEditedSections(t *testing.T) {
	g := testGit(t)
	for _, tt := range []struct{ name, content, want string }{
		{
			"a key was added", "[credential \"https://github.com\"]\n\thelper = \n\thelper = /b/git-credential-gatepass\n\tuseHttpPath = true\n\tusername = me\n",
			"[credential \"https://github.com\"]\n\tusername = me\n",
		},
		{"written by hand", "[credential \"https://github.com\"]\n  helper = /b/git-credential-gatepass # ours\n", ""},
		{"the hook disabled", "[hook \"gatepass\"]\n\tenabled = false\n\tevent = pre-push\n\tcommand = x\n[a]\n\tb = c\n", "[a]\n\tb = c\n"},
		{"twice", "[credential \"https://github.com\"]\n\thelper = \n\thelper = /b/git-credential-gatepass\n\tuseHttpPath = true\n" +
			"[credential \"https://github.com\"]\n\thelper = \n\thelper = /b/git-credential-gatepass\n\tuseHttpPath = true\n", ""},
		{
			"of others", "[credential \"https://github.com\"]\n\thelper = /b/git-credential-other\n[hook \"gatepass2\"]\n\tcommand = x\n",
			"[credential \"https://github.com\"]\n\thelper = /b/git-credential-other\n[hook \"gatepass2\"]\n\tcommand = x\n",
		},
	} {
		got, _, err := g.remove(t.Context(), []byte(tt.content), never)
		if err != nil || string(got) != tt.want {
			t.Errorf("%s: remove = %q, %v, want %q", tt.name, got, err, tt.want)
		}
	}
}

func TestChoice(t *testing.T) {
	for _, tt := range []struct {
		gits []string
		want Guard
	}{
		{[]string{"git version 2.39.5"}, GuardHooksPath},
		{[]string{"git version 2.53.9 (Apple Git-154)"}, GuardHooksPath},
		{[]string{"git version 2.54.0.windows.1"}, GuardHook},
		{[]string{"git version 2.55.GIT"}, GuardHook},
		{[]string{"git version 3.0"}, GuardHook},
		{[]string{"git version 2.55.0", "git version 2.39.5"}, GuardBoth},
		{[]string{"git version 2.55.0", "not git at all"}, GuardBoth},
		{nil, GuardBoth},
	} {
		var versions []version
		for _, g := range tt.gits {
			versions = append(versions, parseVersion(g))
		}
		if got := chooseByVersions(versions, "").Kind; got != tt.want {
			t.Errorf("decide(%q) = %s, want %s", tt.gits, got, tt.want)
		}
	}
}

func TestPackageVersion(t *testing.T) {
	const dpkg = "Package: git-lfs\nVersion: 3.0\n\nPackage: git\nStatus: ok\nVersion: 1:2.47.3-0+deb13u1\n\nPackage: zlib\nVersion: 9.9\n"
	const apk = "C:Q1\nP:git-init-template\nV:2.60.1-r0\n\nC:Q2\nP:git\nV:2.52.0-r0\nA:x86_64\n"
	for _, tt := range []struct {
		db, name, key string
		want          version
	}{
		{dpkg, "Package: git", "Version: ", version{2, 47}},
		{apk, "P:git", "V:", version{2, 52}},
		{strings.TrimSuffix("P:git\nV:2.52.0-r0\n", "\n"), "P:git", "V:", version{2, 52}},
		{"Package: bash\nVersion: 5.2\n", "Package: git", "Version: ", version{}},
		{"", "P:git", "V:", version{}},
	} {
		if got := packageVersion([]byte(tt.db), tt.name, tt.key); got != tt.want {
			t.Errorf("packageVersion(%q) = %v, want %v", tt.db, got, tt.want)
		}
	}
}

func TestCheckPath(t *testing.T) {
	for _, path := range []string{"/usr/local/bin", "/home/jo o'smith", "/é"} {
		if err := CheckPath(path); err != nil {
			t.Errorf("CheckPath(%q) = %v, want nil", path, err)
		}
	}
	for _, path := range []string{"", "bin", "/a\r", "/a\nb", "/a\x00", "/a\x7f", "/\tb"} {
		err := CheckPath(path)
		if err == nil || strings.ContainsAny(err.Error(), "\r\n\x00") {
			t.Errorf("CheckPath(%q) = %q, want an error on one line", path, err)
		}
	}
}

// The lines of one section may be the same as those of another, which is the user's.
// What git reads afterwards tells them apart.
func TestRemovalTakesTheRightSection(t *testing.T) {
	g := testGit(t)
	b := wantedBlock{hosts: []string{"github.com"}, proactive: []string{"https://github.com/acme"}, helper: "/usr/bin/git-credential-gatepass", kind: GuardNone}.block()
	added, err := g.add(t.Context(), nil, b)
	if err != nil {
		t.Fatal(err)
	}
	const theirs = "[http \"https://ghe.example.com\"]\n\tproactiveAuth = basic\n[credential \"https://ghe.example.com\"]\n\tuseHttpPath = true\n"
	edited := strings.Replace(string(added), "\tproactiveAuth = basic\n", "\tproactiveAuth = basic\n\tsslVerify = true\n", 1) + theirs
	got, _, err := g.remove(t.Context(), []byte(edited), never)
	if want := "[http \"https://github.com/acme\"]\n\tsslVerify = true\n" + theirs; err != nil || string(got) != want {
		t.Errorf("remove(%s) = %s, %v, want %s", edited, got, err, want)
	}
}

func FuzzCommandPath(f *testing.F) {
	for _, s := range []string{"/usr/bin/x", "/a b/c", "/it's", "/''", "/\\", "/$(x)`y`\"z"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if CheckPath("/"+s) != nil {
			return
		}
		if word, _, err := shell.FirstWord(commandPath("/"+s) + " get"); err != nil || word != "/"+s {
			t.Errorf("FirstWord(commandPath(%q)) = %q, %v", "/"+s, word, err)
		}
	})
}

// sh reads the paths that we write.
func TestQuotingBySh(t *testing.T) {
	for _, path := range []string{"/bin/x", "/a b/x", "/it's/x", "/a$b`c`\"d\"\\e/x", "/a;b&c|d<e>f(g)*?[h]~#!/x", "/ü/x"} {
		out, err := exec.Command("/bin/sh", "-c", `printf "%s|%s" `+commandPath(path)+" get").Output()
		if want := path + "|get"; err != nil || string(out) != want {
			t.Errorf("sh reads %s as %q, %v, want %q", commandPath(path), out, err, want)
		}
	}
}

// install replaces and removes only what it recognizes as its own: shims of this
// version and of others.
func TestIsShim(t *testing.T) {
	guard := "/it's/gatepass-pre-push"
	own := hooks.Shim{Guard: guard, Event: "update", Chain: "~a/b'c\nd"}.Text()
	for text, want := range map[string]bool{
		own:                       true,
		own + "# a later version": true,
		earlierShim + shell.Quote(guard) + " --hook update \"$@\"\n":       true,
		earlierShim + shell.Quote(guard) + " --hook update \"$@\"; rm x\n": false,
		hooks.Shim{Guard: "/bin/other", Event: "update"}.Text():            false,
		hooks.Shim{Guard: "gatepass-pre-push", Event: "update"}.Text():     false,
		strings.Replace(own, "guard='", "guard=';rm x;'", 1):               false,
		strings.Replace(own, "'\n", "' rm\n", 1):                           false,
		"":                                                                 false, "#!/bin/sh\n": false,
	} {
		if got := isShim("update", program{text: text}); got != want {
			t.Errorf("isShim(%q) = %t, want %t", text, got, want)
		}
	}
	for link, want := range map[string]bool{
		"/proc/self/cwd/hooks/proc-receive": true, "/foreign/proc-receive": true, "proc-receive": false, "/foreign/x": false,
	} {
		if got := isShim("proc-receive", program{link: link}); got != want || isShim("update", program{link: "/x/update"}) {
			t.Errorf("isShim of a link to %s = %t, want %t, and none of update", link, got, want)
		}
	}
	for link, want := range map[string]bool{guard: true, "gatepass-pre-push": false, "/bin/other": false} {
		if got := isShim("update", program{link: link}); got != want || isShim("other", program{link: link}) {
			t.Errorf("isShim of a link to %s = %t, want %t, and none of other", link, got, want)
		}
	}
}

func FuzzIsShim(f *testing.F) {
	f.Add("pre-push", hooks.Shim{Guard: "/usr/local/bin/gatepass-pre-push", Event: "pre-push"}.Text())
	f.Add("pre-push", earlierShim+"'/x/gatepass-pre-push' --hook pre-push \"$@\"; rm x\n")
	f.Fuzz(func(t *testing.T, hook, text string) {
		if isShim(hook, program{text: text}) && (!strings.HasPrefix(text, "#!/bin/sh\n") || !strings.Contains(text, "/gatepass-pre-push'")) {
			t.Errorf("isShim(%q, %q) = true", hook, text)
		}
	})
}

func FuzzPackageVersion(f *testing.F) {
	f.Add("P:git\nV:2.52.0-r0\n\nP:a\nV:1.0\n")
	f.Fuzz(func(t *testing.T, db string) {
		if v := packageVersion([]byte(db), "P:git", "V:"); v.known() && !strings.Contains(db, "P:git") {
			t.Errorf("packageVersion(%q) = %v", db, v)
		}
	})
}

// The file of an image may be long, and its lines may be secret: a difference needs no
// memory for each pair of lines, and shows only the lines that changed.
func TestLineDiffOfALongFile(t *testing.T) {
	middle := strings.Repeat("theirs\n", 100_000)
	got := lineDiff([]byte("ours\nfirst\n"+middle+"ours\nlast\n"), []byte("first\n"+middle+"last\nnew\n"))
	want := []hunk{
		{oldLine: 1, newLine: 1, removed: []string{"ours"}},
		{oldLine: 100_003, newLine: 100_002, removed: []string{"ours"}},
		{oldLine: 100_005, newLine: 100_003, added: []string{"new"}},
	}
	if !slices.EqualFunc(got, want, func(a, b hunk) bool {
		return a.oldLine == b.oldLine && a.newLine == b.newLine && slices.Equal(a.removed, b.removed) && slices.Equal(a.added, b.added)
	}) {
		t.Errorf("%d hunks, want %d of one line each", len(got), len(want))
	}
}

func FuzzLineDiff(f *testing.F) {
	f.Add("a\nb\nc\n", "a\nx\nc\nd")
	f.Add("", "a\n")
	f.Fuzz(func(t *testing.T, a, b string) {
		if len(a)+len(b) > 2000 {
			return
		}
		old, want := split([]byte(a)), split([]byte(b))
		var got []string
		next := 0
		for _, h := range lineDiff([]byte(a), []byte(b)) {
			got = append(got, old[next:h.oldLine-1]...)
			if len(got)+1 != h.newLine {
				t.Fatalf("hunk at new line %d, want %d", h.newLine, len(got)+1)
			}
			got = append(got, h.added...)
			next = h.oldLine - 1 + len(h.removed)
		}
		got = append(got, old[next:]...)
		if !slices.Equal(got, want) {
			t.Errorf("applying lineDiff(%q, %q) gives %q", a, b, got)
		}
	})
}

func TestRemovalOfAGatewayRestoresEveryByte(t *testing.T) {
	if testing.Short() {
		t.Skip("runs git many times")
	}
	g := testGit(t)
	broker, err := config.ParseGateway("https://broker.example:8443")
	if err != nil {
		t.Fatal(err)
	}
	w := wantedBlock{
		hosts: []string{"github.com", "ghe.example.com:8443"}, helper: "/opt/a b/git-credential-gatepass", guard: "/opt/a b/gatepass-pre-push", kind: GuardBoth,
		hooksDir: "/hooks", chain: "~/mine", gateway: gateway{Gateway: broker, isOption: true, ca: "/etc/ca.pem"},
		author: authorOf("Bot", "bot@example.com"), authorOwn: []setting{{key: authorKey, value: "Bot <bot@example.com>"}},
	}
	ourDir := func(dir string) bool { return dir == "/hooks" }
	for name, content := range map[string]string{
		"empty":                    "",
		"an author":                "[user]\n\tname = Bot\n",
		"the same rewrite":         "[url \"https://broker.example:8443/\"]\n\tinsteadOf = git@github.com:\n",
		"the same authorities":     "[http \"https://broker.example:8443\"]\n\tsslCAInfo = /etc/ca.pem\n\tproactiveAuth = basic\n",
		"the same for git-lfs":     "[lfs \"https://broker.example:8443\"]\n\taccess = basic\n",
		"a helper for the gateway": "[credential \"https://broker.example:8443\"]\n\thelper = store\n\tuseHttpPath = true\n",
	} {
		added, err := g.add(t.Context(), []byte(content), w.block())
		if err != nil {
			t.Fatal(err)
		}
		if got, _, err := g.remove(t.Context(), added, ourDir); err != nil || string(got) != content {
			t.Errorf("%s: remove(add(%q)) = %q, %v", name, content, got, err)
		}
		later := string(added) + "[later]\n\ta = b\n"
		if got, _, err := g.remove(t.Context(), []byte(later), ourDir); err != nil || strings.Contains(string(got), "gatepass") || !strings.HasPrefix(string(got), content) {
			t.Errorf("%s: remove with a later section = %q, %v", name, got, err)
		}
	}
}
