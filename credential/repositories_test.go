package credential

import (
	"context"
	"strings"
	"testing"
)

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
		tok, err := src.Token(t.Context(), Request{Protocol: "https", Host: "github.com", Path: path})
		if (tok.Secret() == "ghs_x") != (err == nil) {
			t.Errorf("%s: token %v and error %v, want one of the two", path, tok, err)
		}
		return err
	}
	for _, path := range []string{"acme/widgets", "acme/widgets.git", "ACME/Widgets", "acme/widgets.git/info/lfs", "acme/widgets.wiki.git", "acme/api-x", "acme/api-", "other/anything", "acme/widgets/"} {
		if err := try(path); err != nil {
			t.Errorf("%s: %v, want allowed", path, err)
		}
	}
	asked = 0
	for _, path := range []string{"", "acme/widgets2", "acme/apix", "acmes/widgets", "other", "acme//widgets", "acme/../other/x", "acme/widgets%2f", "acme/widgets/../../x/y", "other/a/b", "acme\\widgets", "../acme/widgets", "other/.", "other/..git"} {
		if try(path) == nil {
			t.Errorf("%s: allowed, want refused", path)
		}
	}
	if asked > 0 {
		t.Errorf("the source was asked %d times for refused repositories", asked)
	}
}

func TestTheZeroRepositoriesAllowNone(t *testing.T) {
	var none Repositories
	if none.Match("acme", "widgets") || none.Any() || none.String() != "none" {
		t.Errorf("the zero Repositories matches, or prints %q", none)
	}
}

func TestParseRepositoriesReportsEveryBadPattern(t *testing.T) {
	_, err := ParseRepositories([]string{"acme", "a/b/c", "acme/x*y", "*/x", "**", "", "acme/", "/x", "ok/ok", "acme/x?y", "acme/x#y", "acme/x/", "acme/x/info/lfs", "acme/..git", "acme/..*"})
	if err == nil || strings.Count(err.Error(), " / ") != 13 {
		t.Errorf("ParseRepositories = %v, want fourteen reports", err)
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
	for _, r := range []Repositories{AnyRepository(), parsed(t, "acme/widgets", "*")} {
		if got := r.Fixed(); got != nil {
			t.Errorf("Fixed() of any repository = %q, want none", got)
		}
	}
}

func TestAnyRepositoryNeedsNoPath(t *testing.T) {
	for _, r := range []Repositories{AnyRepository(), parsed(t, "*")} {
		tok, err := OnlyRepositories(fixed(NewToken("ghs_x", expiry)), r).Token(t.Context(), Request{Protocol: "https", Host: "github.com"})
		if err != nil || tok.Secret() != "ghs_x" {
			t.Errorf("Token without a path = %v, %v, want the token", tok, err)
		}
		if !r.Any() || !r.Match("a", "b") || r.String() != "any repository" {
			t.Errorf("Repositories prints %q, Any() = %v, want any repository", r, r.Any())
		}
	}
}

func TestAPatternOpensNoMoreThanItSays(t *testing.T) {
	for _, c := range []struct {
		pattern, owner, name string
		want                 bool
	}{
		{"acme/widgets.git", "acme", "widgets", true},
		{"acme/widgets", "ACME", "Widgets", true},
		{"acme/API-*", "acme", "Api-x", true},
		{"acme/api.git*", "acme", "api.github.io", true},
		{"acme/api.git*", "acme", "api-secret", false}, // the ".git" of a prefix is part of it
		{"acme/api.wiki*", "acme", "api", false},
		{"acme/*", "acmes", "x", false},
		{"acme/x", "acme", "xy", false},
	} {
		if got := parsed(t, c.pattern).Match(c.owner, c.name); got != c.want {
			t.Errorf("%s matches %s/%s = %v, want %v", c.pattern, c.owner, c.name, got, c.want)
		}
	}
}

func TestARefusalSaysWhatIsAllowed(t *testing.T) {
	r := parsed(t, "Acme/Widgets", "acme/api-*", "globex/*")
	_, err := OnlyRepositories(fixed(NewToken("ghs_x", expiry)), r).Token(t.Context(), Request{Protocol: "https", Host: "github.com", Path: "acme/secret"})
	if want := "allowed: acme/widgets, acme/api-*, globex/*"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Token = %v, want an error with %q", err, want)
	}
	_, err = OnlyRepositories(fixed(NewToken("ghs_x", expiry)), r).Token(t.Context(), Request{Protocol: "https", Host: "github.com"})
	if want := "credential.useHttpPath true"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Token without a path = %v, want an error with %q", err, want)
	}
}

func parsed(t *testing.T, patterns ...string) Repositories {
	t.Helper()
	r, err := ParseRepositories(patterns)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
