package plan_test

import (
	"fmt"
	"time"

	"github.com/gatepass/gatepass/operator/plan"
)

// A working Secret is replaced by a token that is ten seconds old: Plan says to mint,
// then to wait, then to deliver.
func ExamplePlan() {
	start := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	target := plan.Ref{Namespace: "flux-system", Name: "git"}
	in := plan.Input{
		UID: "u", Scope: "acme/widgets", Target: target, Verdict: plan.Permitted, Recorded: true,
		RefreshInterval: 30 * time.Minute, RetryInterval: 5 * time.Minute, MinTTL: 10 * time.Minute,
		Held:   []plan.Held{{ID: "old", Scope: "acme/widgets", Made: start, Expires: start.Add(time.Hour)}},
		Secret: plan.Secret{State: plan.Ours, Token: "old", Intact: true},
	}
	at := func(minute, second int) {
		in.Now = start.Add(time.Duration(minute)*time.Minute + time.Duration(second)*time.Second)
		d := plan.Plan(in)
		fmt.Printf("%02d:%02d %s:", minute, second, d.Ready.Reason)
		for _, s := range d.Steps {
			fmt.Print(" ", s.Do)
			if s.Token != "" {
				fmt.Print(" ", s.Token)
			}
		}
		fmt.Println()
	}
	at(5, 0)
	at(31, 0)
	in.Held = append(in.Held, plan.Held{ID: "new", Scope: "acme/widgets", Made: in.Now, Expires: in.Now.Add(time.Hour)})
	at(31, 1)
	at(31, 11)
	// Output:
	// 05:00 Refreshed:
	// 31:00 Refreshed: mint
	// 31:01 Refreshed:
	// 31:11 Refreshed: deliver new
}

// What a policy does not allow is not minted, and a live token is revoked.
func ExamplePlan_denied() {
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	d := plan.Plan(plan.Input{
		Now: now, UID: "u", Scope: "acme/widgets", Target: plan.Ref{Namespace: "ns", Name: "git"}, Recorded: true,
		RefreshInterval: 30 * time.Minute, RetryInterval: 5 * time.Minute, MinTTL: 10 * time.Minute,
		Held:    []plan.Held{{ID: "old", Scope: "acme/widgets", Made: now, Expires: now.Add(time.Hour)}},
		Secret:  plan.Secret{State: plan.Ours, Token: "old", Intact: true},
		Verdict: plan.Denied, Policy: plan.Refusal{Reason: "NotPermitted", Message: "no TenantPolicy allows acme/widgets"},
	})
	for _, s := range d.Steps {
		fmt.Println(s.Do, s.Token+s.Secret.Name)
	}
	fmt.Println(d.Permitted.Status, d.Ready.Reason)
	// Output:
	// revoke old
	// remove git
	// False NotPermitted
}
