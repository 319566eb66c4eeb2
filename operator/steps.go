package operator

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/mint"
	v1 "github.com/gatepass/gatepass/operator/api/v1"
	"github.com/gatepass/gatepass/operator/apps"
	"github.com/gatepass/gatepass/operator/ledger"
	"github.com/gatepass/gatepass/operator/plan"
	"github.com/gatepass/gatepass/operator/render"
)

// callTimeout bounds one exchange with GitHub.
const callTimeout = 20 * time.Second

// errQueued ends a reconcile whose mint waits for a slot. The pacer wakes it.
var errQueued = errors.New("the mint waits for its turn")

// errRecorded reports a failure that is recorded for the next plan.
var errRecorded = errors.New("the failure is recorded")

// doStep does one step. It records a failure of the step itself for the next plan; a
// returned error ends the reconcile.
func (r *Reconciler) doStep(ctx context.Context, v *view, step plan.Step) error {
	var err error
	switch step.Do {
	case plan.Mint:
		err = r.mint(ctx, v, step)
	case plan.Deliver:
		err = r.deliver(ctx, v, step)
	case plan.Revoke:
		err = r.revoke(ctx, v, step)
	case plan.Remove:
		err = r.removeOwned(ctx, v, step)
	case plan.Forget:
		err = r.Ledger.Forget(ctx, v.object.GetUID())
	}
	v.readLedger(r.Ledger)
	switch {
	case errors.Is(err, errRecorded):
		err = nil
	case err == nil:
		v.memory.succeed(step.Do)
	}
	v.in.Failed = v.memory.refusals()
	return err
}

// mint makes a token and records it.
func (r *Reconciler) mint(ctx context.Context, v *view, step plan.Step) error {
	if request := v.mintRequest(step); !r.Pacer.Acquire(request) {
		v.in.Queued = waitRefusal(r.Pacer, request)
		return errQueued
	}
	if v.in.Secret.State == plan.Missing {
		w, err := v.placeholder()
		if err == nil {
			err = r.writer().probe(ctx, w)
		}
		if err != nil {
			return v.writeFailed(step.Do, err)
		}
	}
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	began := time.Now()
	minted, err := v.app.Mint(call, v.grant(v.installation, v.account))
	r.Metrics.minted(v.kind, began, err)
	r.Pacer.UpdateRate(v.app)
	if err != nil {
		return r.mintFailed(ctx, v, err)
	}
	e := ledger.Entry{
		Scope: v.in.Scope, Made: v.now(), Expires: minted.Token.Expiry,
		API: v.app.URL, Account: v.account,
		Repositories: minted.Token.Repositories, Permissions: minted.Token.Permissions,
	}
	if minted.All {
		e.Repositories = []string{v.account + "/*"}
	}
	return r.Ledger.Add(ctx, v.owner(), e, minted.Token, v.now())
}

// waitRefusal returns the status of a mint that waits. It returns nil for a short wait while
// a token works, to save a status write per refresh.
func waitRefusal(p *apps.Pacer, request apps.Request) *plan.Refusal {
	reason, message, isLong := p.WaitReason(request.App, request.Class)
	if !isLong && request.Class != apps.New {
		return nil
	}
	return &plan.Refusal{Reason: reason, Message: message}
}

func (v *view) mintRequest(step plan.Step) apps.Request {
	request := apps.Request{App: v.app.Pace, Key: keyOf(v.subject)}
	switch step.Urgent {
	case plan.Expiring:
		request.Class = apps.Expiring
	case plan.New:
		request.Class = apps.New
	default:
		request.Class = apps.Changed
	}
	if len(v.in.Held) > 0 {
		request.Ends = v.in.Held[0].Expires
	}
	return request
}

