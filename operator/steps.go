package operator

import (
	"context"
	"errors"
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

// errQueued ends a reconcile whose mint waits for its turn. The pacer wakes it.
var errQueued = errors.New("the mint waits for its turn")

// errNoted reports a failure that is recorded for the next plan.
var errNoted = errors.New("the failure is noted")

// do does one step. It records a failure of the step itself for the next plan; a
// returned error ends the reconcile.
func (r *Reconciler) do(ctx context.Context, v *view, step plan.Step) error {
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
	v.held(r.Ledger)
	switch {
	case errors.Is(err, errNoted):
		err = nil
	case err == nil:
		v.memory.succeed(step.Do)
	}
	v.in.Failed = v.memory.refusals()
	return err
}

// mint makes a token and records it.
func (r *Reconciler) mint(ctx context.Context, v *view, step plan.Step) error {
	if ask := r.ask(v, step); !r.Pacer.Take(ask) {
		v.in.Queued = r.queued(ask)
		return errQueued
	}
	if v.in.Secret.State == plan.Missing {
		w, err := v.placeholder()
		if err == nil {
			err = r.probe(ctx, w)
		}
		if err != nil {
			return v.failed(step.Do, err)
		}
	}
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	began := time.Now()
	minted, err := v.app.Mint(call, v.grant(v.installation, v.account))
	r.Metrics.minted(v.kind, began, err)
	r.Pacer.Learn(v.app)
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

// queued returns the status of a mint that waits. It returns nil for a short wait while
// a token works, to save a status write per refresh.
func (r *Reconciler) queued(ask apps.Ask) *plan.Refusal {
	reason, message, isLong := r.Pacer.Why(ask.App, ask.Class)
	if !isLong && ask.Class != apps.New {
		return nil
	}
	return &plan.Refusal{Reason: reason, Message: message}
}

func (r *Reconciler) ask(v *view, step plan.Step) apps.Ask {
	ask := apps.Ask{App: v.app.Pace, Key: keyOf(v.subject)}
	switch step.Urgent {
	case plan.Ending:
		ask.Class = apps.Ending
	case plan.New:
		ask.Class = apps.New
	default:
		ask.Class = apps.Changed
	}
	if len(v.in.Held) > 0 {
		ask.Ends = v.in.Held[0].Expires
	}
	return ask
}

// mintFailed records why GitHub made no token. A rate limit pauses the App: no object
// of it mints before the limit ends.
func (r *Reconciler) mintFailed(ctx context.Context, v *view, err error) error {
	e, ok := errors.AsType[*mint.Error](err)
	refusal := v.refusal(err)
	why, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	refusal.Message = r.Apps.Why(why, v.app, v.grant(v.installation, v.account), err)
	switch {
	case ok && e.Kind == mint.RateLimited:
		r.Pacer.Hold(v.app.Pace, time.Now().Add(refusal.Until.Sub(v.in.Now)))
		v.memory.fail(plan.Mint, refusal, v.in.Now, 0, max(e.RetryAfter, time.Second), false)
	case ok && e.Kind == mint.Unavailable:
		v.memory.fail(plan.Mint, refusal, v.in.Now, v.in.RetryInterval, e.RetryAfter, true)
	default:
		v.memory.fail(plan.Mint, refusal, v.in.Now, v.in.RetryInterval, 0, false)
	}
	return errNoted
}

// placeholder returns the Secret as it will be, with a placeholder for the token.
func (v *view) placeholder() (wanted, error) {
	token := credential.NewToken("placeholder", v.in.Now.Add(time.Hour))
	token.Username, token.Repositories, token.Permissions = credential.DefaultUsername, []string{}, v.levels()
	return v.want(render.Token{Token: token, Host: v.app.Host})
}

// failed records a failure of the API server. A conflict is not a failure: the Secret
// has to be read again.
func (v *view) failed(do plan.Action, err error) error {
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
		v.memory.version = ""
		return err
	}
	v.memory.fail(do, plan.Refusal{Reason: v1.ReasonFailed, Message: usererr.Escape(err.Error())}, v.in.Now, v.in.RetryInterval, 0, true)
	return errNoted
}

// deliver writes a held token into the Secret.
func (r *Reconciler) deliver(ctx context.Context, v *view, step plan.Step) error {
	token, _, err := r.token(v, step.Token)
	if err != nil {
		return r.giveUp(ctx, v, step.Token)
	}
	w, err := v.want(token)
	if err != nil {
		v.memory.fail(step.Do, plan.Refusal{Reason: v1.ReasonInvalidSpec, Message: err.Error()}, v.in.Now, v.in.RetryInterval, 0, false)
		return errNoted
	}
	if v.live == nil && v.in.Secret.State != plan.Missing {
		if err := r.read(ctx, v); err != nil {
			return err
		}
		if v.in.Secret.State == plan.Foreign {
			return nil
		}
	}
	before := v.in.Secret
	if before.Token == step.Token && v.memory.isFought(v.in.Now) {
		v.memory.fail(step.Do, plan.Refusal{Reason: v1.ReasonSecretConflict, Message: "another writer keeps changing the Secret: find it by kubectl get secret " + v.target.Name + " --show-managed-fields -o yaml"}, v.in.Now, 5*time.Second, 0, false)
		return errNoted
	}
	version, err := r.write(ctx, w, v.live)
	if err != nil {
		return v.failed(step.Do, err)
	}
	v.live = nil
	v.in.Secret = plan.Secret{State: plan.Ours, Token: step.Token, Intact: true}
	v.memory.version, v.memory.want, v.memory.found = version, v.wish(), v.in.Secret
	r.delivered(ctx, v, before, step)
	return nil
}

// giveUp removes a token from the record if its text cannot be decrypted because the
// key of the records was lost. Another token is minted.
func (r *Reconciler) giveUp(ctx context.Context, v *view, id string) error {
	r.warn(v, "TokenLost", "Deliver", "a recorded token cannot be opened: the key of the records was replaced; a new token is minted")
	return r.Ledger.Drop(ctx, v.object.GetUID(), id, v.now())
}

// revoke revokes a token at GitHub and removes it from the record.
func (r *Reconciler) revoke(ctx context.Context, v *view, step plan.Step) error {
	token, entry, err := r.token(v, step.Token)
	if err != nil {
		return r.Ledger.Drop(ctx, v.object.GetUID(), step.Token, v.now())
	}
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := r.revoker(entry.API).Revoke(call, token.Token); err != nil {
		refusal, least := plan.Refusal{Reason: v1.ReasonFailed, Message: usererr.Escape(err.Error())}, time.Duration(0)
		if e, ok := errors.AsType[*mint.Error](err); ok {
			least = e.RetryAfter
		}
		r.Metrics.revoked(err)
		v.memory.fail(step.Do, refusal, v.in.Now, time.Minute, least, true)
		return errNoted
	}
	r.Metrics.revoked(nil)
	r.say(v, "Revoked", "Revoke", "the token "+step.Token+" is revoked: "+step.Why)
	return r.Ledger.Drop(ctx, v.object.GetUID(), step.Token, v.now())
}

// removeOwned deletes a Secret of the subject.
func (r *Reconciler) removeOwned(ctx context.Context, v *view, step plan.Step) error {
	isOurs := func(s *corev1.Secret) bool {
		controller := metav1.GetControllerOf(s)
		isOwned := controller != nil && controller.UID == v.object.GetUID()
		return v.stateOf(s) == plan.Ours && (isOwned || s.Annotations[annotationToken] != "")
	}
	if err := r.remove(ctx, step.Secret, isOurs); err != nil {
		return v.failed(step.Do, err)
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

// revoker returns an App that can revoke tokens of an API. It has no key: the token
// itself authenticates its revocation.
func (r *Reconciler) revoker(api string) *mint.App {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.revokers == nil {
		r.revokers = map[string]*mint.App{}
	}
	if r.revokers[api] == nil {
		r.revokers[api] = &mint.App{URL: api, Client: r.Apps.Client, Once: true}
	}
	return r.revokers[api]
}

// deleteOrphan revokes the tokens of a deleted object, and deletes its record.
func (r *Reconciler) deleteOrphan(ctx context.Context, owner ledger.Owner) (again time.Duration, err error) {
	v := &view{subject: orphan(owner), memory: r.memories.of(owner.UID)}
	if held := r.Ledger.Of(owner.UID); len(held) > 0 {
		v.clock = r.learnClock(ctx, held[0].API)
	}
	v.in = plan.Input{Now: v.now(), Gone: true, UID: string(owner.UID), RetryInterval: time.Minute}
	v.held(r.Ledger)
	v.in.Failed = v.memory.refusals()
	if err := r.lookAtOthers(ctx, v); err != nil {
		return 0, err
	}
	decision, err := r.carryOut(ctx, v)
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

// learnClock returns an App that knows the clock of a GitHub. If that GitHub does not
// answer, this machine's clock is used.
func (r *Reconciler) learnClock(ctx context.Context, api string) *mint.App {
	app := r.revoker(api)
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
