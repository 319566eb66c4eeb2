package operator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	v1 "github.com/gatepass/gatepass/operator/api/v1"
	"github.com/gatepass/gatepass/operator/apps"
	"github.com/gatepass/gatepass/operator/ledger"
	"github.com/gatepass/gatepass/operator/plan"
	"github.com/gatepass/gatepass/operator/tenant"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// A Reconciler maintains the Secrets of Tokens and ClusterTokens.
type Reconciler struct {
	Client  client.Client // caches everything except Secrets
	Cache   cache.Cache   // caches the metadata of Secrets and namespaces
	Secrets client.Reader // does not cache
	Events  events.EventRecorder

	Apps    *apps.Registry
	Pacer   *apps.Pacer
	Ledger  *ledger.Ledger
	Metrics *Metrics

	Namespace       string   // the operator's namespace
	WatchNamespaces []string // the only namespaces with Secrets that it may write; empty means all

	memories memories
	revokers revokers
	triggers *triggers
	compiled tenant.Cache
}

// maxRounds is how often a reconcile may plan again. A mint needs three rounds: mint,
// deliver, clean up.
const maxRounds = 8

// Reconcile reconciles one object, and the records of deleted objects that had its
// name.
func (r *Reconciler) Reconcile(ctx context.Context, key apps.Key) (ctrl.Result, error) {
	s, err := r.load(ctx, key)
	if err != nil {
		return ctrl.Result{}, err
	}
	again, err := r.clearOrphans(ctx, key, s)
	if err != nil {
		return ctrl.Result{}, err
	}
	if s == nil {
		r.Pacer.Forget(key)
		r.Metrics.expires(key, time.Time{})
		return ctrl.Result{RequeueAfter: again, Priority: new(0)}, nil
	}
	if uid := s.object.GetUID(); r.Ledger.Dirty(uid) {
		if err := r.Ledger.Save(ctx, uid, time.Now().Add(-24*time.Hour)); err != nil {
			return ctrl.Result{}, err
		}
	}
	v, err := r.gather(ctx, s)
	if err != nil {
		return ctrl.Result{}, err
	}
	decision, err := r.execute(ctx, v)
	if err != nil {
		return ctrl.Result{}, err
	}
	if err := r.report(ctx, v, decision); err != nil {
		return ctrl.Result{}, err
	}
	if !decision.Again.IsZero() {
		again = earlier(again, max(decision.Again.Sub(v.in.Now), time.Millisecond))
	}
	return ctrl.Result{RequeueAfter: again, Priority: new(0)}, nil // not the low priority of the start
}

