package operator

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gatepass/gatepass/mint"
	v1 "github.com/gatepass/gatepass/operator/api/v1"
	"github.com/gatepass/gatepass/operator/apps"
	"github.com/gatepass/gatepass/operator/ledger"
	"github.com/gatepass/gatepass/operator/plan"
	"github.com/gatepass/gatepass/operator/tenant"
)

// A Reconciler keeps the Secrets of Tokens and ClusterTokens.
type Reconciler struct {
	Client  client.Client // cached, but for Secrets
	Cache   cache.Cache   // of the metadata of Secrets and namespaces
	Secrets client.Reader // asks the API server each time
	Events  events.EventRecorder

	Apps    *apps.Registry
	Pacer   *apps.Pacer
	Ledger  *ledger.Ledger
	Metrics *Metrics

	Namespace       string   // the operator's own
	WatchNamespaces []string // the only ones with Secrets that it may write; empty is all

	memories memories

	mu       sync.Mutex // guards the two
	revokers map[string]*mint.App
	queue    queue

	compiled tenant.Cache
}

// maxRounds is how often a reconcile plans anew before it ends. A mint needs three:
// mint, deliver, clean up.
const maxRounds = 8

// Reconcile brings one object into order, and the records of objects that had its name.
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
	decision, err := r.carryOut(ctx, v)
	if err != nil {
		return ctrl.Result{}, err
	}
	if err := r.report(ctx, v, decision); err != nil {
		return ctrl.Result{}, err
	}
	if !decision.Again.IsZero() {
		again = sooner(again, max(decision.Again.Sub(v.in.Now), time.Millisecond))
	}
	return ctrl.Result{RequeueAfter: again, Priority: new(0)}, nil // not that of the start
}

// sooner returns the shorter wait; zero means no wait.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// load reads an object; nil where it is gone.
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

// orphan is the subject of a record whose object is gone.
func orphan(o ledger.Owner) *subject {
	object := &metav1.PartialObjectMetadata{}
	object.SetGroupVersionKind(v1.GroupVersion.WithKind(o.Kind))
	object.SetNamespace(o.Namespace)
	object.SetName(o.Name)
	object.SetUID(o.UID)
	return &subject{object: object, kind: o.Kind, access: &v1.Access{}, shape: &v1.SecretShape{}, status: &v1.TokenStatus{}}
}

// clearOrphans takes away what objects left that had this name.
func (r *Reconciler) clearOrphans(ctx context.Context, key apps.Key, s *subject) (again time.Duration, err error) {
	for _, owner := range r.Ledger.Owners(ledger.Key(key)) {
		if s != nil && s.object.GetUID() == owner.UID {
			continue
		}
		wait, err := r.deleteOrphan(ctx, owner)
		if err != nil {
			return 0, err
		}
		again = sooner(again, wait)
	}
	return again, nil
}

// carryOut plans and acts until nothing is left to do now.
func (r *Reconciler) carryOut(ctx context.Context, v *view) (plan.Decision, error) {
	for range maxRounds {
		decision := plan.Plan(v.in)
		if len(decision.Steps) == 0 {
			r.Pacer.Forget(keyOf(v.subject))
			return decision, nil
		}
		for _, step := range decision.Steps {
			switch err := r.do(ctx, v, step); {
			case errors.Is(err, errQueued):
				return plan.Plan(v.in), nil // which says why it waits; the pacer wakes it
			case err != nil:
				return decision, err
			}
		}
		v.in.Now = v.now()
	}
	return plan.Decision{}, fmt.Errorf("reconcile %s %s/%s: it does not settle", v.kind, v.object.GetNamespace(), v.object.GetName())
}

// policies returns the TenantPolicies and a text that changes with them.
func (r *Reconciler) policies(ctx context.Context) (*tenant.Policies, string, error) {
	var list v1.TenantPolicyList
	if err := r.Client.List(ctx, &list); err != nil {
		return nil, "", err
	}
	policies, version := r.compiled.Compile(list.Items)
	return policies, version, nil
}
