package refs

import (
	"context"
	"reflect"
	"strings"
	"testing"
)

func TestGuardClassifies(t *testing.T) {
	const main, tag = "refs/heads/main", "refs/tags/v1"
	create := func(ref string) RefUpdate { return RefUpdate{"HEAD", oidA, ref, zero} }
	change := func(ref string) RefUpdate { return RefUpdate{"HEAD", oidA, ref, oidB} }
	remove := func(ref string) RefUpdate { return RefUpdate{"(delete)", zero, ref, oidB} }
	only := func(vs ...Verb) Entry { return Entry{Ref: "refs/**", Allow: vs} }
	for _, c := range []struct {
		name  string
		rule  Entry
		u     RefUpdate
		ff    bool
		asked bool
		want  Verb // the verb denied, "" when allowed
	}{
		{"plain creates", Entry{Ref: "main"}, create(main), false, false, ""},
		{"plain fast-forwards", Entry{Ref: "main"}, change(main), true, true, ""},
		{"plain does not force", Entry{Ref: "main"}, change(main), false, true, Force},
		{"plain does not delete", Entry{Ref: "main"}, remove(main), false, false, Delete},
		{"plain creates a tag", Entry{Ref: "refs/tags/*"}, create(tag), false, false, ""},
		{"plain does not move a tag", Entry{Ref: "refs/tags/*"}, change(tag), true, false, Move},
		{"update and force do not move a tag", only(Create, Update, Force, Delete), change(tag), true, false, Move},
		{"move moves a tag", only(Move), change(tag), false, false, ""},
		{"move is nothing for a branch", only(Move), change(main), true, false, Update},
		{"delete deletes a tag", only(Delete), remove(tag), false, false, ""},
		{"force alone forces", only(Force), change(main), false, true, ""},
		{"force alone does not fast-forward", only(Force), change(main), true, true, Update},
		{"neither needs an object", only(Update, Force), change(main), false, false, ""},
		{"create only", only(Create), change(main), true, false, Update},
		{"nothing changes", only(Update), RefUpdate{"HEAD", oidA, main, oidA}, false, false, ""},
		{"another namespace", Entry{Ref: "main"}, create("refs/for/main"), false, false, Create},
	} {
		t.Run(c.name, func(t *testing.T) {
			asked := false
			g := Guard{Policy: mustCompile(t, c.rule), Ancestry: func(_ context.Context, changes []Change) []Relation {
				asked = true
				return []Relation{{FastForward: c.ff}}
			}}
			denials := g.Check(t.Context(), []RefUpdate{c.u})
			var got Verb
			if len(denials) > 0 {
				got = denials[0].Verb
			}
			if got != c.want || asked != c.asked {
				t.Errorf("Check denies %q, asked = %v, want %q, %v", got, asked, c.want, c.asked)
			}
		})
	}
}

func TestZeroGuardDeniesEverything(t *testing.T) {
	updates := []RefUpdate{{"HEAD", oidA, "refs/heads/x", zero}, {"HEAD", oidA, "refs/heads/y", oidB}}
	if got := (Guard{}).Check(t.Context(), updates); len(got) != 2 {
		t.Errorf("Guard{}.Check = %v, want two denials", got)
	}
}

func TestWithoutAncestryEveryChangeIsForced(t *testing.T) {
	g := Guard{Policy: mustCompile(t, Entry{Ref: "x"})}
	got := g.Check(t.Context(), []RefUpdate{{"HEAD", oidA, "refs/heads/x", oidB}})
	if len(got) != 1 || got[0].Verb != Force {
		t.Errorf("Check = %v, want one denial of force", got)
	}
}

// Even if an Ancestry leaves out results, no update passes without a check.
func TestAnAncestryThatLeavesChangesOutAllowsNone(t *testing.T) {
	updates := []RefUpdate{{"HEAD", oidA, "refs/heads/x", oidB}, {"HEAD", oidA, "refs/heads/y", oidB}}
	for _, answer := range [][]Relation{nil, {}, {{FastForward: true}}, {{FastForward: true}, {FastForward: true}, {FastForward: true}}} {
		g := Guard{Policy: mustCompile(t, Entry{Ref: "*"}), Ancestry: func(context.Context, []Change) []Relation { return answer }}
		got := g.Check(t.Context(), updates)
		if len(got) != 2 || got[0].Verb != Force || got[1].Verb != Force {
			t.Errorf("Check with %d answers to two questions = %v, want two denials of force", len(answer), got)
		}
	}
}

func TestGuardKeepsTheOrderAndReportsAll(t *testing.T) {
	g := Guard{Policy: mustCompile(t, Entry{Ref: "ok"}, Entry{Ref: "ff*"}), Ancestry: func(_ context.Context, changes []Change) []Relation {
		return []Relation{{FastForward: true}, {Unknown: "no history"}}
	}}
	denials := g.Check(t.Context(), []RefUpdate{
		{"a", oidA, "refs/heads/one", zero},
		{"b", oidA, "refs/heads/ff1", oidB},
		{"c", oidA, "refs/heads/ff2", oidB},
		{"d", oidA, "refs/heads/ok", zero},
		{"(delete)", zero, "refs/heads/ok", oidB},
	})
	var got []string
	for _, d := range denials {
		got = append(got, d.Error())
	}
	want := []string{
		"push to refs/heads/one denied: no rule allows it (create); allowed: ok, ff*",
		"push to refs/heads/ff2 denied: this would force the ref to other history; rule ff* allows create, update (no history); allowed: ok, ff*",
		"push to refs/heads/ok denied: this would delete the ref; rule ok allows create, update; allowed: ok, ff*",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("Check =\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestDeniedErrorIsSafeToPrint(t *testing.T) {
	policy := mustCompile(t, Entry{Ref: "agent/**", Allow: []Verb{Create, Force}})
	_, err := policy.Check("refs/heads/x\u202e\u009b31m\xff", Create)
	want := `push to refs/heads/x\u202e\u009b31m\xff denied: no rule allows it (create); allowed: agent/** (create, force)`
	if err == nil || err.Error() != want {
		t.Errorf("Check = %v, want %s", err, want)
	}
	var none *Policy
	if _, err := none.Check("refs/heads/x", Create); err == nil || !strings.HasSuffix(err.Error(), "this workspace may not push anything") {
		t.Errorf("Check = %v, want it to say that nothing may be pushed", err)
	}
	_, err = mustCompile(t, entries(strings.Fields(strings.Repeat("a ", 100))...)...).Check("refs/heads/x", Create)
	if err == nil || len(err.Error()) > 200 || !strings.HasSuffix(err.Error(), "…") {
		t.Errorf("Check = %v, want a list that is cut", err)
	}
}
