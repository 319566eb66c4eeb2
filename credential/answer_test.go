package credential

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/credential/protocol"
)

// fixed is a source that always gives one token.
func fixed(tok Token) Source {
	return SourceFunc(func(context.Context, Request) (Token, error) { return tok, nil })
}

var expiry = time.Now().Add(time.Hour).Truncate(time.Second)

func parse(t *testing.T, lines ...string) Request {
	t.Helper()
	req, err := protocol.ParseRequest([]byte(strings.Join(lines, "\n") + "\n\n"))
	if err != nil {
		t.Fatalf("ParseRequest(%q) = %v", lines, err)
	}
	return req
}

// attributes reads an answer back; it fails on a key given twice.
func attributes(t *testing.T, a Answer) map[string]string {
	t.Helper()
	m := map[string]string{}
	for line := range strings.Lines(string(a.Stdout)) {
		key, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		if !ok {
			t.Fatalf("answer line %q has no =", line)
		}
		if _, twice := m[key]; twice && key != "capability[]" {
			t.Fatalf("answer says %s twice", key)
		}
		m[key] += value
	}
	return m
}

func TestGetForOldGitUsesUserAndPassword(t *testing.T) {
	r := Responder{Source: fixed(NewToken("ghs_x", expiry))}
	got := attributes(t, r.Get(t.Context(), parse(t, "protocol=https", "host=github.com")))
	if got["username"] != "x-access-token" || got["password"] != "ghs_x" || got["password_expiry_utc"] == "" || got["credential"] != "" {
		t.Errorf("Get = %v, want x-access-token, the token and its expiry", got)
	}
}

func TestGetForNewGitUsesAuthtype(t *testing.T) {
	r := Responder{Source: fixed(NewToken("ghs_x", expiry))}
	a := r.Get(t.Context(), parse(t, "capability[]=authtype", "protocol=https", "host=github.com"))
	got := attributes(t, a)
	want := base64.StdEncoding.EncodeToString([]byte("x-access-token:ghs_x"))
	if got["authtype"] != "Basic" || got["credential"] != want || got["ephemeral"] != "1" || got["password"] != "" {
		t.Errorf("Get = %v, want a Basic credential, ephemeral, no password", got)
	}
	if !strings.HasPrefix(string(a.Stdout), "capability[]=authtype\n") {
		t.Errorf("Get = %q, want the capability first", a.Stdout)
	}
}

func TestGetKeepsTheUserNameOfTheURL(t *testing.T) {
	r := Responder{Source: fixed(NewToken("ghs_x", expiry))}
	got := attributes(t, r.Get(t.Context(), parse(t, "protocol=https", "host=github.com", "username=octo")))
	if got["username"] != "octo" {
		t.Errorf("username = %q, want octo", got["username"])
	}
}

func TestGetFailsWithOneLineAndQuit(t *testing.T) {
	r := Responder{Source: SourceFunc(func(context.Context, Request) (Token, error) {
		return Token{}, errors.New("no\nluck\x1b[2J")
	})}
	a := r.Get(t.Context(), parse(t, "protocol=https", "host=github.com"))
	if string(a.Stdout) != "quit=1\n" || strings.Count(a.Stderr, "\n") != 1 || strings.Contains(a.Stderr, "\x1b") {
		t.Errorf("Get = %q, %q, want quit=1 and one plain line", a.Stdout, a.Stderr)
	}
}

func TestGetIsSilentWhereItIsNotAsked(t *testing.T) {
	r := Responder{Source: OnlyHosts(fixed(NewToken("ghs_x", expiry)), "github.com")}
	for _, host := range []string{"github.com.evil.example", "evil.example", "gist.github.com", "github.com:8443", "xgithub.com"} {
		if a := r.Get(t.Context(), parse(t, "protocol=https", "host="+host)); len(a.Stdout) > 0 || a.Stderr != "" || a.Exit != 0 {
			t.Errorf("Get(%s) = %+v, want silence", host, a)
		}
	}
	if a := r.Get(t.Context(), parse(t, "protocol=http", "host=github.com")); len(a.Stdout) > 0 {
		t.Errorf("Get(http) = %q, want silence", a.Stdout)
	}
}

