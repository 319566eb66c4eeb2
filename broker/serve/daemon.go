package serve

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/audit"
	"github.com/gatepass/gatepass/broker/config"
	"github.com/gatepass/gatepass/broker/console"
	"github.com/gatepass/gatepass/broker/gateway"
	"github.com/gatepass/gatepass/broker/gateway/access"
	"github.com/gatepass/gatepass/broker/identity"
	"github.com/gatepass/gatepass/broker/revoke"
	"github.com/gatepass/gatepass/broker/telemetry"
	"github.com/gatepass/gatepass/internal/filestamp"
	"github.com/gatepass/gatepass/internal/systemd"
	"github.com/gatepass/gatepass/internal/version"
	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/store"
)

// A daemon is a running broker.
type daemon struct {
	getenv func(string) string
	log    *slog.Logger
	level  slog.LevelVar

	config  *configuration
	store   store.Store
	app     *apps
	journal *audit.Log
	metrics *Metrics
	probe   *probe
	pair    *Certificate      // nil without https
	copies  telemetry.Copies  // copies of the audit log
	traces  *telemetry.Traces // nil without a collector
	route   access.Route      // to GitHub

	broker  *broker.Broker
	revoker *revoke.Revoker
	gateway *gateway.Gateway // nil if the broker has no git gateway

	draining atomic.Bool
	reopen   atomic.Pointer[error] // why the audit log could not go on in another file
}

// serve runs the broker from start to end.
func serve(ctx context.Context, path string, getenv func(string) string, stderr io.Writer, signals <-chan os.Signal) error {
	setGC(getenv)
	d := &daemon{getenv: getenv}
	seen := stampsOf(path, nil) // the profiles are not known yet; the first look reads everything again
	f, err := config.Load(path)
	if err != nil {
		return err
	}
	d.log = newLog(f, stderr, &d.level)
	if err := d.open(ctx, path, seen, f); err != nil {
		return errors.Join(err, d.close())
	}
	return errors.Join(d.run(ctx, f, signals), d.close())
}

// open opens everything except the listeners.
func (d *daemon) open(ctx context.Context, path string, seen map[string]filestamp.Stamp, f *config.File) (err error) {
	if d.store, err = issuing.OpenStore(storeURL(f, d.getenv)); err != nil {
		return err
	}
	if needsTLS(f) {
		if d.pair, err = LoadCertificate(f.TLS.CertFile, f.TLS.KeyFile); err != nil {
			return err
		}
		d.pair.Failed = func(err error) { d.log.Error("the changed certificate is not used", "error", err.Error()) }
	}
	if d.traces, err = telemetry.NewTraces(d.getenv); err != nil {
		return err
	}
	if d.copies, err = telemetry.NewCopies(f.Audit); err != nil {
		return err
	}
	if d.journal, err = audit.Open(f.Audit.File); err != nil {
		return err
	}
	d.journal.MaxSize = int64(f.Audit.MaxSize)
	d.journal.Copy = d.copies.Send
	seq, head := d.journal.Head()
	d.log.Info("the audit log continues", "file", f.Audit.File, "seq", seq, "head", head)
	if d.route, err = routeOf(f.Upstream); err != nil {
		return err
	}
	d.assemble(path, f)
	if err := d.config.findGitHub(ctx, f, d.store, d.getenv); err != nil {
		return err
	}
	if err := d.openGateway(ctx, f); err != nil {
		return err
	}
	return d.config.begin(ctx, f, seen)
}

// assemble composes the broker.
func (d *daemon) assemble(path string, f *config.File) {
	d.metrics = NewMetrics(version.String())
	d.config = &configuration{path: path, known: d.identifiers(), journal: d.journal, log: d.log, metrics: d.metrics}
	github := f.GitHubURL
	if github == "" {
		github = d.getenv(issuing.GitHubVariable)
	}
	d.app = newApps(d.store, github, d.log)
	if !f.Upstream.IsZero() {
		d.app.client = clientWith(d.route)
	}
	recorder := &console.Recorder{Next: d.journal}
	d.broker = broker.New(broker.Config{
		Policy: d.config.policy, Journal: recorder, Store: d.store, GitHub: d.app, Limits: d.limits, UnauthLimits: d.unauthLimits,
		Log: d.log, TokenTime: d.app.time, Observe: d.metrics.Observe, Pushed: d.metrics.Pushed, OnBlocklistError: d.onBlocklistError, RevokedUnused: d.revokedUnused,
		WrapMint: func(next broker.MintFunc) broker.MintFunc { return d.traces.Mint(d.metrics.Minted(next)) },
	})
	d.revoker = d.newRevoker()
	d.broker.Extra = d.endpoints()
	d.broker.Mounted = d.operators(recorder).Routes()
	d.probe = &probe{d: d}
	d.metrics.Read(d.gauges()...)
	d.metrics.registry.MustRegister(newAppCollector(d.app))
}

// onBlocklistError logs when the block list cannot be read, and when it can be again.
func (d *daemon) onBlocklistError(err error) {
	if err == nil {
		d.log.Info("the block list can be read again")
		return
	}
	d.log.Error("the block list cannot be read; after one second without it, the broker refuses every request", "error", err.Error())
}

