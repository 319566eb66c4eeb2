package main

import (
	"context"
	"iter"
	"time"

	"github.com/gatepass/gatepass/broker/console"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/workspace"
)

const (
	reconcileEvery = 3 * time.Second
	issuerPatience = 5 * time.Second // for another run that works on the same workspace
)

// operators makes what operators see and do. recorder has seen what the journal
// was told.
func (d *daemon) operators(recorder *console.Recorder) *console.Console {
	return console.New(console.Options{
		Server: d.server, Store: d.store, App: d.app, Bars: d.bars, Cache: d.cache, Recorder: recorder, Issuer: d.issuer,
		Keys: d.config.known.Keys, Secret: d.webhookSecret,
		Budget:    func(workspace string) error { return d.budget.Allow(workspace, true) },
		AuditHead: func() string { _, head := d.journal.Head(); return head },
	})
}

// issuer takes away what was delivered to workspaces.
func (d *daemon) issuer(ctx context.Context) (*workspace.Issuer, error) {
	app, err := d.app.get(ctx)
	if err != nil {
		return nil, err
	}
	return &workspace.Issuer{App: app.App, Store: d.store, Patience: issuerPatience}, nil
}

// webhookSecret is that of the configuration in force.
func (d *daemon) webhookSecret() (string, error) {
	w := d.config.file().Webhook
	if w.SecretFile == "" {
		return "", console.ErrNoWebhooks
	}
	return w.Secret()
}

// reconcile finishes what operators began, here or at another replica.
func (d *daemon) reconcile(ctx context.Context) {
	every(ctx, reconcileEvery, func() {
		if d.app.problem() != nil {
			return // nothing can be revoked yet
		}
		if err := d.console.Reconcile(ctx); err != nil && ctx.Err() == nil {
			d.metrics.SweepsFailed.Inc()
			d.log.Error("what was barred could not all be revoked", "error", err.Error())
		}
	})
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

// Revoke implements [console.GitHub].
func (a *app) Revoke(ctx context.Context, t credential.Token) error { return a.revoke(ctx, t) }

// Rate implements [console.GitHub].
func (a *app) Rate() (mint.Rate, bool) { return a.rate() }
