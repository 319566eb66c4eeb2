package refs

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func entries(patterns ...string) []Entry {
	var es []Entry
	for _, p := range patterns {
		es = append(es, Entry{Ref: p})
	}
	return es
}

func mustCompile(t testing.TB, es ...Entry) *Policy {
	t.Helper()
	p, err := Compile(es)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPatternsMatchTheFullRef(t *testing.T) {
	for _, c := range []struct{ pattern, yes, no string }{
		{"main", "refs/heads/main", "refs/heads/Main refs/heads/main/x refs/heads/xmain refs/heads/mainx refs/tags/main refs/heads/refs/heads/main refs/for/main"},
		{"refs/heads/main", "refs/heads/main", "refs/heads/refs/heads/main refs/heads/main2"},
		{"*", "refs/heads/main refs/heads/a.b", "refs/heads/a/b refs/tags/v1 refs/notes/x"},
		{"**", "refs/heads/main refs/heads/a/b/c", "refs/tags/v1"},
		{"release/*", "refs/heads/release/1 refs/heads/release/1.2", "refs/heads/release/1/2 refs/heads/release refs/heads/xrelease/1"},
		{"agent/**", "refs/heads/agent/a refs/heads/agent/a/b", "refs/heads/agent refs/heads/agents/a"},
		{"agent-**", "refs/heads/agent-1 refs/heads/agent-1/x", "refs/heads/agent/1"},
		{"**/wip", "refs/heads/wip refs/heads/a/wip refs/heads/a/b/wip", "refs/heads/xwip refs/heads/wip/x refs/heads/a/xwip"},
		{"feature/**/x", "refs/heads/feature/x refs/heads/feature/a/x refs/heads/feature/a/b/x", "refs/heads/feature/ax refs/heads/featurex"},
		{"v?", "refs/heads/v1 refs/heads/vé", "refs/heads/v refs/heads/v12 refs/heads/v/"},
		{"refs/tags/v*", "refs/tags/v1", "refs/heads/v1 refs/tags/v1/x refs/heads/refs/tags/v1"},
		{"refs/**", "refs/heads/x refs/tags/x refs/notes/a/b", "HEAD"},
		{"a*b*c", "refs/heads/abc refs/heads/axbxc", "refs/heads/ac refs/heads/a/bc"},
		{"x]", "refs/heads/x]", "refs/heads/x"},
		{"release,1", "refs/heads/release,1", "refs/heads/release"},
		{"b**ba", "refs/heads/bba refs/heads/b/ba", "refs/heads/ba"},
		{"*" + strings.Repeat("x", maxRef-11), "refs/heads/" + strings.Repeat("x", maxRef-11), "refs/heads/y" + strings.Repeat("x", maxRef-11)},
		{"ü*", "refs/heads/über", "refs/heads/uber"},
	} {
		policy := mustCompile(t, Entry{Ref: c.pattern})
		for ref := range strings.FieldsSeq(c.yes) {
			if len(policy.Matching(ref)) != 1 {
				t.Errorf("%q does not match %q, want a match", c.pattern, ref)
			}
		}
		for ref := range strings.FieldsSeq(c.no) {
			if len(policy.Matching(ref)) != 0 {
				t.Errorf("%q matches %q, want none", c.pattern, ref)
			}
		}
	}
}

func TestCompileRefusesPatternsThatCannotMean(t *testing.T) {
	for _, c := range []struct{ pattern, want string }{
		{"", "empty"},
		{"!main", "negation"},
		{"[ab]", "only ?, * and ** are special; instead of a set such as [ab] or {a,b}, write one entry for each"},
		{"{a,b}", "only ?, * and ** are special; instead of a set such as [ab] or {a,b}, write one entry for each"},
		{"a{", "only ?, * and ** are special; instead of a set such as [ab] or {a,b}, write one entry for each"},
		{`a\*`, "only ?, * and ** are special; instead of a set such as [ab] or {a,b}, write one entry for each"},
		{"a***", "not a wildcard"},
		{"*a*a*a*a", "3 wildcards"},
		{"a/**/b/**/c/**", "2 **"},
		{"/main", "empty"},
		{"release/", "empty"},
		{"a//b", "empty"},
		{"a b", "must not contain"},
		{"a\nb", "must not contain"},
		{"a~1", "must not contain"},
		{"a:b", "must not contain"},
		{"a..b", `".."`},
		{"*..*", `".."`},
		{".*", "starts with a dot"},
		{"a/**/.x", "starts with a dot"},
		{"*.lock", ".lock"},
		{"a.lock/**", ".lock"},
		{"x*.", "ends with a dot"},
		{"x@{*", "@{"},
		{"refs/", "empty"},
		{"refs/heads", "directory"},
		{"refs/tags", "directory"},
		{"refs/heads/", "empty"},
		{"a" + strings.Repeat("x", 1024), "1024"},
		{"*" + strings.Repeat("x", 1024), "1024"},
	} {
		_, err := Compile(entries(c.pattern))
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), fmt.Sprintf("%q", c.pattern)) {
			t.Errorf("Compile(%.40q) = %v, want an error that names it and says %q", c.pattern, err, c.want)
		}
	}
}