// mintFailed records why GitHub made no token. A rate limit pauses the App: no object
// of it mints before the limit ends.
func (r *Reconciler) mintFailed(ctx context.Context, v *view, err error) error {
	e, ok := errors.AsType[*mint.Error](err)
	refusal := v.refusal(err)
	why, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	refusal.Message = r.Apps.Diagnose(why, v.app, v.grant(v.installation, v.account), err)
	switch {
	case ok && e.Kind == mint.RateLimited:
		r.Pacer.Pause(v.app.Pace, time.Now().Add(refusal.Until.Sub(v.in.Now)))
		v.memory.fail(plan.Mint, refusal, v.in.Now, 0, max(e.RetryAfter, time.Second), false)
	case ok && e.Kind == mint.Unavailable:
		v.memory.fail(plan.Mint, refusal, v.in.Now, v.in.RetryInterval, e.RetryAfter, true)
	default:
		v.memory.fail(plan.Mint, refusal, v.in.Now, v.in.RetryInterval, 0, false)
	}
	return errRecorded
}

// placeholder returns the Secret as it will be, with a placeholder for the token.
func (v *view) placeholder() (desiredSecret, error) {
	token := credential.NewToken("placeholder", v.in.Now.Add(time.Hour))
	token.Username, token.Repositories, token.Permissions = credential.DefaultUsername, []string{}, v.levels()
	return v.desired(render.Token{Token: token, Host: v.app.Host})
}

// writeFailed records a failure of the API server. A conflict is not a failure: the Secret
// has to be read again.
func (v *view) writeFailed(do plan.Action, err error) error {
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
		v.memory.version = ""
		return err
	}
	v.memory.fail(do, plan.Refusal{Reason: v1.ReasonFailed, Message: usererr.Escape(err.Error())}, v.in.Now, v.in.RetryInterval, 0, true)
	return errRecorded
}

// deliver writes a held token into the Secret.
func (r *Reconciler) deliver(ctx context.Context, v *view, step plan.Step) error {
	token, _, err := v.token(r.Ledger, step.Token)
	if err != nil {
		return r.dropUnreadable(ctx, v, step.Token)
	}
	w, err := v.desired(token)
	if err != nil {
		v.memory.fail(step.Do, plan.Refusal{Reason: v1.ReasonInvalidSpec, Message: err.Error()}, v.in.Now, v.in.RetryInterval, 0, false)
		return errRecorded
	}
	if v.live == nil && v.in.Secret.State != plan.Missing {
		if err := r.readSecret(ctx, v); err != nil {
			return err
		}
		if v.in.Secret.State == plan.Foreign {
			return nil
		}
	}
	before := v.in.Secret
	if before.Token == step.Token && v.memory.mustWaitToRepair(v.in.Now) {
		v.memory.fail(step.Do, plan.Refusal{Reason: v1.ReasonSecretConflict, Message: "another writer keeps changing the Secret: find it by kubectl get secret " + v.target.Name + " --show-managed-fields -o yaml"}, v.in.Now, 5*time.Second, 0, false)
		return errRecorded
	}
	version, err := r.writer().write(ctx, w, v.live)
	if err != nil {
		return v.writeFailed(step.Do, err)
	}
	v.live = nil
	v.in.Secret = plan.Secret{State: plan.Ours, Token: step.Token, Intact: true}
	v.memory.version, v.memory.wanted, v.memory.found = version, v.fingerprint(), v.in.Secret
	r.afterDelivery(ctx, v, before, step)
	return nil
}

// dropUnreadable removes a token from the record if its text cannot be decrypted because the
// key of the records was lost. Another token is minted.
func (r *Reconciler) dropUnreadable(ctx context.Context, v *view, id string) error {
	r.events().warn(v, "TokenLost", "Deliver", "a recorded token cannot be decrypted because the key of the records was replaced; a new token is minted")
	return r.Ledger.Drop(ctx, v.object.GetUID(), id, v.now())
}

