package broker

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func pattern(t *testing.T, text string) *regexp.Regexp {
	t.Helper()
	p, err := CompilePattern(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// unsure is a matcher that always returns an error.
type unsure struct{}

var errUnsure = errors.New("the condition cannot be decided")

func (unsure) Match(Caller) (bool, error) { return false, errUnsure }

func TestMatchers(t *testing.T) {
	c := Caller{Claims: map[string]any{"ref": "refs/heads/main", "in": map[string]any{"side": "x"}, "list": []any{"x"}}}
	for _, m := range []struct {
		name string
		by   Matcher
		want bool
	}{
		{"nothing to be equal", Exactly{}, true},
		{"a claim that is equal", Exactly{"ref": "refs/heads/main"}, true},
		{"a claim that begins alike", Exactly{"ref": "refs/heads/mai"}, false},
		{"one of two", Exactly{"ref": "refs/heads/main", "in/side": "y"}, false},
		{"a claim that is missing", Exactly{"sub": ""}, false},
		{"a claim that is no text", Exactly{"list": "x"}, false},
		{"a pattern of all of it", Patterns{"ref": pattern(t, "refs/heads/.*")}, true},
		{"a pattern of a part", Patterns{"ref": pattern(t, "heads")}, false},
		{"a pattern of two", Patterns{"ref": pattern(t, "x|refs/heads/main")}, true},
		{"a pattern of a beginning", Patterns{"ref": pattern(t, "refs|x")}, false},
		{"a pattern that a missing claim fits", Patterns{"sub": pattern(t, ".*")}, false},
		{"one pattern of two", Patterns{"ref": pattern(t, ".*"), "in/side": pattern(t, "y")}, false},
		{"all of none", All{}, true},
		{"all of two", All{Exactly{"in/side": "x"}, Patterns{"ref": pattern(t, ".*main")}}, true},
		{"the first of two", All{Exactly{"in/side": "x"}, Exactly{"in/side": "y"}}, false},
		{"the second of two", All{Exactly{"in/side": "y"}, Exactly{"in/side": "x"}}, false},
	} {
		if got, err := m.by.Match(c); err != nil || got != m.want {
			t.Errorf("%s: Match = %v, %v, want %v", m.name, got, err, m.want)
		}
	}
	if ok, err := (All{Exactly{}, unsure{}}).Match(c); ok || !errors.Is(err, errUnsure) {
		t.Errorf("Match of what cannot be decided = %v, %v, want its error", ok, err)
	}
	got := All{Exactly{"a": ""}, unsure{}, Patterns{"b": nil}}.Claims()
	if slices.Sort(got); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("Claims = %q, want a and b", got)
	}
}

// A pattern must match the whole text, whatever its own parentheses.
func TestPatternsCannotEscapeTheirAnchors(t *testing.T) {
	for _, text := range []string{"a)|(?:b", "(", "[", "a)", `\`, "*"} {
		if p, err := CompilePattern(text); err == nil {
			t.Errorf("CompilePattern(%q) = %v, want an error", text, p)
		}
	}
	for text, not := range map[string]string{"a": "a\n", "a|b": "ab", "(?m)^a$": "a\nb", "": "x"} {
		if pattern(t, text).MatchString(not) {
			t.Errorf("the pattern %q matches %q, want none", text, not)
		}
	}
}

func TestTemplates(t *testing.T) {
	c := Caller{Claims: map[string]any{"id": "7", "in": map[string]any{"side": "x"}, "empty": "", "climbs": "../x", "list": []any{"x"}}}
	for _, row := range []struct {
		template Template
		isGood   bool // whatever the claims
		want     string
	}{
		{"ci", true, "ci"},
		{"ci-{claim.id}", true, "ci-7"},
		{"{claim.id}-{claim.in/side}", true, "7-x"},
		{"{claim.id}{claim.id}.", false, ""},
		{"ci-{claim.empty}", true, "ci-"},
		{"{claim.empty}", true, ""},
		{"{claim.missing}", true, ""},
		{"{claim.list}", true, ""},
		{"{claim.climbs}", true, ""},
		{"", false, ""},
		{"../{claim.id}", false, ""},
		{"{id}", false, ""},
		{"ci-{claim.id", false, ""},
		{"ci-{claim.}", false, ""},
		{"{claim.{claim.id}}", false, ""},
		{"ci-claim.id}", false, ""},
		{"{claim.id}}", false, ""},
	} {
		got, err := row.template.ID(c)
		if (err == nil) != (row.want != "") || err == nil && got != row.want {
			t.Errorf("%q makes %q, %v, want %q", row.template, got, err, row.want)
		}
		if err := row.template.Check(); (err == nil) != row.isGood {
			t.Errorf("Check(%q) = %v, want it to be good: %v", row.template, err, row.isGood)
		}
	}
	if got := Template("{claim.a}-{claim.b/c}").Claims(); !slices.Equal(got, []string{"a", "b/c"}) {
		t.Errorf("Claims = %q, want a and b/c", got)
	}
}

// Two lists of claims never make the same workspace; otherwise one caller would be
// revoked with the other. Whatever the separator, a claim that contains it is refused.
func TestTemplatesMakeNoIDTwice(t *testing.T) {
	values := []string{"", "a", "-", "a-", "-a", "a-b", "a--", "--a", "a--b", "a---b", "b", ".", "_", "a.b", "A"}
	for _, template := range []Template{"x{claim.a}-{claim.b}", "x{claim.a}--{claim.b}", "x{claim.a}-.-{claim.b}", "x{claim.a}a{claim.b}", "x{claim.a}-{claim.b}-{claim.a}.b"} {
		made := map[string][2]string{}
		for _, a := range values {
			for _, b := range values {
				id, err := template.ID(Caller{Claims: map[string]any{"a": a, "b": b}})
				if err != nil {
					continue
				}
				if other, isThere := made[id]; isThere {
					t.Errorf("%s makes %s of %q and of %q", template, id, other, [2]string{a, b})
				}
				made[id] = [2]string{a, b}
			}
		}
		if len(made) == 0 {
			t.Errorf("%s makes no id at all", template)
		}
	}
	_, err := Template("k8s-{claim.a}-{claim.b}").ID(Caller{Claims: map[string]any{"a": "team-a", "b": "runner"}})
	if err == nil || !strings.Contains(err.Error(), `claim a contains the separator "-"`) {
		t.Errorf("ID = %v, want what is wrong with which claim", err)
	}
}

// The error says that the id is too long: the value that would fill the answer is cut,
// the reason is not.
func TestAnIDThatIsTooLong(t *testing.T) {
	by := &counted{caller: Caller{Method: "test", Claims: map[string]any{"id": strings.Repeat("a", 5000)}}}
	_, err := (&Policy{Rules: []Rule{{By: by, Workspace: "ci-{claim.id}"}}}).Resolve(t.Context(), httptest.NewRequest(http.MethodPost, "/", nil))
	r, ok := errors.AsType[*Refusal](err)
	if !ok || r.Status != http.StatusForbidden || !strings.Contains(r.Detail, "{claim.id}") || !strings.Contains(r.Detail, "5003 bytes is too long") || len(r.Detail) > maxDetail {
		t.Errorf("Resolve = %v, want 403 and that the id is too long", err)
	}
}

// counted identifies the caller that the test sets, and counts calls.
type counted struct {
	caller Caller
	err    error
	asked  int
}

func (i *counted) Identify(context.Context, *http.Request) (Caller, error) {
	i.asked++
	return i.caller, i.err
}

func TestTheFirstRuleThatMatchesDecides(t *testing.T) {
	who := Caller{Method: "test", Subject: "who", Claims: map[string]any{"id": "7"}}
	proved, silent, forged := &counted{caller: who}, &counted{err: ErrNoProof}, &counted{err: errors.New("forged")}
	later := &counted{err: &Refusal{Status: http.StatusServiceUnavailable, Reason: ReasonStore}}
	named := &counted{err: &Refusal{Status: http.StatusUnauthorized, Reason: ReasonIdentity}}
	rule := func(name string, by Identifier, match Matcher, template Template) Rule {
		return Rule{Name: name, By: by, Match: match, Workspace: template}
	}
	not := Exactly{"id": "8"}
	for _, c := range []struct {
		name   string
		rules  []Rule
		want   string // workspace and rule
		status int
	}{
		{"the first of two", []Rule{rule("a", proved, nil, "one"), rule("b", proved, nil, "two")}, "one a", 0},
		{"the second, where the first is not for it", []Rule{rule("a", proved, not, "one"), rule("b", proved, nil, "two")}, "two b", 0},
		{"no proof for the first", []Rule{rule("a", silent, nil, "one"), rule("b", proved, nil, "two")}, "two b", 0},
		{"a proof that does not hold for the first", []Rule{rule("a", forged, nil, "one"), rule("b", proved, nil, "two")}, "two b", 0},
		{"a rule that makes no workspace, before one that does", []Rule{rule("a", proved, nil, "{claim.x}"), rule("b", proved, nil, "two")}, "", 403},
		{"a rule that cannot be applied, before one that can", []Rule{rule("a", proved, unsure{}, "one"), rule("b", proved, nil, "two")}, "", 403},
		{"no rule for it", []Rule{rule("a", proved, not, "one")}, "", 403},
		{"no rule for it, and a proof that does not hold", []Rule{rule("a", forged, nil, "one"), rule("b", proved, not, "two")}, "", 403},
		{"no proof", []Rule{rule("a", silent, nil, "one")}, "", 401},
		{"a proof that is refused with why, before one that cannot be looked at", []Rule{rule("a", named, nil, "one"), rule("b", later, nil, "two")}, "", 503},
		{"a proof that cannot be looked at, before one that is refused with why", []Rule{rule("a", later, nil, "one"), rule("b", named, nil, "two"), rule("c", forged, nil, "two")}, "", 503},
		{"a proof that cannot be looked at", []Rule{rule("a", forged, nil, "one"), rule("b", later, nil, "two")}, "", 503},
	} {
		proved.asked = 0
		w, err := (&Policy{Rules: c.rules}).Resolve(t.Context(), httptest.NewRequest(http.MethodPost, "/", nil))
		got, status := "", 0
		if err == nil {
			got = w.ID + " " + w.Rule
		} else if r, ok := errors.AsType[*Refusal](err); ok {
			status = r.Status
		}
		if got != c.want || status != c.status || err != nil && w.ID != "" {
			t.Errorf("%s: Resolve = %q, %v, want %q and status %d", c.name, got, err, c.want, c.status)
		}
		if proved.asked > 1 {
			t.Errorf("%s: the identifier is asked %d times, want once", c.name, proved.asked)
		}
	}
}

func TestWhoIsAnOperator(t *testing.T) {
	proved := &counted{caller: Caller{Method: "test", Subject: "who", Claims: map[string]any{"id": "7"}}}
	silent, forged := &counted{err: ErrNoProof}, &counted{err: errors.New("forged")}
	later := &counted{err: &Refusal{Status: http.StatusServiceUnavailable, Reason: ReasonStore}}
	not := Exactly{"id": "8"}
	for _, c := range []struct {
		name   string
		rules  []OperatorRule
		want   Operator
		status int
	}{
		{"without rules", nil, Operator{}, 403},
		{"everybody that is proved", []OperatorRule{{Name: "a", Key: "k", By: proved}}, Operator{"a", "k", "test", "who"}, 0},
		{"who the second rule is for", []OperatorRule{{Name: "a", By: proved, Match: not}, {Name: "b", Key: "k", By: proved, Match: Exactly{"id": "7"}}}, Operator{"b", "k", "test", "who"}, 0},
		{"who has another proof", []OperatorRule{{Name: "a", By: silent}, {Name: "b", By: forged}, {Name: "c", By: proved}}, Operator{"c", "", "test", "who"}, 0},
		{"an operator that no rule matches", []OperatorRule{{Name: "a", By: proved, Match: not}}, Operator{}, 403},
		{"an operator whose rule cannot be evaluated", []OperatorRule{{Name: "a", By: proved, Match: unsure{}}, {Name: "b", By: proved}}, Operator{}, 403},
		{"a request without a proof", []OperatorRule{{Name: "a", By: silent}}, Operator{}, 401},
		{"an operator whose proof is not valid", []OperatorRule{{Name: "a", By: silent}, {Name: "b", By: forged}}, Operator{}, 401},
		{"an operator whose proof cannot be checked", []OperatorRule{{Name: "a", By: forged}, {Name: "b", By: later}}, Operator{}, 503},
	} {
		proved.asked = 0
		got, err := (&Policy{Operators: c.rules}).Operator(t.Context(), httptest.NewRequest(http.MethodGet, "/", nil))
		status := 0
		if r, ok := errors.AsType[*Refusal](err); ok {
			status = r.Status
		}
		if got != c.want || status != c.status || (err == nil) != (c.status == 0) || proved.asked > 1 {
			t.Errorf("%s: Operator = %+v, %v after %d proofs, want %+v and status %d", c.name, got, err, proved.asked, c.want, c.status)
		}
	}
}

// A session of a removed rule, or of no rule, has no operator.
func TestOperatorByKey(t *testing.T) {
	p := &Policy{Operators: []OperatorRule{{Name: "a"}, {Name: "b", Key: "k"}}}
	for key, want := range map[string]string{"k": "b", "": "", "other": ""} {
		if rule, ok := p.OperatorByKey(key); rule.Name != want || ok != (want != "") {
			t.Errorf("OperatorByKey(%q) = %q, %v, want %q", key, rule.Name, ok, want)
		}
	}
}
