package gitsafety

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/internal/gitconfig"
)

// settings reads "scope key=value" lines.
func settings(lines ...string) []gitconfig.Setting {
	var list []gitconfig.Setting
	for _, line := range lines {
		scope, rest, _ := strings.Cut(line, " ")
		key, value, assigned := strings.Cut(rest, "=")
		list = append(list, gitconfig.Setting{Scope: scope, Key: key, Value: value, NoValue: !assigned})
	}
	return list
}

func TestHazards(t *testing.T) {
	for _, c := range []struct {
		name string
		list []gitconfig.Setting
		want []Kind
	}{
		{"nothing", settings("local core.bare=false", "local remote.origin.url=https://github.com/acme/x"), nil},
		{"verification off", settings("local http.sslverify=false"), []Kind{TLSOff}},
		{"off for the host", settings("global http.https://github.com.sslverify=0"), []Kind{TLSOff}},
		{"off for another host", settings("local http.https://git.example.sslverify=false"), nil},
		{"off, and on again by the same key", settings("local http.sslverify=false", "command http.sslverify=true"), nil},
		{"verification on", settings("local http.sslverify", "local http.https://github.com.sslverify=yes"), nil},
		{"a proxy", settings("command http.proxy=socks5://evil"), []Kind{Proxy}},
		{"a proxy for the host", settings("local http.https://github.com/.proxy=evil:1"), []Kind{Proxy}},
		{"a proxy for another repository", settings("local http.https://github.com/other/.proxy=evil:1"), nil},
		{"a proxy taken back", settings("local http.proxy="), nil},
		{"a remote's proxy", settings("local remote.origin.proxy=evil:1"), []Kind{Proxy}},
		{"another authority", settings("worktree http.sslcainfo=/tmp/ca", "local http.sslcapath=/tmp"), []Kind{Authority, Authority}},
		{"a client certificate", settings("local http.sslcert=/x", "local http.sslkey=/y"), nil},
		{"another address", settings("local http.curloptresolve=github.com:443:10.0.0.1", "local http.curloptresolve=x"), []Kind{Address, Address}},
		{"away from the host", settings("local url.https://evil.example/.insteadof=https://github.com/"), []Kind{Rewrite}},
		{"to the host from another", settings("local url.https://github.com/.pushinsteadof=https://good.example/"), []Kind{Rewrite}},
		{"to another repository of the host", settings("local url.https://github.com/acme/.insteadof=https://github.com/other/"), []Kind{Rewrite}},
		{"between two strangers", settings("local url.https://a.example/.insteadof=https://b.example/"), nil},
		{"ssh to https", settings("local url.https://github.com/.insteadof=git@github.com:", "local url.https://github.com/.insteadof=ssh://git@github.com:22/"), nil},
		{"an abbreviation", settings("local url.https://github.com/.insteadof=gh:"), []Kind{Rewrite}},
	} {
		var got []Kind
		for _, h := range (Target{"github.com", "acme/widgets.git"}).Hazards(c.list) {
			got = append(got, h.Kind)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: Hazards = %q, want %q", c.name, got, c.want)
		}
	}
}

func TestAPathThatIsNotKnownMayBeAny(t *testing.T) {
	list := settings("local http.https://github.com/other/.proxy=evil:1", "local url.https://evil.example/.insteadof=https://github.com/other/")
	if got := (Target{Host: "github.com"}).Hazards(list); len(got) != 2 {
		t.Errorf("Hazards = %v, want both", got)
	}
}

func TestTrusted(t *testing.T) {
	for scope, want := range map[string]bool{
		"system": true, "global": true, "local": false, "worktree": false, "command": false, "submodule": false, EnvironmentScope: false,
	} {
		if got := (Hazard{Setting: gitconfig.Setting{Scope: scope}}).Trusted(); got != want {
			t.Errorf("Trusted(%s) = %v, want %v", scope, got, want)
		}
	}
}

