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

// attributes parses an answer; it fails on a key given twice.
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
	if want := `gatepass: no\nluck\x1b[2J` + "\n"; string(a.Stdout) != "quit=1\n" || a.Stderr != want {
		t.Errorf("Get = %q, %q, want quit=1 and %q", a.Stdout, a.Stderr, want)
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
	if got := attributes(t, r.Get(t.Context(), parse(t, "protocol=https", "host=GitHub.com:443"))); got["password"] != "ghs_x" {
		t.Errorf("Get(GitHub.com:443) = %v, want the token: it is the same host", got)
	}
	r.Source = OnlyHosts(fixed(NewToken("ghs_x", expiry)), "github.com", "no host", "")
	if a := r.Get(t.Context(), Request{Protocol: "https", Host: "also none"}); len(a.Stdout) > 0 {
		t.Errorf("Get of what is no host = %q, want silence", a.Stdout)
	}
}

// TestRetryReplacesAStaleToken makes git's two calls of get after a 401.
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
		{"the cached token as a bearer's", []string{"authtype=Bearer", "credential=tok-1"}, "tok-2"},
		{"a bearer token that reads like a login", []string{"authtype=Bearer", "credential=" + basic("tok-1")}, "tok-1"},
		{"what is no base64", []string{"authtype=Basic", "credential=tok-1 "}, "tok-1"},
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
	for name, src := range map[string]Source{
		"no host":               OnlyHosts(fixed(NewToken("ghs_x", expiry))),
		"the word for no value": fixed(NewToken("null", expiry)),
		"two lines":             fixed(NewToken("ghs_x\nghs_y", expiry)),
	} {
		r := Responder{Source: src}
		if a := r.Password(t.Context(), widgets); len(a.Stdout) > 0 || a.Stderr != "" || a.Exit != 1 {
			t.Errorf("%s: Password = %+v, want nothing and exit 1", name, a)
		}
	}
}

func TestAUserNameFromAServerCannotBreakTheAnswer(t *testing.T) {
	for _, c := range []struct {
		name     string
		authtype bool
		refused  bool
	}{
		{"a\npassword=evil", false, true},
		{"\npassword=evil", true, true},
		{"a\x00", false, true},
		{"a\x7f", false, true},
		{"ü", false, true},
		{"a:b", true, true}, // "a", with the password "b:ghs_x"
		{"a:b", false, false},
		{"a b~", true, false},
	} {
		tok := NewToken("ghs_x", expiry)
		tok.Username = c.name
		r := Responder{Source: fixed(tok)}
		a := r.Get(t.Context(), Request{Protocol: "https", Host: "github.com", AuthType: c.authtype})
		if refused := string(a.Stdout) == "quit=1\n"; refused != c.refused {
			t.Errorf("Get with user %q and authtype %v = %q, want refused = %v", c.name, c.authtype, a.Stdout, c.refused)
		}
	}
}

func TestATokenThatIsNoneCannotBreakTheAnswer(t *testing.T) {
	for _, secret := range []string{"", "null", "ghs_x\nhost=evil.example", "<html>"} {
		r := Responder{Source: fixed(NewToken(secret, expiry))}
		if a := r.Get(t.Context(), widgets); string(a.Stdout) != "quit=1\n" || strings.Contains(a.Stderr, "ghs_x") {
			t.Errorf("Get with the token %q = %+v, want quit=1", secret, a)
		}
	}
}

// TestAnswersLetterForLetter compares the answers for each git: state and continue only
// if git announced state, an authtype only if git announced that.
func TestAnswersLetterForLetter(t *testing.T) {
	user := "username=x-access-token\npassword=tok\npassword_expiry_utc=1900000000\n"
	basic := "authtype=Basic\ncredential=eC1hY2Nlc3MtdG9rZW46dG9r\nephemeral=1\npassword_expiry_utc=1900000000\n"
	state := "state[]=gatepass:" + fingerprint("tok") + "\ncontinue=1\n"
	fresh := NewToken("tok", time.Unix(1900000000, 0))
	for _, c := range []struct {
		name string
		tok  Token
		req  Request
		want string
	}{
		{"git before 2.46", fresh, Request{}, user},
		{"git before 2.46, from memory", fresh.AsCached(), Request{}, user},
		{"authtype", fresh, Request{AuthType: true}, "capability[]=authtype\n" + basic},
		{"authtype, from memory", fresh.AsCached(), Request{AuthType: true}, "capability[]=authtype\n" + basic},
		{"state, from memory", fresh.AsCached(), Request{Multi: true}, "capability[]=state\n" + user + state},
		{"both", fresh, Request{AuthType: true, Multi: true}, "capability[]=authtype\n" + basic},
		{"both, from memory", fresh.AsCached(), Request{AuthType: true, Multi: true}, "capability[]=authtype\ncapability[]=state\n" + basic + state},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := Responder{Source: fixed(c.tok)}
			if a := r.Get(t.Context(), c.req); string(a.Stdout) != c.want {
				t.Errorf("Get = %q, want %q", a.Stdout, c.want)
			}
		})
	}
}

func TestWithoutACacheThereIsNothingToDrop(t *testing.T) {
	r := Responder{Source: fixed(NewToken("ghs_x", expiry).AsCached())}
	ask := []string{"capability[]=state", "protocol=https", "host=github.com"}
	if got := attributes(t, r.Get(t.Context(), parse(t, append(ask, "state[]=gatepass:00")...))); got["password"] != "ghs_x" || got["continue"] != "" {
		t.Errorf("Get of a retry = %v, want the token and no continue", got)
	}
	if a := r.Erase(parse(t, append(ask, "password=ghs_x")...)); len(a.Stdout) > 0 || a.Stderr != "" {
		t.Errorf("Erase = %+v, want silence", a)
	}
}

func TestASourceThatTakesTooLongIsNamed(t *testing.T) {
	r := Responder{Source: SourceFunc(func(context.Context, Request) (Token, error) {
		return Token{}, context.DeadlineExceeded
	})}
	want := "gatepass: get a token: the source did not answer in time; try again, or set a longer GATEPASS_TIMEOUT\n"
	if a := r.Get(t.Context(), widgets); a.Stderr != want {
		t.Errorf("Get says %q, want %q", a.Stderr, want)
	}
}
