package operator

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gatepass/gatepass/mint"
	v1 "github.com/gatepass/gatepass/operator/api/v1"
	"github.com/gatepass/gatepass/operator/apps"
	"github.com/gatepass/gatepass/operator/ledger"
	"github.com/gatepass/gatepass/operator/plan"
)

// Argo CD, Flux, kpt and "kubectl wait" go on when an object is Current. Objects whose
// operator says nothing in this form are Current at once, before the Secret exists
// (argoproj/argo-cd#16509, 1Password/onepassword-operator#148).
func TestKstatusOfTokens(t *testing.T) {
	now := time.Now()
	held := plan.Held{ID: "a", Scope: "s", Made: now.Add(-40 * time.Minute), Expires: now.Add(20 * time.Minute)}
	works := plan.Input{
		Now: now, Scope: "s", Target: plan.Ref{Namespace: "ns", Name: "git"}, RefreshInterval: 30 * time.Minute, MinTTL: 10 * time.Minute,
		Held: []plan.Held{held}, Secret: plan.Secret{State: plan.Ours, Token: "a", Intact: true}, Verdict: plan.Permitted,
	}
	for reason, c := range map[string]struct {
		change func(*plan.Input)
		want   status.Status
	}{
		v1.ReasonRefreshed:   {func(*plan.Input) {}, status.CurrentStatus},
		v1.ReasonProgressing: {func(i *plan.Input) { i.Held = nil }, status.InProgressStatus},
		v1.ReasonFailed: {func(i *plan.Input) {
			i.Failed = map[plan.Action]plan.Refusal{plan.Mint: {Reason: v1.ReasonFailed, Until: now.Add(time.Minute)}}
		}, status.InProgressStatus},
		v1.ReasonRateLimited: {func(i *plan.Input) { i.Held, i.Queued = nil, &plan.Refusal{Reason: v1.ReasonRateLimited} }, status.InProgressStatus},
		v1.ReasonAppNotFound: {func(i *plan.Input) { i.NoMint = &plan.Refusal{Reason: v1.ReasonAppNotFound} }, status.FailedStatus},
		v1.ReasonAppNotReady: {func(i *plan.Input) {
			i.NoMint = &plan.Refusal{Reason: v1.ReasonAppNotReady, Until: now.Add(time.Minute)}
		}, status.InProgressStatus},
		v1.ReasonNotPermitted:   {func(i *plan.Input) { i.Verdict, i.Policy.Reason = plan.Denied, v1.ReasonNotPermitted }, status.FailedStatus},
		v1.ReasonInvalidSpec:    {func(i *plan.Input) { i.NoWrite = &plan.Refusal{Reason: v1.ReasonInvalidSpec} }, status.FailedStatus},
		v1.ReasonSecretConflict: {func(i *plan.Input) { i.Secret.State = plan.Foreign; i.RetryInterval = time.Minute }, status.InProgressStatus},
		v1.ReasonSuspended:      {func(i *plan.Input) { i.Suspended = true }, status.InProgressStatus},
	} {
		in := works
		c.change(&in)
		object := token("ns", "git")
		object.Generation = 2
		v := &view{subject: ofToken(object), in: in}
		(&Reconciler{Ledger: &ledger.Ledger{}}).fillStatus(v, plan.Plan(in))
		if got := object.Status.Conditions[0].Reason; got != reason {
			t.Errorf("the reason is %s, want %s", got, reason)
		}
		isStatus(t, reason, object, c.want)
		object.Generation++ // a spec that the operator has not seen
		isStatus(t, reason+" of an older spec", object, status.InProgressStatus)
	}
}

func TestKstatusOfApps(t *testing.T) {
	for what, c := range map[string]struct {
		view appView
		want status.Status
	}{
		"ready":                     {appView{ready: condition(metav1.ConditionTrue, v1.ReasonReady, "")}, status.CurrentStatus},
		"a Secret that is missing":  {notReadyView(&apps.NotReady{Reason: v1.ReasonAppNotReady, RetryAfter: time.Minute}), status.InProgressStatus},
		"a spec that is wrong":      {notReadyView(&apps.NotReady{Reason: v1.ReasonAppNotReady}), status.FailedStatus},
		"a key that no policy has":  {notReadyView(&apps.NotReady{Reason: v1.ReasonNotPermitted}), status.FailedStatus},
		"a key that GitHub refuses": {notReadyView(&apps.NotReady{Reason: v1.ReasonKeyInvalid, RetryAfter: time.Minute}), status.FailedStatus},
		"GitHub does not answer":    {unvalidatedView(&apps.App{}, &mint.Error{Kind: mint.Unavailable}), status.InProgressStatus},
		"GitHub asks for a pause":   {unvalidatedView(&apps.App{}, &mint.Error{Kind: mint.RateLimited}), status.InProgressStatus},
	} {
		object := &v1.App{TypeMeta: metav1.TypeMeta{APIVersion: v1.GroupVersion.String(), Kind: "App"}, ObjectMeta: metav1.ObjectMeta{Generation: 1}}
		(&AppReconciler{}).fill(object, c.view)
		isStatus(t, what, object, c.want)
	}
}

func isStatus(t *testing.T, what string, object client.Object, want status.Status) {
	t.Helper()
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		t.Fatal(err)
	}
	got, err := status.Compute(&unstructured.Unstructured{Object: fields})
	if err != nil || got.Status != want {
		t.Errorf("%s: kstatus is %+v, %v, want %s", what, got, err, want)
	}
}

// kstatus reads what the API server has of an object.
func (w *world) kstatus(object client.Object) status.Status {
	w.t.Helper()
	kinds, _, err := Scheme().ObjectKinds(object)
	if err != nil {
		w.t.Fatal(err)
	}
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(kinds[0])
	if err := w.c.Get(w.t.Context(), client.ObjectKeyFromObject(object), u); err != nil {
		w.t.Fatal(err)
	}
	got, err := status.Compute(u)
	if err != nil {
		w.t.Fatal(err)
	}
	return got.Status
}

// areInProgressAtFirst makes objects before there is an operator, and returns those for
// which it may mint.
func (w *world) areInProgressAtFirst() []client.Object {
	w.t.Helper()
	namespace := w.tenant()
	objects := []client.Object{
		token(namespace, "early"),
		&v1.ClusterToken{ObjectMeta: metav1.ObjectMeta{Name: "early"}, Spec: v1.ClusterTokenSpec{Access: token("", "").Spec.Access, Secret: v1.ClusterSecretShape{Namespace: namespace}}},
		&v1.App{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "early"}, Spec: v1.AppSpec{AppID: 1, Provider: v1.ProviderSecret, KeyRef: &v1.KeyReference{Name: "missing"}}},
	}
	for _, object := range objects {
		w.create(object)
		if got := w.kstatus(object); got != status.InProgressStatus {
			w.t.Errorf("before an operator looked, kstatus of a %T is %s, want InProgress", object, got)
		}
	}
	return objects[:2]
}