// earlier returns the shorter wait; zero means no wait.
func earlier(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// load reads an object. It returns nil if the object is gone.
func (r *Reconciler) load(ctx context.Context, key apps.Key) (*subject, error) {
	name := client.ObjectKey{Namespace: key.Namespace, Name: key.Name}
	if key.Kind == tenant.KindClusterToken {
		object := &v1.ClusterToken{}
		err := r.Client.Get(ctx, name, object)
		if err != nil {
			return nil, client.IgnoreNotFound(err)
		}
		return ofClusterToken(object, r.Namespace), nil
	}
	object := &v1.Token{}
	if err := r.Client.Get(ctx, name, object); err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	return ofToken(object), nil
}

// orphanSubject returns the subject of a record whose object is gone.
func orphanSubject(o ledger.Owner) *subject {
	object := &metav1.PartialObjectMetadata{}
	object.SetGroupVersionKind(v1.GroupVersion.WithKind(o.Kind))
	object.SetNamespace(o.Namespace)
	object.SetName(o.Name)
	object.SetUID(o.UID)
	return &subject{object: object, kind: o.Kind, access: &v1.Access{}, shape: &v1.SecretShape{}, status: &v1.TokenStatus{}}
}

// clearOrphans revokes and removes what deleted objects of this name left behind.
func (r *Reconciler) clearOrphans(ctx context.Context, key apps.Key, s *subject) (again time.Duration, err error) {
	for _, owner := range r.Ledger.Owners(ledger.Key(key)) {
		if s != nil && s.object.GetUID() == owner.UID {
			continue
		}
		wait, err := r.deleteOrphan(ctx, owner)
		if err != nil {
			return 0, err
		}
		again = earlier(again, wait)
	}
	return again, nil
}

// execute plans and acts until nothing is due.
func (r *Reconciler) execute(ctx context.Context, v *view) (plan.Decision, error) {
	for range maxRounds {
		decision := plan.Plan(v.in)
		if len(decision.Steps) == 0 {
			r.Pacer.Forget(keyOf(v.subject))
			return decision, nil
		}
		for _, step := range decision.Steps {
			switch err := r.doStep(ctx, v, step); {
			case errors.Is(err, errQueued):
				return plan.Plan(v.in), nil // this plan says why it waits; the pacer wakes the object
			case err != nil:
				return decision, err
			}
		}
		v.in.Now = v.now()
	}
	return plan.Decision{}, fmt.Errorf("reconcile %s %s/%s: the object keeps changing", v.kind, v.object.GetNamespace(), v.object.GetName())
}

// policies returns the TenantPolicies, and a text that changes when they change.
func (r *Reconciler) policies(ctx context.Context) (*tenant.Policies, string, error) {
	var list v1.TenantPolicyList
	if err := r.Client.List(ctx, &list); err != nil {
		return nil, "", err
	}
	policies, version := r.compiled.Compile(list.Items)
	return policies, version, nil
}

// A memory is what the process remembers about one object between two reconciles. It
// only saves requests: without it everything is read again.
type memory struct {
	// The Secret as it was last read or written: its resourceVersion, what was wanted
	// then, and its state.
	version string
	wanted  fingerprint
	found   plan.Secret

	basis   fingerprint // a failure counts for this: spec, App, policies, namespace
	failed  map[plan.Action]failure
	repairs repairs
	scope   string // digest of the latest scope, for when the App is missing
}

type failure struct {
	plan.Refusal
	times int
}

// memories has one memory per object. A reconcile uses only the memory of its own
// object: the queue never gives one object to two workers.
type memories struct {
	mu  sync.Mutex // guards all
	all map[types.UID]*memory
}

func (m *memories) of(uid types.UID) *memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.all == nil {
		m.all = map[types.UID]*memory{}
	}
	if m.all[uid] == nil {
		m.all[uid] = &memory{}
	}
	return m.all[uid]
}

func (m *memories) forget(uid types.UID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.all, uid)
}

// resetIfChanged drops failures if what they depend on has changed.
func (m *memory) resetIfChanged(basis fingerprint) {
	if m.basis != basis {
		m.basis = basis
		clear(m.failed)
	}
}

func (m *memory) refusals() map[plan.Action]plan.Refusal {
	all := make(map[plan.Action]plan.Refusal, len(m.failed))
	for do, f := range maps.All(m.failed) {
		all[do] = f.Refusal
	}
	return all
}

// firstRetry is the first wait after an error that may pass quickly. The wait doubles
// up to the retry interval.
const firstRetry = 5 * time.Second

// fail records a failure. If quick is set, the first retries come sooner than the retry
// interval.
func (m *memory) fail(do plan.Action, r plan.Refusal, now time.Time, retry, atLeast time.Duration, quick bool) {
	f := m.failed[do]
	f.times++
	wait := retry
	if quick {
		wait = min(retry, firstRetry<<min(f.times-1, 10))
	}
	r.Until = now.Add(max(wait, atLeast))
	f.Refusal = r
	if m.failed == nil {
		m.failed = map[plan.Action]failure{}
	}
	m.failed[do] = f
}

func (m *memory) succeed(do plan.Action) { delete(m.failed, do) }

// A repairs counts how often a Secret was repaired.
type repairs struct {
	since, latest time.Time
	times         int
}

// A Secret that another writer changed is repaired at once, up to this many times a
// minute, and then more slowly: two programs must not write against each other at full
// speed.
const (
	repairsPerMinute = 20
	repairPause      = 5 * time.Second
)

// mustWaitToRepair counts one more repair, and reports whether it has to wait.
func (m *memory) mustWaitToRepair(now time.Time) bool {
	if now.Sub(m.repairs.since) > time.Minute {
		m.repairs = repairs{since: now}
	}
	if m.repairs.times >= repairsPerMinute && now.Sub(m.repairs.latest) < repairPause {
		return true
	}
	m.repairs.times++
	m.repairs.latest = now
	return false
}
