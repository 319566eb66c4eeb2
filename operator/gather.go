package operator

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/fnv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gatepass/gatepass/mint"
	v1 "github.com/gatepass/gatepass/operator/api/v1"
	"github.com/gatepass/gatepass/operator/apps"
	"github.com/gatepass/gatepass/operator/intern"
	"github.com/gatepass/gatepass/operator/ledger"
	"github.com/gatepass/gatepass/operator/plan"
	"github.com/gatepass/gatepass/operator/render"
	"github.com/gatepass/gatepass/operator/tenant"
)

// A view is everything that a reconcile knows about its subject.
type view struct {
	*subject
	memory *memory
	in     plan.Input

	app          *apps.App // nil if missing or not ready
	installation int64
	account      string
	live         *corev1.Secret // the Secret, if it was read
	clock        *mint.App      // provides GitHub's clock; nil means this machine's clock
}

// now returns the time by GitHub's clock. Token lifetimes and the times in the status
// use it.
func (v *view) now() time.Time {
	if v.clock == nil {
		return time.Now()
	}
	return v.clock.Time()
}

// metadataOf returns an empty object for reading metadata only.
func metadataOf(kind string) *metav1.PartialObjectMetadata {
	m := &metav1.PartialObjectMetadata{}
	m.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(kind))
	return m
}

// gather reads everything that a plan depends on. An error comes from the API server;
// the reconcile is then retried.
func (r *Reconciler) gather(ctx context.Context, s *subject) (*view, error) {
	v := &view{subject: s, memory: r.memories.of(s.object.GetUID())}
	v.in = plan.Input{
		Now: time.Now(), Gone: s.isGone(), Suspended: s.access.Suspend,
		UID: string(s.object.GetUID()), Target: s.target,
		RefreshInterval: orDefault(s.access.RefreshInterval, 30*time.Minute),
		RetryInterval:   orDefault(s.access.RetryInterval, 5*time.Minute),
		MinTTL:          orDefault(s.access.MinTTL, 10*time.Minute),
		Delivered:       deliveryTime(s.status),
	}
	if after := s.access.RevokeSuperseded; after != nil {
		v.in.RevokeAfter = max(after.After.Duration, 5*time.Minute)
	}
	namespace, err := r.namespace(ctx, v)
	if err != nil {
		return nil, err
	}
	v.readLedger(r.Ledger)
	policies, version, err := r.policies(ctx)
	if err != nil {
		return nil, err
	}
	if !v.in.Gone {
		if err := r.readApp(ctx, v); err != nil {
			return nil, err
		}
	}
	if !v.in.Gone && !v.in.Suspended {
		if err := r.checkPolicies(ctx, v, policies, namespace); err != nil {
			return nil, err
		}
	}
	v.in.Now = v.now() // GitHub's clock is known by now
	v.memory.resetIfChanged(fingerprintOf(s.object.GetGeneration(), v.in.Scope, version, namespace.version, appVersion(v.app)))
	v.in.Failed = v.memory.refusals()
	return v, r.readSecrets(ctx, v)
}

func orDefault(d metav1.Duration, otherwise time.Duration) time.Duration {
	if d.Duration <= 0 {
		return otherwise
	}
	return d.Duration
}

func deliveryTime(s *v1.TokenStatus) time.Time {
	if s.InstallationAccessToken == nil {
		return time.Time{}
	}
	return s.InstallationAccessToken.UpdatedAt.Time
}

func appVersion(a *apps.App) string {
	if a == nil {
		return "none"
	}
	return fmt.Sprintf("%s %s %p", a.Ref, a.ID, a)
}

// readLedger copies the tokens of the ledger into the input.
func (v *view) readLedger(l *ledger.Ledger) {
	v.in.Held, v.in.Recorded = nil, l.Has(v.object.GetUID())
	for _, e := range l.Of(v.object.GetUID()) {
		v.in.Held = append(v.in.Held, plan.Held{ID: e.ID, Scope: e.Scope, Made: e.Made, Expires: e.Expires})
	}
}

// A namespaceState is the namespace of the Secret.
type namespaceState struct {
	tenant.Namespace
	version string
}

// namespace reads the Secret's namespace.
func (r *Reconciler) namespace(ctx context.Context, v *view) (namespaceState, error) {
	name := v.target.Namespace
	seen := namespaceState{Namespace: tenant.Namespace{Name: name}}
	if !r.watches(name) {
		v.in.NoWrite = &plan.Refusal{Reason: v1.ReasonFailed, Message: "the operator does not watch namespace " + name + ": add it to the operator's --watch-namespaces"}
		return seen, nil
	}
	object := metadataOf("Namespace")
	switch err := r.Cache.Get(ctx, types.NamespacedName{Name: name}, object); {
	case apierrors.IsNotFound(err):
		v.in.NoWrite = &plan.Refusal{Reason: v1.ReasonFailed, Message: "namespace " + name + " does not exist: create it"}
	case err != nil:
		return seen, err
	case object.DeletionTimestamp != nil:
		v.in.NoWrite = &plan.Refusal{Reason: v1.ReasonFailed, Message: "namespace " + name + " is being deleted"}
	}
	seen.Labels, seen.version = object.Labels, fmt.Sprint(object.UID, object.DeletionTimestamp != nil)
	return seen, nil
}

