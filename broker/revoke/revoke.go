// Package revoke is the broker's kill switch: it blocks a workspace, an account or the
// whole App, and revokes the tokens that they hold.
//
// The order of the steps survives a crash, so that no token lives on unnoticed. The
// block is written to the store first. Then each token is marked, so that no replica
// answers with it from memory, revoked at GitHub, recorded in the audit log, and
// deleted from the store. [Revoker.Reconcile], which every replica runs, finishes what
// failed.
//
// It also handles GitHub's webhooks: what GitHub took away is revoked in the same way.
//
// The package serves no pages and has no rules for operators. Its callers decide who
// may revoke, and name them for the audit log.
package revoke

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/gatepass/gatepass/broker/blocklist"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/workspace"
)

// revokeTimeout is the time for revocations in one request; [Revoker.Reconcile] does the
// rest.
const revokeTimeout = 30 * time.Second

// An App revokes tokens at GitHub. [mint.App] is one.
type App interface {
	Revoke(ctx context.Context, t credential.Token) error
}

// A Config has the parts of the broker that a Revoker uses. Fields without a comment
// must be set.
type Config struct {
	Store     store.Store
	App       App
	Blocklist *blocklist.List // New sets its OnAdded
	Cache     *broker.Cache
	Journal   broker.Journal
	Log       *slog.Logger
	// Policy returns the hash of the policy in force, for the audit log.
	Policy func() string
	// Issuer returns an issuer that revokes tokens delivered to workspaces.
	Issuer func(context.Context) (*workspace.Issuer, error)
	// Secret returns the secret that GitHub signs webhooks with. It is called for each
	// delivery. It returns ErrNoWebhooks if no secret is configured; nil does the same.
	Secret func() (string, error)
	// Now is this machine's clock; nil means time.Now.
	Now func() time.Time
	// TokenTime returns the time by which tokens expire. While GitHub's clock is
	// unknown, it must be early, so that no live token is taken for an expired one. Nil
	// means Now.
	TokenTime func() time.Time
	// Changed is called when GitHub reports a change to an installation or a
	// repository; nil disables it. It is set before the first delivery.
	Changed func()
}

// A Revoker blocks and revokes. Make it with [New].
type Revoker struct {
	Config
	began      time.Time
	listing    listing
	reconciler reconciler
	progress   progress
	cleaner    cleaner
	deliveries deliveries
	bodies     broker.BodyLimiter // bodies of deliveries
	waitSlots  chan struct{}      // a slot for each signed delivery that waits
	applySlots chan struct{}      // a slot for each delivery that is applied
	background sync.WaitGroup     // work that goes on after an operator got the answer
}

// New makes a Revoker. It does not read or write anything.
func New(c Config) *Revoker {
	if c.Secret == nil {
		c.Secret = func() (string, error) { return "", ErrNoWebhooks }
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.TokenTime == nil {
		c.TokenTime = c.Now
	}
	if c.Changed == nil {
		c.Changed = func() {}
	}
	r := &Revoker{Config: c, waitSlots: make(chan struct{}, maxWaiting), applySlots: make(chan struct{}, maxApplying)}
	r.bodies.Each, r.began = minDelivery, c.Now()
	r.listing.store, r.listing.now = c.Store, c.Now
	r.cleaner.Config, r.cleaner.progress = &r.Config, &r.progress
	r.reconciler.lease = store.Lease{Store: c.Store, Name: store.Upkeep(), Holder: rand.Text(), Duration: leaseLife, Now: c.Now}
	c.Blocklist.OnAdded = r.dropCached
	return r
}

// An Actor is who blocks or unblocks, for the audit log.
type Actor struct {
	broker.Operator
	RequestID string
	Remote    string // address of the peer
}

// entry returns an audit entry about an action; the caller fills in the rest.
func (r *Revoker) entry(kind string, by Actor, t blocklist.Target) broker.Entry {
	return broker.Entry{
		Time: r.Now().UTC(), Kind: kind, RequestID: by.RequestID, Method: by.Method, Subject: by.Subject, Rule: by.Name,
		Policy: r.Policy(), Remote: by.Remote, Target: t.String(), Decision: broker.Granted,
	}
}

// Revoke blocks a target and revokes everything that it holds. It goes on when ctx is
// canceled. What it cannot revoke within 30 s counts as pending, and Reconcile does it.
// The result names workspaces that shared the tokens, as far as they are found within 2
// s; the audit log gets all of them later. If the audit log cannot be written, it still
// revokes, and returns an error.
func (r *Revoker) Revoke(ctx context.Context, by Actor, t blocklist.Target) (api.Revocation, error) {
	if err := t.Check(); err != nil {
		return api.Revocation{}, broker.BadRequest(err.Error())
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), revokeTimeout)
	defer cancel()
	if err := r.Blocklist.Add(ctx, t); err != nil {
		return api.Revocation{}, broker.StoreUnavailable(err)
	}
	unwritten := r.Journal.Write(ctx, r.entry(broker.KindBlocked, by, t), true)
	s := &sweep{revoker: r, by: r.entry(broker.KindRevoked, by, t)}
	if err := s.target(ctx, t); err != nil {
		r.Log.ErrorContext(ctx, "the tokens of a block are not yet revoked", "error", err)
	}
	if t.Workspace != "" {
		s.revokeSharersSoon(ctx)
	}
	if err := errors.Join(unwritten, s.auditError()); err != nil {
		return api.Revocation{}, broker.AuditUnavailable(err)
	}
	return s.answer(t), nil
}

// Unblock removes the block of a target, after it has recorded that in the audit log.
func (r *Revoker) Unblock(ctx context.Context, by Actor, t blocklist.Target) error {
	if err := t.Check(); err != nil {
		return broker.BadRequest(err.Error())
	}
	if err := r.Journal.Write(ctx, r.entry(broker.KindUnblocked, by, t), true); err != nil {
		return broker.AuditUnavailable(err)
	}
	if err := r.Blocklist.Remove(ctx, t); err != nil {
		return broker.StoreUnavailable(err)
	}
	return nil
}