// TestRetryReplacesAStaleToken walks git's two calls of get after a 401.
func TestRetryReplacesAStaleToken(t *testing.T) {
	c := &Cache{Source: &issuer{}}
	r := Responder{Source: c, Cache: c}
	ask := []string{"capability[]=authtype", "capability[]=state", "protocol=https", "host=github.com", "path=acme/widgets"}
	fresh := attributes(t, r.Get(t.Context(), parse(t, ask...)))
	if fresh["continue"] != "" {
		t.Errorf("a fresh token says continue=%s, want none: a second fetch would bring the same", fresh["continue"])
	}
	first := attributes(t, r.Get(t.Context(), parse(t, ask...)))
	if first["continue"] != "1" || !strings.HasPrefix(first["state[]"], "gatepass:") {
		t.Fatalf("a cached token says %v, want our state and continue=1", first)
	}
	retry := append(ask, "state[]=other:thing", "state[]="+first["state[]"])
	second := attributes(t, r.Get(t.Context(), parse(t, retry...)))
	if second["credential"] == first["credential"] || second["continue"] != "" {
		t.Errorf("the retry says %v, want another credential and no continue", second)
	}
}

func TestRetryAfterAnotherProcessRefreshedUsesItsToken(t *testing.T) {
	src := &issuer{}
	c := &Cache{Source: src}
	r := Responder{Source: c, Cache: c}
	ask := []string{"capability[]=state", "protocol=https", "host=github.com", "path=acme/widgets"}
	r.Get(t.Context(), parse(t, ask...))
	stale := attributes(t, r.Get(t.Context(), parse(t, ask...)))["state[]"]
	for range 2 {
		got := attributes(t, r.Get(t.Context(), parse(t, append(ask, "state[]="+stale)...)))
		if got["password"] != "tok-2" || got["continue"] != "" {
			t.Errorf("the retry says %v, want tok-2 and no continue", got)
		}
	}
	if n := src.calls.Load(); n != 2 {
		t.Errorf("calls to the source = %d, want 2", n)
	}
}

func TestForeignStateIsIgnored(t *testing.T) {
	c := &Cache{Source: &issuer{}}
	r := Responder{Source: c, Cache: c}
	ask := []string{"capability[]=state", "protocol=https", "host=github.com", "path=acme/widgets"}
	r.Get(t.Context(), parse(t, ask...))
	got := attributes(t, r.Get(t.Context(), parse(t, append(ask, "state[]=other:x")...)))
	if got["password"] != "tok-1" || got["continue"] != "1" {
		t.Errorf("Get = %v, want the cached tok-1 and continue=1", got)
	}
}

func TestEraseDropsOnlyTheTokenItNames(t *testing.T) {
	basic := func(token string) string {
		return base64.StdEncoding.EncodeToString([]byte("x-access-token:" + token))
	}
	for _, c := range []struct {
		name  string
		lines []string
		next  string
	}{
		{"the cached token", []string{"username=x-access-token", "password=tok-1"}, "tok-2"},
		{"the cached credential", []string{"authtype=Basic", "credential=" + basic("tok-1")}, "tok-2"},
		{"another token", []string{"password=tok-0"}, "tok-1"},
		{"another credential", []string{"authtype=basic", "credential=" + basic("tok-0")}, "tok-1"},
		{"an empty password", []string{"username=", "password="}, "tok-1"},
		{"no password", nil, "tok-2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cache := &Cache{Source: &issuer{}}
			r := Responder{Source: cache, Cache: cache}
			want(t, cache, "tok-1")
			a := r.Erase(parse(t, append([]string{"protocol=https", "host=github.com", "path=acme/widgets"}, c.lines...)...))
			if len(a.Stdout) > 0 || a.Exit != 0 {
				t.Errorf("Erase = %+v, want silence", a)
			}
			want(t, cache, c.next)
		})
	}
}

