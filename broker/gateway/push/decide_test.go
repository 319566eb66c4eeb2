package push

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/hooks/refs"
)

func policyOf(t testing.TB, entries ...refs.Entry) *refs.Policy {
	t.Helper()
	p, err := refs.Compile(entries)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func entry(ref string, allow ...refs.Verb) refs.Entry { return refs.Entry{Ref: ref, Allow: allow} }

// requestOf returns a request with commands such as "create refs/heads/x".
func requestOf(commands ...string) *Request {
	q := &Request{Capabilities: Capabilities{flags: ReportStatus | SideBand64k}}
	for _, c := range commands {
		verb, ref, _ := strings.Cut(c, " ")
		ids := map[string][2]string{"create": {zero, oidX}, "update": {oidX, oidY}, "delete": {oidX, zero}}[verb]
		q.Commands = append(q.Commands, Command{ids[0], ids[1], ref})
	}
	return q
}

func TestDecide(t *testing.T) {
	policy := policyOf(t, entry("agent/**"), entry("dev/*", "create", "delete"), entry("forced", "force"), entry("refs/tags/v*", "create"))
	for _, c := range []struct {
		commands []string
		want     []string // part of each reason; nil means allowed
	}{
		{[]string{"create refs/heads/agent/x"}, nil},
		{[]string{"update refs/heads/agent/x/y", "create refs/tags/v1", "delete refs/heads/dev/x"}, nil},
		{[]string{"update refs/heads/main"}, []string{"no rule allows it (update)"}},
		{[]string{"delete refs/heads/agent/x"}, []string{"this would delete the ref; rule agent/** allows create, update"}},
		{[]string{"update refs/heads/dev/x"}, []string{"rule dev/* allows create, delete"}},
		{[]string{"update refs/heads/forced"}, []string{"rule forced allows force"}},
		{[]string{"update refs/tags/v1"}, []string{"move an existing tag"}},
		{[]string{"create refs/heads/agent/x", "update refs/heads/main"}, []string{"another ref in this push is not allowed", "no rule allows it"}},
		{[]string{"create refs/pull/1/head", "create refs/heads/agent/x"}, []string{"only branches and tags", "another ref"}},
	} {
		v := Decide(t.Context(), refs.Guard{Policy: policy, Ancestry: FastForwards}, requestOf(c.commands...))
		checkReasons(t, fmt.Sprint(c.commands), v, c.want)
	}
}

func checkReasons(t *testing.T, what string, v *Verdict, want []string) {
	t.Helper()
	if v.Allowed() != (want == nil) || (v.Head() != nil) != v.Allowed() {
		t.Errorf("%s: Allowed, Head = %v, %q, want %v", what, v.Allowed(), v.Head(), want == nil)
	}
	if !slices.EqualFunc(v.Reasons, want, strings.Contains) {
		t.Errorf("%s: reasons %q, want %q", what, v.Reasons, want)
	}
}

func TestDecideRefusesWithoutAPolicy(t *testing.T) {
	q := requestOf("create refs/heads/x")
	for name, v := range map[string]*Verdict{
		"a guard that is zero":   Decide(t.Context(), refs.Guard{}, q),
		"an empty policy":        Decide(t.Context(), refs.Guard{Policy: policyOf(t)}, q),
		"no commands":            Decide(t.Context(), refs.Guard{Policy: policyOf(t, entry("**"))}, &Request{Capabilities: q.Capabilities}),
		"no report-status":       Decide(t.Context(), refs.Guard{Policy: policyOf(t, entry("**"))}, &Request{Commands: q.Commands}),
		"an objection":           Decide(t.Context(), refs.Guard{Policy: policyOf(t, entry("**"))}, &Request{Commands: q.Commands, Capabilities: q.Capabilities, Objection: "no"}),
		"the size of its pack":   Refuse(policyOf(t, entry("**")), q, "the pack is larger than 4 GiB"),
		"a verdict that is zero": {},
	} {
		if v.Allowed() || v.Head() != nil {
			t.Errorf("%s: the push is allowed", name)
		}
	}
}

// Without ancestry every change is a forced one, as in the guard.
func TestDecideAsksTheAncestry(t *testing.T) {
	q := requestOf("update refs/heads/agent/x")
	guard := refs.Guard{Policy: policyOf(t, entry("agent/**"))}
	checkReasons(t, "no ancestry", Decide(t.Context(), guard, q), []string{"this would force the ref"})
	guard.Ancestry = func(context.Context, []refs.Change) []refs.Relation {
		return []refs.Relation{{Unknown: "the server did not say"}}
	}
	checkReasons(t, "ancestry that does not know", Decide(t.Context(), guard, q), []string{"(the server did not say)"})
	guard.Ancestry = FastForwards
	checkReasons(t, "FastForwards", Decide(t.Context(), guard, q), nil)
}

// A push whose names are slow to match ends with its request.
func TestDecideEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	begin := time.Now()
	v := Decide(ctx, refs.Guard{Policy: policyOf(t, entry("**x*x*/**x*y"), entry("**")), Ancestry: FastForwards}, read(t, manyOf(2000, 240)))
	if took := time.Since(begin); v.Allowed() || !strings.Contains(v.Reasons[0], "the push has too many refs to decide in time; push fewer at once") || took > 3*time.Second {
		t.Errorf("Allowed, first reason = %v, %q after %v", v.Allowed(), v.Reasons[0], took)
	}
}

