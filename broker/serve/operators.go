package serve

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/console"
	"github.com/gatepass/gatepass/broker/revoke"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/workspace"
)

const (
	reconcileEvery     = 2 * time.Second
	reconcileWait      = 2 * time.Minute
	deleteExpiredEvery = 2 * time.Second // how often DeleteExpired is called
	releaseWait        = 2 * time.Second
	issuerWait         = 5 * time.Second // how long to wait for another run that works on the same workspace
)

// newRevoker makes the revoker.
func (d *daemon) newRevoker() *revoke.Revoker {
	return revoke.New(revoke.Config{
		Store: d.store, App: d.app, Blocklist: d.broker.Blocklist, Cache: d.broker.Cache, Journal: d.broker.Journal, Log: d.log,
		Policy: func() string { return d.config.policy().Hash }, Issuer: d.issuer, Secret: d.webhookSecret, TokenTime: d.app.earliest,
	})
}

// operators makes the operators' console. recorder is the broker's journal.
func (d *daemon) operators(recorder *console.Recorder) *console.Console {
	return console.New(console.Options{
		Server: d.broker, Store: d.store, App: d.app, Revoker: d.revoker, Recorder: recorder, Keys: d.config.known.Keys,
		Budget:    func(workspace string) error { return d.broker.Budget.Allow(workspace, true) },
		AuditHead: func() string { _, head := d.journal.Head(); return head },
	})
}

// issuer returns an issuer that revokes tokens delivered to workspaces.
func (d *daemon) issuer(ctx context.Context) (*workspace.Issuer, error) {
	app, err := d.app.any(ctx)
	if err != nil {
		return nil, err
	}
	return &workspace.Issuer{App: app.App, Store: d.store, LockWait: issuerWait}, nil
}

// webhookSecret returns the webhook secret of the configuration in force.
func (d *daemon) webhookSecret() (string, error) {
	w := d.config.file().Webhook
	if w.SecretFile == "" {
		return "", revoke.ErrNoWebhooks
	}
	return w.Secret()
}

// reconcile finishes what operators began, here or at another replica. When ctx ends,
// it releases the lease for another replica.
func (d *daemon) reconcile(ctx context.Context) {
	every(ctx, reconcileEvery, func() {
		if d.app.problem() != nil {
			return // without an App nothing can be revoked
		}
		ctx, cancel := context.WithTimeout(ctx, reconcileWait)
		defer cancel()
		done, err := d.revoker.Reconcile(ctx)
		err = usererr.Join(err, d.broker.UnusedRevoker.Retry(ctx))
		d.metrics.Revoked.Add(float64(done.Revoked))
		if done.Revoked > 0 {
			d.log.Info("the tokens of blocks are revoked", "count", done.Revoked)
		}
		if err != nil && !errors.Is(ctx.Err(), context.Canceled) {
			d.metrics.ReconcilesFailed.Inc()
			d.log.Error("not all tokens of blocks could be revoked", "error", err.Error())
		}
	})
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseWait)
	defer cancel()
	if err := d.revoker.Release(ctx); err != nil {
		d.log.Warn("the next broker can tidy the store only after half a minute", "error", err.Error())
	}
}

// deleteExpired deletes expired entries from the store. One call may take hours.
func (d *daemon) deleteExpired(ctx context.Context) {
	every(ctx, deleteExpiredEvery, func() {
		deleted, err := d.revoker.DeleteExpired(ctx)
		d.metrics.Deleted.Add(float64(deleted))
		if err != nil && !errors.Is(ctx.Err(), context.Canceled) {
			d.metrics.ReconcilesFailed.Inc()
			d.log.Error("not all expired entries could be deleted", "error", err.Error())
		}
	})
}

// revokedUnused records that a token which no workspace got was revoked.
func (d *daemon) revokedUnused(t credential.Token) {
	e := broker.Entry{Time: time.Now().UTC(), Kind: broker.KindRevoked, Subject: "reconcile", Hash: t.Hash(), Decision: broker.Granted, Policy: d.config.policy().Hash}
	if err := d.journal.Write(context.Background(), e, false); err != nil {
		d.log.Error("a token is revoked, but the store cannot record it", "token", t, "error", err.Error())
	}
}

// InstallationOf implements [console.GitHub].
func (a *app) InstallationOf(ctx context.Context, owner string) (mint.Installation, error) {
	app, err := a.get(ctx)
	if err != nil {
		return mint.Installation{}, err
	}
	return app.InstallationOf(ctx, owner)
}

// Installations implements [console.GitHub].
func (a *app) Installations(ctx context.Context) iter.Seq2[mint.Installation, error] {
	app, err := a.get(ctx)
	if err != nil {
		return func(yield func(mint.Installation, error) bool) { yield(mint.Installation{}, err) }
	}
	return app.Installations(ctx)
}
