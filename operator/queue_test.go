package operator

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/operator/apps"
	"github.com/gatepass/gatepass/operator/plan"
)

// A queued object is planned as a reconcile does, and mints by the pacer.
type queuedObject struct {
	*view
	next time.Time // when it is looked at again; zero waits to be woken
}

// step plans and acts until the object is settled or queued.
func (o *queuedObject) step(r *Reconciler) {
	for {
		o.in.Now, o.in.Queued = time.Now(), nil
		d := plan.Plan(o.in)
		o.next = d.Again
		if len(d.Steps) == 0 {
			r.Pacer.Forget(keyOf(o.subject))
			return
		}
		for _, s := range d.Steps {
			switch ask := o.view.mintRequest(s); {
			case s.Do == plan.Deliver:
				o.in.Secret = plan.Secret{State: plan.Ours, Token: s.Token, Intact: true}
			case !r.Pacer.Acquire(ask):
				o.in.Queued = waitRefusal(r.Pacer, ask)
				o.next = plan.Plan(o.in).Again
				return
			default:
				made := plan.Held{ID: fmt.Sprint(o.in.UID, o.in.Now.Unix()), Scope: "s", Made: o.in.Now, Expires: o.in.Now.Add(time.Hour)}
				o.in.Held = append([]plan.Held{made}, o.in.Held...)
			}
		}
	}
}

// inUse has a token that is so old; fresh has none.
func inUse(i int, age time.Duration) *queuedObject {
	o := fresh(i)
	o.in.Held = []plan.Held{{ID: "first", Scope: "s", Made: o.next.Add(-age), Expires: o.next.Add(time.Hour - age)}}
	o.in.Secret = plan.Secret{State: plan.Ours, Token: "first", Intact: true}
	return o
}

func fresh(i int) *queuedObject {
	o := &queuedObject{view: &view{subject: ofToken(token("ns", fmt.Sprint(i))), app: &apps.App{}, memory: &memory{}}, next: time.Now()}
	o.in = plan.Input{
		UID: fmt.Sprint(i), Scope: "s", RefreshInterval: 30 * time.Minute, RetryInterval: time.Minute, MinTTL: 10 * time.Minute, Verdict: plan.Permitted,
	}
	return o
}

// Hundreds of Tokens are in use when thousands are created: for half an hour the App mints
// as fast as it may, and no token in use gets old
// (isometry/github-token-manager#47, crossplane-contrib/provider-upjet-github#137).
func TestNoTokenGetsOldBehindNewOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const used, created = 300, 4500
		var mu sync.Mutex // guards woken
		var woken []apps.Key
		r := &Reconciler{Pacer: apps.NewPacer(150, func(k apps.Key) { mu.Lock(); woken = append(woken, k); mu.Unlock() })}
		objects, byKey := []*queuedObject{}, map[apps.Key]*queuedObject{}
		for i := range used + created {
			o := fresh(i)
			if i < used {
				o = inUse(i, time.Duration(i)*25*time.Minute/used)
			}
			objects, byKey[keyOf(o.subject)] = append(objects, o), o
		}
		late := 0
		for end := time.Now().Add(45 * time.Minute); time.Now().Before(end); time.Sleep(time.Second) {
			for _, o := range objects {
				if !o.next.IsZero() && !time.Now().Before(o.next) {
					o.step(r)
				}
			}
			synctest.Wait()
			mu.Lock()
			turn := woken
			woken = nil
			mu.Unlock()
			for _, k := range turn {
				byKey[k].step(r)
			}
			for _, o := range objects[:used] {
				if time.Until(o.in.Held[0].Expires) < o.in.MinTTL {
					late++
				}
			}
		}
		for _, o := range objects {
			if len(o.in.Held) == 0 {
				t.Fatal("a Token has no token after 45 minutes")
			}
		}
		if late > 0 {
			t.Errorf("tokens in use had too little life left, %d seconds in all", late)
		}
	})
}
