package operator

import (
	"context"
	"errors"
	"time"

	"github.com/gatepass/gatepass/mint"
	v1 "github.com/gatepass/gatepass/operator/api/v1"
	"github.com/gatepass/gatepass/operator/apps"
	"github.com/gatepass/gatepass/operator/tenant"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
)

const (
	appCheckEvery = time.Minute      // interval between checks of an App: no event reports that its key changed
	keyCheckEvery = 5 * time.Second  // interval while the key is missing or wrong; GitHub is not asked each time
	retryApp      = 15 * time.Second // wait after GitHub did not answer
	appTimeout    = 15 * time.Second // timeout for GitHub's answer about a key
)

// An AppReconciler reports in the status of each App whether it can be used, and proves
// its key to GitHub where the App asks for that.
type AppReconciler struct {
	Client   client.Client // may cache Apps and the metadata of namespaces
	Events   events.EventRecorder
	Apps     *apps.Registry
	Policies func(context.Context) (*tenant.Policies, error)
	Watches  func(namespace string) bool // reports whether a namespace is reconciled; nil means all are
}

// Permit asks the policies whether an App may sign with its key. It serves as Permit of
// [apps.Registry].
func (r *AppReconciler) Permit(ctx context.Context, app *v1.App) (denied, err error) {
	home := tenant.Namespace{Name: app.Namespace}
	if app.Spec.Provider == v1.ProviderSecret {
		return new(tenant.Policies).CheckApp(*app, home, r.Apps.GitHub), nil
	}
	namespace := &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}}
	if err := r.Client.Get(ctx, types.NamespacedName{Name: app.Namespace}, namespace); err != nil {
		return nil, err
	}
	home.Labels = namespace.Labels
	policies, err := r.Policies(ctx)
	if err != nil {
		return nil, err
	}
	return policies.CheckApp(*app, home, r.Apps.GitHub), nil
}

