package probe

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/credential"
)

const secret = "ghs_0123456789abcdefghijABCDEFGHIJ012345"

// answering is a source that always returns the same.
type answering struct {
	token credential.Token
	err   error
}

func (a answering) Token(context.Context, credential.Request) (credential.Token, error) {
	return a.token, a.err
}

func token(levels map[string]string, left time.Duration) credential.Token {
	t := credential.NewToken(secret, time.Now().Add(left))
	t.Permissions = levels
	return t
}

func problem(status int) error {
	return fmt.Errorf("ask the broker: %w", api.NewProblem(status, "no"))
}

var (
	reading = map[string]string{"contents": "read"}
	writing = map[string]string{"contents": "write", "metadata": "read"}
	errLost = errors.New("it cannot be reached")
)

func TestWhatShouldBeGiven(t *testing.T) {
	for _, c := range []struct {
		name      string
		operation string
		answer    answering
		opened    []string
		openedErr error
		want      State
		detail    string
	}{
		{"a token to read", "read", answering{token: token(reading, time.Hour)}, []string{"Acme/Canary"}, nil, Passed, ""},
		{"a token to write", "write", answering{token: token(writing, time.Hour)}, []string{"acme/canary"}, nil, Passed, ""},
		{"one that writes, to read", "read", answering{token: token(writing, time.Hour)}, []string{"acme/canary"}, nil, Violated, "contents: write"},
		{"one with another permission", "write", answering{token: token(map[string]string{"administration": "read"}, time.Hour)}, []string{"acme/canary"}, nil, Violated, "administration: read"},
		{"one that reads, to write", "write", answering{token: token(reading, time.Hour)}, []string{"acme/canary"}, nil, Failed, "may not write acme/canary"},
		{"one that may do nothing", "read", answering{token: token(map[string]string{}, time.Hour)}, []string{"acme/canary"}, nil, Failed, "may not read acme/canary"},
		{"one of which nothing is said", "read", answering{token: token(nil, time.Hour)}, []string{"acme/canary"}, nil, Failed, "does not say"},
		{"one for others as well", "read", answering{token: token(reading, time.Hour)}, []string{"acme/canary", "acme/payroll"}, nil, Violated, "opens other repositories, such as acme/payroll"},
		{"one for another", "read", answering{token: token(reading, time.Hour)}, []string{"acme/payroll"}, nil, Violated, "acme/payroll"},
		{"one for nothing", "read", answering{token: token(reading, time.Hour)}, nil, nil, Failed, "does not open acme/canary"},
		{"one that ends", "read", answering{token: token(reading, 10*time.Second)}, []string{"acme/canary"}, nil, Failed, "left"},
		{"one that GitHub says nothing of", "read", answering{token: token(reading, time.Hour)}, nil, errLost, Failed, "could not find out what the token opens: it cannot be reached"},
		{"a refusal", "read", answering{err: problem(403)}, nil, nil, Failed, "ask the broker"},
	} {
		p := &Prober{Source: c.answer, Opened: func(context.Context, credential.Token) ([]string, error) { return c.opened, c.openedErr }}
		got := p.Run(t.Context(), []Case{{Name: "x", Host: "github.com", Repo: "acme/canary", Operation: c.operation}})
		if len(got) != 1 || got[0].State != c.want || !strings.Contains(got[0].Detail, c.detail) || strings.Contains(got[0].Detail, secret) {
			t.Errorf("%s: %+v, want %s with %q", c.name, got, c.want, c.detail)
		}
	}
}

func TestWhatShouldBeRefused(t *testing.T) {
	given := answering{token: token(reading, time.Hour)}
	for _, c := range []struct {
		name      string
		answer    answering
		want      State // of the case
		anonymous State // state of the same case without an identity
	}{
		{"a token", given, Violated, Violated},
		{"403", answering{err: problem(403)}, Passed, Failed},
		{"401", answering{err: problem(401)}, Failed, Passed},
		{"a host that is not served", answering{err: credential.ErrNoCredential}, Passed, Failed},
		{"an outage", answering{err: problem(503)}, Failed, Failed},
		{"no connection", answering{err: errLost}, Failed, Failed},
	} {
		p := &Prober{Source: c.answer, Unauthenticated: c.answer, Opened: func(context.Context, credential.Token) ([]string, error) { return []string{"acme/canary"}, nil }}
		cases := []Case{
			{Name: "refused", Host: "github.com", Repo: "acme/payroll", Operation: "read", Refused: true},
			{Name: "given", Host: "github.com", Repo: "acme/canary", Operation: "read"},
		}
		got := p.Run(t.Context(), cases)
		if len(got) != 3 || got[0].State != c.want || got[2].State != c.anonymous || got[2].Case != unauthenticatedCase {
			t.Errorf("%s: %+v, want %s, and %s without an identity", c.name, got, c.want, c.anonymous)
		}
		for _, r := range got {
			if strings.Contains(r.Detail, secret) {
				t.Errorf("%s: %q holds the token", c.name, r.Detail)
			}
		}
	}
}

func TestParseCases(t *testing.T) {
	good := "- {repo: acme/canary, operation: read}\n- {repo: acme/canary, operation: write, refused: true}\n"
	cases, err := ParseCases([]byte(good))
	if err != nil || len(cases) != 2 || cases[0] != (Case{"read acme/canary", "github.com", "acme/canary", "read", false}) || !cases[1].Refused {
		t.Errorf("ParseCases = %+v, %v", cases, err)
	}
	for name, c := range map[string]struct{ text, want string }{
		"nothing":          {"", "it needs one case without refused and one with refused: true"},
		"only granted":     {"- {repo: a/b}", "it needs one case without refused and one with refused: true"},
		"only refused":     {"- {repo: a/b, refused: true}", "it needs one case without refused and one with refused: true"},
		"an unknown key":   {good + "- {repo: a/b, allow: true}", `line 3 column 15: unknown key "allow"`},
		"no repository":    {good + "- {operation: read}", `case 3: "repo" must be owner/name`},
		"no operation":     {good + "- {repo: a/b, operation: admin}", `"operation" must be`},
		"a host in a URL":  {good + "- {repo: a/b, host: 'https://github.com'}", `"host" must be`},
		"a name twice":     {good + "- {repo: acme/canary}", `another case has the name "read acme/canary"`},
		"a long name":      {good + "- {repo: a/b, name: " + strings.Repeat("x", 101) + "}", "longer than 100"},
		"two documents":    {good + "---\n- {repo: a/b}", "more than one"},
		"no list":          {"repo: a/b", "want a list, not a mapping"},
		"too much":         {good + "#" + strings.Repeat("x", MaxCases), "longer than"},
		"a line break, or": {"- {repo: \"a\\nb\"}", "repo"},
	} {
		if _, err := ParseCases([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: ParseCases = %v, want one line with %q", name, err, c.want)
		}
	}
}

func FuzzParseCases(f *testing.F) {
	f.Add([]byte("- {repo: acme/canary}\n- {repo: a/b, refused: true, name: x, host: h, operation: write}\n"))
	f.Add([]byte("- &a {repo: a/b}\n- *a\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		cases, err := ParseCases(data)
		if err != nil {
			return
		}
		for _, c := range cases {
			repo, _ := api.ParseRepo(c.Repo)
			if err := (api.TokenRequest{Host: c.Host, Repo: repo, Operation: c.Operation}).Check(); err != nil || c.Name == "" {
				t.Errorf("ParseCases takes %+v: %v", c, err)
			}
		}
	})
}