func TestNames(t *testing.T) {
	wide := policyOf(t, entry("**"), entry("refs/tags/**"), entry("Release"))
	narrow := policyOf(t, entry("agent/**"), entry("fix/*#*"), entry("übung"), entry("odd/-*"))
	both := policyOf(t, entry("main"), entry("Main"), entry("**"), entry("refs/tags/Main"))
	oid := strings.Repeat("aB1", 14)[:40]
	for _, c := range []struct {
		policy    *refs.Policy
		ref, want string
	}{
		{wide, "refs/heads/main", ""},
		{wide, "refs/heads/x/y.z_1-2", ""},
		{wide, "refs/heads/" + oid[:39], ""},
		{wide, "refs/heads/" + oid, "looks like an object ID"},
		{wide, "refs/tags/" + strings.Repeat("0", 64), "looks like an object ID"},
		{wide, "refs/heads/" + strings.Repeat("x", 255), ""},
		{wide, "refs/heads/" + strings.Repeat("é", 128), "longer than the 255 bytes"},
		{wide, "refs/heads/HEAD", "HEAD is ambiguous"},
		{wide, "refs/heads/head", "HEAD is ambiguous"},
		{wide, "refs/tags/HEAD", "HEAD is ambiguous"},
		{wide, "refs/heads/refs/heads/main", "starts with refs/"},
		{wide, "refs/heads/Refs/heads/main", "starts with refs/"},
		{wide, "refs/heads/Main", "differs from branch main in case only"},
		{wide, "refs/heads/MASTER", "differs from branch master in case only"},
		{wide, "refs/heads/Release", ""},
		{wide, "refs/heads/release", "differs from branch Release"},
		{wide, "refs/tags/main", "the tag has the name of branch main"},
		{wide, "refs/tags/Main", "the tag has the name of branch main"},
		{wide, "refs/tags/v1", ""},
		{wide, "refs/heads/$(id)", `"$"`},
		{wide, "refs/heads/a`b", "\"`\""},
		{wide, "refs/heads/a'b", `"'"`},
		{wide, "refs/heads/a;b", `";"`},
		{wide, "refs/heads/mаin", `"а"`}, // a Cyrillic a
		{wide, "refs/heads/ma\u200bin", `"\u200b"`},
		{wide, "refs/heads/-x", `"/-"`},
		{wide, "refs/heads/a/-x", `"/-"`},
		{wide, "refs/notes/commits", "only branches and tags"},
		{wide, "refs/replace/" + oid, "only branches and tags"},
		{wide, "refs/for/main", "only branches and tags"},
		{wide, "refs/stash", "only branches and tags"},
		{both, "refs/heads/main", ""},
		{both, "refs/heads/Main", ""},
		{both, "refs/heads/MAIN", "in case only"},
		{both, "refs/tags/Main", ""},
		{narrow, "refs/heads/fix/a#1", ""},
		{narrow, "refs/heads/agent/a#1", `"#"`},
		{narrow, "refs/heads/übung", ""},
		{narrow, "refs/heads/odd/-x", ""},
	} {
		n := namesFor(c.policy, nil)
		if got := n.check(c.ref); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("check(%q) = %q, want %q", c.ref, got, c.want)
		}
	}
}