// Reconcile checks one App and writes its status.
func (r *AppReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	ref := apps.Ref(request.NamespacedName)
	var app v1.App
	if err := r.Client.Get(ctx, request.NamespacedName, &app); err != nil {
		if client.IgnoreNotFound(err) == nil {
			r.Apps.Drop(ref)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	seen, err := r.check(ctx, ref)
	if errors.Is(err, apps.ErrNotFound) {
		return ctrl.Result{}, nil
	}
	if err != nil {
		return ctrl.Result{}, err
	}
	if err := r.report(ctx, &app, seen); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if seen.again > 0 {
		return ctrl.Result{RequeueAfter: min(seen.again, appCheckEvery)}, nil
	}
	return ctrl.Result{RequeueAfter: appCheckEvery}, nil
}

// An appView is the result of checking an App.
type appView struct {
	ready, keyValid metav1.Condition // keyValid is the zero Condition if the key is not validated
	slug            string           // "" if unknown
	isStalled       bool             // only a change of the objects helps
	again           time.Duration    // when to check again; 0 means the usual interval
}

func (r *AppReconciler) check(ctx context.Context, ref apps.Ref) (appView, error) {
	app, err := r.Apps.Get(ctx, ref)
	if e, ok := errors.AsType[*apps.NotReady](err); ok {
		return notReadyView(e), nil
	}
	if err != nil {
		return appView{}, err
	}
	if !app.ValidateKey {
		return appView{ready: condition(metav1.ConditionTrue, v1.ReasonReady, "the App can be used; its key was not checked at GitHub (validateKey)")}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, appTimeout)
	defer cancel()
	self, err := app.Self(ctx)
	if err != nil {
		return unvalidatedView(app, err), nil
	}
	return appView{
		ready:    condition(metav1.ConditionTrue, v1.ReasonReady, "the App can be used"),
		keyValid: condition(metav1.ConditionTrue, v1.ReasonReady, "GitHub accepts the key for the App "+self.Slug),
		slug:     self.Slug,
	}, nil
}

func condition(status metav1.ConditionStatus, reason, message string) metav1.Condition {
	return metav1.Condition{Status: status, Reason: reason, Message: message}
}

// notReadyView returns the view of an App that cannot be used. GitHub may have refused the
// key of an App that does not ask for validation: a mint found out.
func notReadyView(e *apps.NotReady) appView {
	v := appView{
		ready:     condition(metav1.ConditionFalse, e.Reason, e.Message),
		keyValid:  condition(metav1.ConditionUnknown, e.Reason, e.Message),
		isStalled: e.RetryAfter == 0 || e.Reason == v1.ReasonKeyInvalid,
	}
	if e.RetryAfter > 0 {
		v.again = keyCheckEvery
	}
	if e.Reason == v1.ReasonKeyInvalid {
		v.keyValid.Status = metav1.ConditionFalse
	}
	return v
}

// unvalidatedView returns the view of an App whose key could not be validated. If GitHub could
// not be asked, the App may be used all the same.
func unvalidatedView(app *apps.App, err error) appView {
	e, ok := errors.AsType[*mint.Error](err)
	if !ok {
		e = &mint.Error{Kind: mint.Unavailable, Op: "ask GitHub which App this is", Err: err}
	}
	message := app.Explain(e)
	switch e.Kind {
	case mint.BadKey:
		return notReadyView(&apps.NotReady{Reason: v1.ReasonKeyInvalid, Message: message, RetryAfter: appCheckEvery})
	case mint.Unsigned, mint.Refused, mint.Skewed:
		return notReadyView(&apps.NotReady{Reason: v1.ReasonAppNotReady, Message: message, RetryAfter: appCheckEvery})
	case mint.RateLimited:
		return appView{
			ready:    condition(metav1.ConditionUnknown, v1.ReasonRateLimited, message),
			keyValid: condition(metav1.ConditionUnknown, v1.ReasonRateLimited, message), again: e.RetryAfter,
		}
	}
	return appView{
		ready:    condition(metav1.ConditionUnknown, v1.ReasonFailed, message),
		keyValid: condition(metav1.ConditionUnknown, v1.ReasonFailed, message), again: retryApp,
	}
}

// report writes the status if it differs, and records an Event if Ready changed.
func (r *AppReconciler) report(ctx context.Context, app *v1.App, v appView) error {
	before := app.DeepCopy()
	r.fill(app, v)
	if equality.Semantic.DeepEqual(before.Status, app.Status) {
		return nil
	}
	if err := r.Client.Status().Patch(ctx, app, client.MergeFrom(before), Manager); err != nil {
		return err
	}
	r.event(before, app)
	return nil
}

// fill writes a view into the status.
func (r *AppReconciler) fill(app *v1.App, v appView) {
	s := &app.Status
	s.ObservedGeneration = app.Generation
	if v.slug != "" || v.ready.Status == metav1.ConditionFalse {
		s.Slug = v.slug
	}
	r.set(app, v1.ConditionReady, true, v.ready)
	r.set(app, v1.ConditionKeyValid, app.Spec.ValidateKey, v.keyValid)
	r.set(app, v1.ConditionStalled, v.isStalled, condition(metav1.ConditionTrue, v.ready.Reason, v.ready.Message))
	r.set(app, v1.ConditionReconciling, v.ready.Status == metav1.ConditionUnknown, condition(metav1.ConditionTrue, v.ready.Reason, v.ready.Message))
}

// set adds the condition if it is wanted, and removes it otherwise.
func (r *AppReconciler) set(app *v1.App, kind string, isWanted bool, c metav1.Condition) {
	if !isWanted {
		meta.RemoveStatusCondition(&app.Status.Conditions, kind)
		return
	}
	c.Type, c.ObservedGeneration = kind, app.Generation
	meta.SetStatusCondition(&app.Status.Conditions, c)
}

// event records an Event when the status or the reason of Ready changed.
func (r *AppReconciler) event(before, after *v1.App) {
	old, now := meta.FindStatusCondition(before.Status.Conditions, v1.ConditionReady), meta.FindStatusCondition(after.Status.Conditions, v1.ConditionReady)
	if old != nil && old.Status == now.Status && old.Reason == now.Reason && old.Message == now.Message {
		return
	}
	kind := corev1.EventTypeWarning
	if now.Status == metav1.ConditionTrue {
		kind = corev1.EventTypeNormal
	}
	r.Events.Eventf(after, nil, kind, now.Reason, "Validate", "%s", now.Message[:min(len(now.Message), 1000)])
}

// appWorkers is how many Apps are reconciled at the same time.
const appWorkers = 4

// upkeepEvery is how often the registry revokes unwanted tokens and renews logins.
const upkeepEvery = 15 * time.Second

// SetupWithManager has the manager reconcile an App when the App, a policy, or the
// labels of its namespace change, and maintain the registry. Both run only while this
// process leads.
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
	return mgr.Add(manager.RunnableFunc(r.upkeep))
}

// appsOf returns the Apps that a change of a policy or a namespace affects.
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
		log.FromContext(ctx).Error(err, "list the Apps that a change affects")
		return nil // each is checked within a minute anyway
	}
	var all []ctrl.Request
	for i := range list.Items {
		all = append(all, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
	}
	return all
}

// upkeep maintains the registry until ctx ends.
func (r *AppReconciler) upkeep(ctx context.Context) error {
	said := ""
	for {
		said = r.reportOwn(ctx, said)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(upkeepEvery):
		}
		if err := r.Apps.Upkeep(ctx); err != nil && ctx.Err() == nil {
			log.FromContext(ctx).Info("unwanted tokens are not revoked yet", "error", err.Error())
		}
	}
}

// reportOwn logs whether the operator's own App can be used, and GitHub's answer about
// its key if validate_key is set. The operator's own App has no object with a status.
// It returns what it logged, and logs nothing twice.
func (r *AppReconciler) reportOwn(ctx context.Context, said string) string {
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
	return "GitHub accepts the key of the operator's own App, " + self.Slug, true
}