func TestPasswordAnswersAskpass(t *testing.T) {
	good := Responder{Source: fixed(NewToken("ghs_x", expiry))}
	if a := good.Password(t.Context(), widgets); string(a.Stdout) != "ghs_x\n" || a.Exit != 0 {
		t.Errorf("Password = %+v, want the token and exit 0", a)
	}
	bad := Responder{Source: OnlyHosts(fixed(NewToken("ghs_x", expiry)))}
	if a := bad.Password(t.Context(), widgets); len(a.Stdout) > 0 || a.Stderr != "" || a.Exit != 1 {
		t.Errorf("Password = %+v, want nothing and exit 1", a)
	}
}

func TestAUserNameFromAServerCannotBreakTheAnswer(t *testing.T) {
	tok := NewToken("ghs_x", expiry)
	for _, name := range []string{"a\npassword=evil", "a\x00", "ü"} {
		tok.Username = name
		r := Responder{Source: fixed(tok)}
		if a := r.Get(t.Context(), parse(t, "protocol=https", "host=github.com")); string(a.Stdout) != "quit=1\n" {
			t.Errorf("Get with user %q = %q, want quit=1", name, a.Stdout)
		}
	}
}

func TestOnlyRepositories(t *testing.T) {
	allowed, err := ParseRepositories([]string{"acme/widgets", "Acme/api-*", "other/*"})
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	src := OnlyRepositories(SourceFunc(func(context.Context, Request) (Token, error) {
		asked++
		return NewToken("ghs_x", expiry), nil
	}), allowed)
	try := func(path string) error {
		_, err := src.Token(t.Context(), Request{Protocol: "https", Host: "github.com", Path: path})
		return err
	}
	for _, path := range []string{"acme/widgets", "acme/widgets.git", "ACME/Widgets", "acme/widgets.git/info/lfs", "acme/widgets.wiki.git", "acme/api-x", "acme/api-", "other/anything", "acme/widgets/"} {
		if err := try(path); err != nil {
			t.Errorf("%s: %v, want allowed", path, err)
		}
	}
	asked = 0
	for _, path := range []string{"", "acme/widgets2", "acme/apix", "acmes/widgets", "other", "acme//widgets", "acme/../other/x", "acme/widgets%2f", "acme/widgets/../../x/y", "other/a/b", "acme\\widgets", "../acme/widgets", "other/.", "other/..git"} {
		if err := try(path); err == nil && path != "other/..git" {
			t.Errorf("%s: allowed, want refused", path)
		}
	}
	if asked > 1 {
		t.Errorf("the source was asked %d times for refused repositories", asked)
	}
}

func TestTheZeroRepositoriesAllowNone(t *testing.T) {
	var none Repositories
	if none.Match("acme", "widgets") || none.String() != "none" {
		t.Errorf("the zero Repositories matches, or prints %q", none)
	}
	if r, _ := ParseRepositories([]string{"*"}); !r.Match("a", "b") {
		t.Error(`ParseRepositories("*") refuses, want any`)
	}
}

func TestParseRepositoriesReportsEveryBadPattern(t *testing.T) {
	_, err := ParseRepositories([]string{"acme", "a/b/c", "acme/x*y", "*/x", "**", "", "acme/", "/x", "ok/ok", "acme/x?y"})
	if err == nil || strings.Count(err.Error(), " / ") != 8 {
		t.Errorf("ParseRepositories = %v, want nine reports", err)
	}
}

func TestFixedIsWhatAlwaysGetsAToken(t *testing.T) {
	r, err := ParseRepositories([]string{"Acme/Widgets", "globex/*", "acme/api-*"})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(r.Fixed(), " "); got != "Acme/Widgets globex" {
		t.Errorf("Fixed() = %q, want Acme/Widgets globex", got)
	}
	if got := AnyRepository().Fixed(); got != nil {
		t.Errorf("Fixed() of any repository = %q, want none", got)
	}
}