func TestCompileReportsEveryBadPattern(t *testing.T) {
	_, err := Compile([]Entry{{Ref: "a..b"}, {Ref: "main"}, {Ref: "[x]"}, {Ref: "y", Allow: []Verb{"push"}}, {Ref: "z", Allow: []Verb{}}})
	for _, want := range []string{`"a..b"`, `"[x]"`, `"y": unknown verb "push"`, `"z": allow must not be empty`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Compile = %v, want it to name %s", err, want)
		}
	}
	if err != nil && strings.Contains(err.Error(), "main") {
		t.Errorf("Compile = %v, want no word about the good one", err)
	}
}

func TestNoPolicyAllowsNothing(t *testing.T) {
	for name, policy := range map[string]*Policy{"nil": nil, "zero": new(Policy), "empty": mustCompile(t)} {
		for _, verb := range verbs {
			if rule, err := policy.Check("refs/heads/main", verb); err == nil {
				t.Errorf("%s policy: Check(refs/heads/main, %s) = %v, want a denial", name, verb, rule)
			}
		}
	}
}

func TestCheckNamesTheRuleThatDecides(t *testing.T) {
	policy := mustCompile(t,
		Entry{Ref: "main"},
		Entry{Ref: "**", Allow: []Verb{Delete}},
		Entry{Ref: "ma*", Allow: []Verb{Update, Force}},
		Entry{Ref: "refs/tags/v*", Allow: []Verb{Create}},
		Entry{Ref: "refs/heads/main", Allow: []Verb{Force}},
	)
	for _, c := range []struct {
		ref  string
		verb Verb
		want string // the pattern, or "" for a denial
	}{
		{"refs/heads/main", Create, "main"},
		{"refs/heads/main", Update, "main"},
		{"refs/heads/main", Force, "ma*"},
		{"refs/heads/main", Delete, "**"},
		{"refs/heads/main", Move, ""},
		{"refs/heads/dev", Create, ""},
		{"refs/heads/dev", Delete, "**"},
		{"refs/tags/v1", Create, "refs/tags/v*"},
		{"refs/tags/v1", Move, ""},
		{"refs/tags/v1", Delete, ""},
		{"main", Create, ""},
		{"refs/heads/a..b", Delete, ""},
	} {
		rule, err := policy.Check(c.ref, c.verb)
		got := ""
		if rule != nil {
			got = rule.Ref
		}
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("Check(%s, %s) = %q, %v, want %q", c.ref, c.verb, got, err, c.want)
		}
	}
	_, err := policy.Check("refs/heads/main", Move)
	denied, ok := errors.AsType[*DeniedError](err)
	if !ok || len(denied.Matching) != 4 || denied.Matching[0].Ref != "main" || denied.Matching[1].Ref != "**" {
		t.Errorf("Check(refs/heads/main, move) = %+v, want the four rules that match, in order", denied)
	}
}

// manyRules is 100 patterns of which the last few match, and manyUpdates is
// 10,000 branches.
func manyRules() (es []Entry) {
	for i := range 40 {
		es = append(es, Entry{Ref: fmt.Sprintf("release/%d", i)}, Entry{Ref: fmt.Sprintf("team-%d/**", i)})
	}
	for i := range 10 {
		es = append(es, Entry{Ref: fmt.Sprintf("*/fix-%d/*", i)}, Entry{Ref: fmt.Sprintf("**/x%d-*", i)})
	}
	return es
}

func manyUpdates() []RefUpdate {
	updates := make([]RefUpdate, 10_000)
	for i := range updates {
		updates[i] = RefUpdate{"HEAD", oidA, fmt.Sprintf("refs/heads/agent-%d/fix-%d/topic", i, i%20), zero}
	}
	return updates
}

func BenchmarkGuard10000x100(b *testing.B) {
	guard := Guard{Policy: mustCompile(b, manyRules()...)}
	updates := manyUpdates()
	for b.Loop() {
		guard.Check(b.Context(), updates)
	}
}

func TestGuardIsFast(t *testing.T) {
	guard := Guard{Policy: mustCompile(t, manyRules()...)}
	updates := manyUpdates()
	best := time.Hour
	for range 5 {
		start := time.Now()
		guard.Check(t.Context(), updates)
		best = min(best, time.Since(start))
	}
	if limit := 500 * time.Millisecond; best > limit {
		t.Errorf("10,000 updates against 100 patterns took %v, want under %v", best, limit)
	}
}

// A pattern full of wildcards must not take exponential time for a name that almost
// matches.
func TestMatchingDoesNotRunAway(t *testing.T) {
	for _, pattern := range []string{
		"*a*a*b", "?*?*?*b", "**a**a*b", "*a*/**/*a*/**/c/b", "**/*a*a/**/*a*a/c/b", strings.Repeat("*/", 20) + "b",
	} {
		policy := mustCompile(t, Entry{Ref: pattern})
		for _, ref := range []string{"refs/heads/" + strings.Repeat("a", 1000) + "b/b", "refs/heads/" + strings.Repeat("a/", 500) + "bc/b", "refs/heads/" + strings.Repeat("aaaaaaaa/", 110) + "c/b"} {
			best := time.Hour
			for tries := 0; tries < 5 && best > time.Second; tries++ { // the machine may stall
				start := time.Now()
				policy.Matching(ref)
				best = min(best, time.Since(start))
			}
			if best > time.Second {
				t.Errorf("%q against %.30q… took %v, want under a second", pattern, ref, best)
			}
		}
	}
}