func TestATagLikeABranchOfTheSamePush(t *testing.T) {
	guard := refs.Guard{Policy: policyOf(t, entry("**"), entry("refs/tags/**"))}
	v := Decide(t.Context(), guard, requestOf("create refs/heads/v1", "create refs/tags/v1"))
	checkReasons(t, "branch and tag v1", v, []string{"another ref", "a branch of the same name"})
}

// The texts that people read, and programs may search for.
func TestAnswer(t *testing.T) {
	policy := policyOf(t, entry("agent/sb-1/**", "create", "update", "force", "delete"), entry("release/*"))
	q := requestOf("update refs/heads/main", "create refs/heads/agent/sb-1/x")
	v := Decide(t.Context(), refs.Guard{Policy: policy, Ancestry: FastForwards}, q)
	report := pkts(
		"unpack ok\n",
		"ng refs/heads/main gatepass: no rule allows it (update)\n",
		"ng refs/heads/agent/sb-1/x gatepass: another ref in this push is not allowed\n",
	) + "0000"
	text := "gatepass: the whole push is refused; nothing was forwarded\n" +
		"gatepass: allowed: agent/sb-1/** (create, update, force, delete), release/*\n" +
		"gatepass: for example: git push origin HEAD:refs/heads/agent/sb-1/work\n"
	var got strings.Builder
	if err := v.Answer(&got); err != nil || got.String() != pkts("\x02"+text, "\x01"+report)+"0000" {
		t.Errorf("Answer = %q, %v", got.String(), err)
	}
	got.Reset()
	q.Capabilities.flags = ReportStatus
	if err := v.Answer(&got); err != nil || got.String() != report || q.KeepAlive() != nil {
		t.Errorf("without a side-band: Answer = %q, %v, and keep-alive %q", got.String(), err, q.KeepAlive())
	}
}

// The policy allows the example in its answer.
func TestTheExampleCanBePushed(t *testing.T) {
	for _, c := range []struct {
		entries []refs.Entry
		want    string
	}{
		{[]refs.Entry{entry("main")}, "refs/heads/main"},
		{[]refs.Entry{entry("refs/tags/*"), entry("main", "update"), entry("a/**/b?")}, "refs/heads/a/work/bx"},
		{[]refs.Entry{entry("x", "delete")}, ""},
		{[]refs.Entry{entry("refs/notes/*")}, ""},
	} {
		policy := policyOf(t, c.entries...)
		got := example(policy)
		if got != c.want {
			t.Errorf("example(%v) = %q, want %q", c.entries, got, c.want)
		}
		if got != "" && !Decide(t.Context(), refs.Guard{Policy: policy}, requestOf("create "+got)).Allowed() {
			t.Errorf("the example %q is refused", got)
		}
	}
}

// Text from outside cannot break a line of the answer, or make it too long.
func TestAnswerEscapesAndCuts(t *testing.T) {
	q := requestOf("update refs/heads/main")
	v := Refuse(nil, q, "a\nok refs/heads/main\x1b[31m"+strings.Repeat("é", 1000))
	got := string(v.answer())
	if !strings.Contains(got, `gatepass: a\nok refs/heads/main\x1b[31mé`) || len(got) > 1000 || !strings.Contains(got, "this workspace may not push anything") {
		t.Errorf("answer = %.600q", got)
	}
}
