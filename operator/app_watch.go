package operator

import (
	"context"
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	v1 "github.com/gatepass/gatepass/operator/api/v1"
	"github.com/gatepass/gatepass/operator/apps"
)

// appWorkers is how many Apps are looked at at once.
const appWorkers = 4

// tendEvery is how often the registry takes back what was not wanted, and renews logins.
const tendEvery = 15 * time.Second

// SetupWithManager has the manager reconcile Apps when they change, and when a policy or
// the labels of their namespace do, and tend the registry. Both only while it leads.
func (r *AppReconciler) SetupWithManager(mgr manager.Manager) error {
	err := ctrl.NewControllerManagedBy(mgr).Named("app").
		For(&v1.App{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1.TenantPolicy{}, handler.EnqueueRequestsFromMapFunc(r.appsOf), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WatchesMetadata(&corev1.Namespace{}, handler.EnqueueRequestsFromMapFunc(r.appsOf), builder.WithPredicates(predicate.LabelChangedPredicate{})).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: appWorkers, SkipNameValidation: new(true),
			RateLimiter: workqueue.NewTypedItemExponentialFailureRateLimiter[ctrl.Request](firstBackoff, lastBackoff),
		}).
		Complete(r)
	if err != nil {
		return err
	}
	return mgr.Add(manager.RunnableFunc(r.tend))
}

// appsOf returns the Apps that a policy or a namespace is about.
func (r *AppReconciler) appsOf(ctx context.Context, o client.Object) []ctrl.Request {
	var within []client.ListOption
	if _, isPolicy := o.(*v1.TenantPolicy); !isPolicy {
		if r.Watches != nil && !r.Watches(o.GetName()) {
			return nil
		}
		within = append(within, client.InNamespace(o.GetName()))
	}
	var list v1.AppList
	if err := r.Client.List(ctx, &list, within...); err != nil {
		log.FromContext(ctx).Error(err, "list the Apps that a change concerns")
		return nil // each is looked at within a minute
	}
	var all []ctrl.Request
	for i := range list.Items {
		all = append(all, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
	}
	return all
}

// tend looks after the registry until ctx ends.
func (r *AppReconciler) tend(ctx context.Context) error {
	said := ""
	for {
		said = r.tellOwn(ctx, said)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(tendEvery):
		}
		if err := r.Apps.Tend(ctx); err != nil && ctx.Err() == nil {
			log.FromContext(ctx).Info("tokens that were not wanted are not revoked yet", "error", err.Error())
		}
	}
}

// tellOwn logs whether the operator's own App can be used, and what GitHub says to its
// key where validate_key is set. It has no object whose status would say so. It returns
// what it said, and says nothing twice.
func (r *AppReconciler) tellOwn(ctx context.Context, said string) string {
	app, err := r.Apps.Get(ctx, apps.Ref{})
	if errors.Is(err, apps.ErrNotFound) || ctx.Err() != nil {
		return ""
	}
	text, isGood := "the operator's own App can be used", err == nil
	if err != nil {
		text = err.Error()
	}
	if isGood && app.ValidateKey {
		text, isGood = r.prove(ctx, app)
	}
	switch logger := log.FromContext(ctx); {
	case text == said:
	case isGood:
		logger.Info(text)
	default:
		logger.Error(nil, "the operator's own App: "+text)
	}
	return text
}

// prove asks GitHub about the key of an App.
func (r *AppReconciler) prove(ctx context.Context, app *apps.App) (text string, isGood bool) {
	ctx, cancel := context.WithTimeout(ctx, appTimeout)
	defer cancel()
	self, err := app.Self(ctx)
	if err != nil {
		return app.Explain(err), false
	}
	return "GitHub takes the key of the operator's own App, " + self.Slug, true
}