// identifiers returns the identifiers. Their keys are in the store, so all brokers of a
// store accept the same sessions.
func (d *daemon) identifiers() *config.Identifiers {
	known := new(config.Identifiers)
	known.Keys = &identity.Keyset{Store: d.store}
	return known
}

// endpoints returns the calls for join tokens, nonces and webhooks.
func (d *daemon) endpoints() map[string]broker.Endpoint {
	known := d.config.known
	desk := &identity.Exchanger{Sessions: known.Sessions(), Store: d.store, Policy: d.config.policy, Blocker: d.broker.Blocklist, Journal: d.journal}
	desk.ChargeUnauth, desk.UnauthExceeded = d.broker.ChargeUnauth, d.broker.UnauthExceeded
	desk.Workspaces = &broker.Limiter{Limits: d.limits}
	return map[string]broker.Endpoint{api.ExchangePath: desk.Endpoint(), api.NoncePath: known.Nonces().Endpoint(), revoke.WebhookPath: d.revoker.Webhook()}
}

// limits returns the limits of a workspace, from the configuration in force.
func (d *daemon) limits() broker.Limits {
	l := d.config.file().Limits
	return broker.Limits{Requests: l.WorkspaceRequests, Rate: l.WorkspaceRate, Burst: l.WorkspaceBurst}
}

// unauthLimits returns the limits of an address for requests without an identity.
func (d *daemon) unauthLimits() broker.Limits {
	l := d.config.file().Limits
	return broker.Limits{Rate: l.UnauthRate, Burst: l.UnauthBurst}
}

func (d *daemon) reopenFailed() error {
	if err := d.reopen.Load(); err != nil {
		return *err
	}
	return nil
}

// appEvery is how often a missing App is looked for.
const appEvery = 5 * time.Second

// run serves until a signal comes or a listener fails.
func (d *daemon) run(ctx context.Context, f *config.File, signals <-chan os.Signal) error {
	doors, err := d.listeners(f)
	if err != nil {
		return err
	}
	failed := make(chan error, len(doors))
	for _, o := range doors {
		go o.start(failed)
	}
	ctx, cancel := context.WithCancel(ctx)
	var loops sync.WaitGroup
	for _, loop := range []func(context.Context){d.watch, d.findApp, d.watchClock, d.reconcile, d.deleteExpired, d.watchTransfers, d.broker.Blocklist.Watch} {
		loops.Go(func() { loop(ctx) })
	}
	for _, o := range doors {
		d.log.Info("the broker listens", "address", o.Addr().Network()+":"+o.Addr().String())
	}
	if err := systemd.Notify(d.getenv, systemd.Ready); err != nil {
		d.log.Warn("the broker cannot notify systemd", "error", err.Error())
	}
	err = d.wait(ctx, signals, failed)
	d.drain(doors, d.config.file().Limits.Drain, signals)
	cancel()
	loops.Wait()
	return err
}

// wait returns when the broker must end. It handles SIGHUP meanwhile.
func (d *daemon) wait(ctx context.Context, signals <-chan os.Signal, failed <-chan error) error {
	for {
		select {
		case s := <-signals:
			if s != syscall.SIGHUP {
				return nil
			}
			d.reopenLog()
			go d.app.renew(ctx) // in the background, so that a second signal does not wait for the store
			d.config.reload(ctx, true)
			setLevel(d.config.file(), &d.level)
		case err := <-failed:
			return err
		case <-ctx.Done():
			return nil
		}
	}
}

// reopenLog makes the audit log go on in a new file if the current one was renamed.
func (d *daemon) reopenLog() {
	err := d.journal.Reopen()
	was := d.reopenFailed()
	d.reopen.Store(&err)
	if err != nil && (was == nil || was.Error() != err.Error()) {
		d.log.Error("the audit log stays in its old file", "error", err.Error())
	}
}

// every calls f at once, and then at each interval, until ctx ends.
func every(ctx context.Context, interval time.Duration, f func()) {
	t := time.NewTicker(interval)
	defer t.Stop()
	for ctx.Err() == nil {
		f()
		select {
		case <-ctx.Done():
		case <-t.C:
		}
	}
}

// watch checks the configuration's files and the audit log's file for changes.
func (d *daemon) watch(ctx context.Context) {
	every(ctx, checkEvery, func() {
		d.reopenLog()
		d.config.reload(ctx, false)
		setLevel(d.config.file(), &d.level)
	})
}

// findApp looks for an App until it finds one, and again when that is lost.
func (d *daemon) findApp(ctx context.Context) {
	every(ctx, appEvery, func() { d.app.find(ctx) })
}

// lastWait is the time for sending what is left when the broker ends.
const lastWait = 3 * time.Second

// close closes what open has opened.
func (d *daemon) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), lastWait)
	defer cancel()
	var err error
	if d.journal != nil {
		err = d.journal.Close()
		seq, head := d.journal.Head()
		d.log.Info("the audit log ends", "seq", seq, "head", head)
	}
	var ends sync.WaitGroup
	ends.Go(func() { d.copies.Close(ctx) })
	ends.Go(func() { d.traces.Close(ctx) })
	ends.Wait()
	return err
}