func TestEnvironment(t *testing.T) {
	environ := []string{"GIT_SSL_NO_VERIFY=", "GIT_SSL_CAINFO=/tmp/ca", "GIT_SSL_CAPATH=", "https_proxy=http://p", "HOME=/"}
	got := Environment(environ)
	if len(got) != 2 || got[0].Kind != TLSOff || got[1].Kind != Authority || got[0].Trusted() {
		t.Errorf("Environment = %v, want verification off and another authority", got)
	}
	if got := Environment([]string{"GIT_SSL_CAINFO=/etc/passwd"}); len(got) != 1 || !got[0].Trusted() {
		t.Errorf("Environment = %v, want a file of root's trusted", got)
	}
	for _, file := range []string{"passwd", "/no/such/file", filepath.Join(t.TempDir(), "..")} {
		if got := Environment([]string{"GIT_SSL_CAPATH=" + file}); got[0].Trusted() {
			t.Errorf("Environment = %v, want it not trusted", got)
		}
	}
	if s := got[0].String(); s != "GIT_SSL_NO_VERIFY (environment)" {
		t.Errorf("String = %q", s)
	}
}

func TestStringHidesPasswords(t *testing.T) {
	for _, proxy := range []string{"http://me:hunter2@p.example", "me:hunter2@p.example", "me:hunter2@x@p.example:80"} {
		s := Hazard{Kind: Proxy, Setting: settings("local http.proxy=" + proxy)[0]}.String()
		if strings.Contains(s, "hunter2") || !strings.Contains(s, "p.example") || !strings.Contains(s, "(local scope)") {
			t.Errorf("String = %q, want it without the password and with the scope", s)
		}
	}
}

func FuzzHazards(f *testing.F) {
	f.Add("url.https://github.com/.insteadof", "git@github.com:")
	f.Add("http.https://*.com:443/x.proxy", "p")
	f.Add("http.sslverify", "00")
	f.Fuzz(func(t *testing.T, key, value string) {
		list := []gitconfig.Setting{{Scope: gitconfig.Local, Key: key, Value: value}}
		known := (Target{"github.com", "acme/widgets"}).Hazards(list)
		if len(known) > len((Target{Host: "github.com"}).Hazards(list)) {
			t.Errorf("%q=%q is a hazard only where the path is known", key, value)
		}
	})
}

// The expected answers are those of git itself.
func TestRewrittenIsWhatGitDoes(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("missing: git")
	}
	for _, lines := range [][]string{
		nil,
		{"url.https://a.example/.insteadof=https://github.com/"},
		{"url.https://a.example/.insteadof=https://github.com/", "url.https://b.example/.insteadof=https://github.com/"},
		{"url.https://a.example/.insteadof=https://github.com/", "url.https://b.example/.insteadof=https://github.com/acme/"},
		{"url.https://b.example/.insteadof=https://x/", "url.https://a.example/.insteadof=https://github.com/", "url.https://b.example/.insteadof=https://github.com/"},
		{"url.https://a.example/.insteadof=https://github.com/", "url.git@github.com:.pushinsteadof=https://github.com/", "url.https://c.example/.insteadof=git@github.com:"},
		{"url.https://a.example/.pushinsteadof=git@github.com:", "url.https://b.example/.pushinsteadof=git@github.com:acme/"},
		{"url.https://a.example/.insteadof=", "url.https://b.example/.insteadof=https"},
	} {
		dir := filepath.Join(t.TempDir(), "repo")
		git(t, "init", "-q", dir)
		for i := range lines {
			key, value, _ := strings.Cut(lines[i], "=")
			git(t, "-C", dir, "config", "--add", key, value)
			lines[i] = "local " + lines[i]
		}
		for _, url := range []string{"https://github.com/acme/widgets.git", "git@github.com:acme/widgets.git", "https://other.example/acme/widgets"} {
			git(t, "-C", dir, "config", "remote.origin.url", url)
			for push, option := range map[bool][]string{false: nil, true: {"--push"}} {
				want := git(t, append(append([]string{"-C", dir, "remote", "get-url"}, option...), "origin")...)
				if got, by := Rewritten(settings(lines...), url, push); got != want || (by == nil) != (got == url) {
					t.Errorf("with %q: Rewritten(%s, %v) = %s by %v, and git goes to %s", lines, url, push, got, by, want)
				}
			}
		}
	}
}

func git(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Env = append(cmd.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git %q: %v", args, err)
	}
	return strings.TrimSuffix(string(out), "\n")
}