// readApp finds the App and the scope of the next token.
func (r *Reconciler) readApp(ctx context.Context, v *view) error {
	app, err := r.Apps.Get(ctx, v.subject.app)
	notReady, isNotReady := errors.AsType[*apps.NotReady](err)
	switch {
	case err == nil:
		v.app, v.clock = app, app.App
		v.in.Now = v.now()
		v.memory.scope = intern.String(v.scope(app))
	case errors.Is(err, apps.ErrNotFound):
		v.in.NoMint = &plan.Refusal{Reason: v1.ReasonAppNotFound, Message: err.Error()}
	case isNotReady && notReady.Reason == v1.ReasonNotPermitted:
		v.in.Verdict, v.in.Policy = plan.Denied, plan.Refusal{Reason: v1.ReasonNotPermitted, Message: notReady.Message}
	case isNotReady:
		v.in.NoMint = &plan.Refusal{Reason: v1.ReasonAppNotReady, Message: notReady.Message}
		if notReady.RetryAfter > 0 {
			v.in.NoMint.Until = v.in.Now.Add(notReady.RetryAfter)
		}
	default:
		return err
	}
	v.in.Scope = v.memory.scope
	if held := v.in.Held; v.in.Scope == "" && len(held) > 0 {
		v.in.Scope = held[0].Scope // without the App, the held tokens are kept
	}
	return nil
}

// checkPolicies asks the policies, and checks the shape of the Secret.
func (r *Reconciler) checkPolicies(ctx context.Context, v *view, policies *tenant.Policies, namespace namespaceState) error {
	if err := render.Check(*v.shape); err != nil {
		v.in.NoWrite = &plan.Refusal{Reason: v1.ReasonInvalidSpec, Message: err.Error()}
	}
	if v.in.Verdict == plan.Denied {
		return nil
	}
	if v.app == nil {
		v.in.Policy = *v.in.NoMint
		return nil
	}
	ask := tenant.Request{
		Kind: v.kind, Namespace: namespace.Namespace,
		App:        tenant.App{Default: v.app.Ref.IsDefault(), Namespace: v.app.Ref.Namespace, Name: v.app.Ref.Name, Provider: v.app.Provider},
		Owner:      v.access.Owner,
		Access:     *v.access,
		SecretType: render.Type(*v.shape),
	}
	if v.checkRequest(policies, ask); v.in.Verdict == plan.Denied {
		return nil // refused anyway, so GitHub is not asked
	}
	if err := r.locate(ctx, v); err != nil {
		return err
	}
	ask.Owner = v.account
	v.checkRequest(policies, ask)
	if v.account != "" && v.in.Verdict != plan.Denied {
		v.in.Verdict = plan.Permitted
	}
	return nil
}

// checkRequest records the policies' verdict on a request, if they deny it. An empty owner means
// that the owner is not known yet.
func (v *view) checkRequest(policies *tenant.Policies, ask tenant.Request) {
	ask.OwnerUnknown = ask.Owner == ""
	if err := policies.Check(ask); err != nil {
		v.in.Verdict, v.in.Policy = plan.Denied, plan.Refusal{Reason: v1.ReasonNotPermitted, Message: err.Error()}
	}
}

// locate finds the installation and its account. If GitHub does not answer, it uses the
// account of a held token of the same scope. Without such a token the policies cannot
// be asked, and the verdict stays unknown.
func (r *Reconciler) locate(ctx context.Context, v *view) error {
	err := r.findInstallation(ctx, v)
	if err == nil {
		return nil
	}
	for _, e := range r.Ledger.Of(v.object.GetUID()) {
		if e.Scope == v.in.Scope && e.Account != "" {
			v.account = e.Account
		}
	}
	v.in.Policy = v.refusal(err)
	if v.account != "" {
		refusal := v.in.Policy
		v.in.NoMint = &refusal
	}
	return nil
}

func (r *Reconciler) findInstallation(ctx context.Context, v *view) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if owner := v.access.Owner; owner != "" {
		installation, err := r.Apps.InstallationOf(ctx, v.app, owner)
		v.installation, v.account = installation.ID, installation.Account.Login
		return err
	}
	v.installation = v.access.InstallationID
	if v.installation == 0 {
		v.installation = v.app.InstallationID
	}
	if v.installation == 0 {
		return errNoInstallation
	}
	var err error
	v.account, err = r.Apps.Account(ctx, v.app, v.installation)
	return err
}

var errNoInstallation = errors.New("neither the token nor its App has an installation: set owner or installationID")

// refusal returns an error of GitHub as a condition shows it.
func (v *view) refusal(err error) plan.Refusal {
	refusal := plan.Refusal{Reason: v1.ReasonFailed, Until: v.in.Now.Add(v.in.RetryInterval)}
	if errors.Is(err, errNoInstallation) {
		return plan.Refusal{Reason: v1.ReasonInvalidSpec, Message: err.Error()}
	}
	refusal.Message = v.app.Explain(err)
	if e, ok := errors.AsType[*mint.Error](err); ok && e.Kind == mint.RateLimited {
		refusal.Reason = v1.ReasonRateLimited
		refusal.Until = v.in.Now.Add(max(e.RetryAfter, time.Second))
	}
	return refusal
}

// A fingerprint is a digest of values, to see whether one of them changed.
type fingerprint [16]byte

func fingerprintOf(values ...any) fingerprint {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q", values))
	return fingerprint(sum[:16])
}

func fnv32(s string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(s))
	return h.Sum32()
}
