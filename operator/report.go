package operator

import (
	"context"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/gatepass/gatepass/operator/api/v1"
	"github.com/gatepass/gatepass/operator/plan"
)

// report writes the status if it changed, and records what people look for.
func (r *Reconciler) report(ctx context.Context, v *view, d plan.Decision) error {
	before := v.object.DeepCopyObject().(client.Object)
	old := *v.status.DeepCopy()
	r.fillStatus(v, d)
	expires := time.Time{}
	if at := v.status.InstallationAccessToken; at != nil {
		expires = at.ExpiresAt.Time
	}
	r.Metrics.expires(keyOf(v.subject), expires)
	if equality.Semantic.DeepEqual(old, *v.status) {
		return nil
	}
	if err := r.Client.Status().Patch(ctx, v.object, client.MergeFrom(before)); err != nil {
		return client.IgnoreNotFound(err)
	}
	if d.Ready.Status == plan.False && isReadyChanged(old.Conditions, v.status.Conditions) {
		r.reportNotReady(v, d)
	}
	return nil
}

// reportNotReady records why an object is not ready.
func (r *Reconciler) reportNotReady(v *view, d plan.Decision) {
	if d.Ready.Reason == v1.ReasonSuspended {
		r.events().say(v, d.Ready.Reason, "Reconcile", d.Ready.Message)
		return
	}
	r.events().warn(v, d.Ready.Reason, "Reconcile", d.Ready.Message)
	r.Metrics.failed(v.kind, d.Ready.Reason)
}

// fillStatus writes a decision into the status.
func (r *Reconciler) fillStatus(v *view, d plan.Decision) {
	s := v.status
	s.ObservedGeneration = v.object.GetGeneration()
	setCondition(s, v1.ConditionReady, d.Ready, s.ObservedGeneration)
	setCondition(s, v1.ConditionPermitted, d.Permitted, s.ObservedGeneration)
	setIf(s, v1.ConditionStalled, d.Stalled, d.Ready)
	setIf(s, v1.ConditionReconciling, d.Ready.Status == plan.UnknownStatus, d.Ready)
	_, entry, err := v.token(r.Ledger, v.in.Secret.Token)
	if v.in.Secret.State != plan.Ours || err != nil {
		s.ManagedSecret, s.InstallationAccessToken, s.Repositories, s.Permissions, s.NextRefresh = nil, nil, nil, nil, nil
		return
	}
	s.ManagedSecret = &v1.ManagedSecret{Namespace: v.target.Namespace, Name: v.target.Name}
	expires := metav1.NewTime(entry.Expires.Truncate(time.Second))
	if iat := s.InstallationAccessToken; iat == nil || !iat.ExpiresAt.Equal(&expires) {
		s.InstallationAccessToken = &v1.InstallationAccessToken{UpdatedAt: metav1.NewTime(v.now().Truncate(time.Second)), ExpiresAt: expires}
	}
	s.Repositories, s.Permissions = slices.Clone(entry.Repositories), maps.Clone(entry.Permissions)
	if !d.NextRefresh.IsZero() {
		next := metav1.NewTime(d.NextRefresh.Truncate(time.Second))
		s.NextRefresh = &next
	}
}

func setCondition(s *v1.TokenStatus, kind string, c plan.Condition, generation int64) {
	if c.Status == "" {
		meta.RemoveStatusCondition(&s.Conditions, kind)
		return
	}
	meta.SetStatusCondition(&s.Conditions, metav1.Condition{
		Type: kind, Status: metav1.ConditionStatus(c.Status), Reason: c.Reason, Message: bounded(c.Message), ObservedGeneration: generation,
	})
}

// setIf adds a condition while it is true, and removes it otherwise, as kstatus
// expects.
func setIf(s *v1.TokenStatus, kind string, isTrue bool, why plan.Condition) {
	if !isTrue {
		meta.RemoveStatusCondition(&s.Conditions, kind)
		return
	}
	setCondition(s, kind, plan.Condition{Status: plan.True, Reason: why.Reason, Message: why.Message}, s.ObservedGeneration)
}

// bounded cuts a message far below what a condition takes (32 KiB).
func bounded(text string) string {
	const most = 4096
	if len(text) <= most {
		return text
	}
	return text[:most] + "…"
}

// isReadyChanged reports whether Ready has another reason or message than before.
func isReadyChanged(old, now []metav1.Condition) bool {
	before, after := meta.FindStatusCondition(old, v1.ConditionReady), meta.FindStatusCondition(now, v1.ConditionReady)
	return before == nil || before.Reason != after.Reason || before.Message != after.Message
}

// afterDelivery records a write of the Secret, and restarts the Deployments that asked for
// it.
func (r *Reconciler) afterDelivery(ctx context.Context, v *view, before plan.Secret, step plan.Step) {
	took := v.now().Sub(v.in.Now)
	switch {
	case before.Token == step.Token && before.State == plan.Ours:
		r.events().say(v, "Repaired", "Deliver", "Secret "+v.target.Namespace+"/"+v.target.Name+" was changed by another writer and was restored")
	case before.Token == "":
		r.Metrics.refreshed(v.kind, "create", took)
		r.events().say(v, v1.ReasonRefreshed, "Deliver", "Secret "+v.target.Namespace+"/"+v.target.Name+" holds a token")
	default:
		r.Metrics.refreshed(v.kind, "update", took)
	}
	if before.Token != "" && before.Token != step.Token {
		restartDeployments(ctx, r.Client, r.events(), v)
	}
}

// A recorder records Events about the object of a view.
type recorder struct{ events.EventRecorder }

func (r *Reconciler) events() recorder { return recorder{r.Events} }

// say records a normal Event.
func (r recorder) say(v *view, reason, action, text string) {
	r.event(v, corev1.EventTypeNormal, reason, action, text)
}

// warn records an Event of type Warning.
func (r recorder) warn(v *view, reason, action, text string) {
	r.event(v, corev1.EventTypeWarning, reason, action, text)
}

// event records an Event, unless the object is gone: its namespace may be gone as well.
// A note takes 1 KiB.
func (r recorder) event(v *view, kind, reason, action, text string) {
	if v.object.GetResourceVersion() == "" {
		return
	}
	r.Eventf(v.object, nil, kind, reason, action, "%s", text[:min(len(text), 1000)])
}