// revoke revokes a token at GitHub and removes it from the record.
func (r *Reconciler) revoke(ctx context.Context, v *view, step plan.Step) error {
	token, entry, err := v.token(r.Ledger, step.Token)
	if err != nil {
		return r.Ledger.Drop(ctx, v.object.GetUID(), step.Token, v.now())
	}
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := r.revokers.of(entry.API, r.Apps.Client).Revoke(call, token.Token); err != nil {
		refusal, least := plan.Refusal{Reason: v1.ReasonFailed, Message: usererr.Escape(err.Error())}, time.Duration(0)
		if e, ok := errors.AsType[*mint.Error](err); ok {
			least = e.RetryAfter
		}
		r.Metrics.revoked(err)
		v.memory.fail(step.Do, refusal, v.in.Now, time.Minute, least, true)
		return errRecorded
	}
	r.Metrics.revoked(nil)
	r.events().say(v, "Revoked", "Revoke", "the token "+step.Token+" is revoked: "+step.Why)
	return r.Ledger.Drop(ctx, v.object.GetUID(), step.Token, v.now())
}

// removeOwned deletes a Secret of the subject.
func (r *Reconciler) removeOwned(ctx context.Context, v *view, step plan.Step) error {
	isOurs := func(s *corev1.Secret) bool {
		controller := metav1.GetControllerOf(s)
		isOwned := controller != nil && controller.UID == v.object.GetUID()
		return v.stateOf(s) == plan.Ours && (isOwned || s.Annotations[annotationToken] != "")
	}
	if err := r.writer().remove(ctx, step.Secret, isOurs); err != nil {
		return v.writeFailed(step.Do, err)
	}
	if step.Secret == v.target {
		v.live, v.in.Secret, v.memory.version = nil, plan.Secret{}, ""
		return nil
	}
	v.in.Others = without(v.in.Others, step.Secret)
	return nil
}

func without(all []plan.Ref, one plan.Ref) []plan.Ref {
	var rest []plan.Ref
	for _, ref := range all {
		if ref != one {
			rest = append(rest, ref)
		}
	}
	return rest
}

// revokers has one App per API that revokes tokens. It has no key: the token itself
// authenticates its revocation.
type revokers struct {
	mu    sync.Mutex // guards byAPI
	byAPI map[string]*mint.App
}

// of returns the App for an API. client may be nil.
func (r *revokers) of(api string, client *http.Client) *mint.App {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byAPI == nil {
		r.byAPI = map[string]*mint.App{}
	}
	if r.byAPI[api] == nil {
		r.byAPI[api] = &mint.App{URL: api, Client: client, Once: true}
	}
	return r.byAPI[api]
}

// deleteOrphan revokes the tokens of a deleted object, and deletes its record.
func (r *Reconciler) deleteOrphan(ctx context.Context, owner ledger.Owner) (again time.Duration, err error) {
	v := &view{subject: orphanSubject(owner), memory: r.memories.of(owner.UID)}
	if held := r.Ledger.Of(owner.UID); len(held) > 0 {
		v.clock = syncClock(ctx, r.revokers.of(held[0].API, r.Apps.Client))
	}
	v.in = plan.Input{Now: v.now(), Gone: true, UID: string(owner.UID), RetryInterval: time.Minute}
	v.readLedger(r.Ledger)
	v.in.Failed = v.memory.refusals()
	if err := r.readOtherSecrets(ctx, v); err != nil {
		return 0, err
	}
	decision, err := r.execute(ctx, v)
	if err != nil {
		return 0, err
	}
	if !r.Ledger.Has(owner.UID) {
		r.memories.forget(owner.UID)
	}
	if decision.Again.IsZero() {
		return 0, nil
	}
	return max(decision.Again.Sub(v.in.Now), time.Second), nil
}

// syncClock asks GitHub for the time, unless the App knows it, and returns the App. If
// GitHub does not answer, this machine's clock is used.
func syncClock(ctx context.Context, app *mint.App) *mint.App {
	if _, isKnown := app.Ahead(); !isKnown {
		call, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		_ = app.Sync(call)
	}
	return app
}

func keyOf(s *subject) apps.Key {
	return apps.Key{Kind: s.kind, Namespace: s.object.GetNamespace(), Name: s.object.GetName()}
}
