package refs_test

import (
	"context"
	"fmt"

	"github.com/gatepass/gatepass/hooks/refs"
)

// Which pushes a list of refs allows.
func ExamplePolicy_Check() {
	policy, err := refs.Compile([]refs.Entry{
		{Ref: "main"},
		{Ref: "agent/**", Allow: []refs.Verb{refs.Create, refs.Update, refs.Force}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, push := range []struct {
		ref  string
		verb refs.Verb
	}{
		{"refs/heads/main", refs.Update},
		{"refs/heads/main", refs.Force},
		{"refs/heads/agent/fix/1", refs.Force},
		{"refs/tags/main", refs.Create},
	} {
		rule, err := policy.Check(push.ref, push.verb)
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(push.verb, push.ref, "is allowed by", rule.Ref)
	}
	// Output:
	// update refs/heads/main is allowed by main
	// push to refs/heads/main denied: this would force the ref to other history; rule main allows create, update; allowed: main, agent/** (create, update, force)
	// force refs/heads/agent/fix/1 is allowed by agent/**
	// push to refs/tags/main denied: no rule allows it (create); allowed: main, agent/** (create, update, force)
}

// A pre-push hook of your own: it reads git's lines and denies what the policy does not allow.
func ExampleGuard_Check() {
	const (
		zero = "0000000000000000000000000000000000000000"
		one  = "1111111111111111111111111111111111111111"
	)
	policy, err := refs.Compile([]refs.Entry{{Ref: "agent/**"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	updates, err := refs.ParseUpdates([]byte(
		"refs/heads/agent/fix " + one + " refs/heads/agent/fix " + zero + "\n" +
			"(delete) " + zero + " refs/heads/release " + one + "\n"))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, denied := range (refs.Guard{Policy: policy}).Check(context.Background(), updates) {
		fmt.Println(denied)
	}
	// Output:
	// push to refs/heads/release denied: no rule allows it (delete); allowed: agent/**
}
