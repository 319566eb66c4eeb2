package main

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gatepass/gatepass/internal/clock"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/workspace"
	"github.com/gatepass/gatepass/workspace/profile"
)

// lockWait is how long a request for one workspace waits while another run holds the
// workspace.
const lockWait = 20 * time.Second

// A refresher makes rounds over the ledger. It keeps the store's client and the App
// between rounds, and reads records and configuration anew for each. It makes one round
// at a time.
type refresher struct {
	options options
	apps    issuing.Loader
	address string // the store's URL
	log     *slog.Logger
	monitor *monitor     // nil means that there is no monitor
	client  *http.Client // for GitHub; nil means mint's own
}

func newRefresher(o options, getenv func(string) string, log *slog.Logger) (*refresher, error) {
	address, err := issuing.StoreURL(o.store, getenv)
	if err != nil {
		return nil, err
	}
	s, err := issuing.OpenStore(address)
	if err != nil {
		return nil, err
	}
	return &refresher{options: o, apps: issuing.Loader{Store: s, GitHub: o.github}, address: address, log: log}, nil
}

// refresh does what q asks and logs it. It returns an error only if the round failed as
// a whole, so that no workspace was refreshed.
func (r *refresher) refresh(ctx context.Context, stop <-chan struct{}, q request) (report, error) {
	begun := time.Now()
	r.monitor.begin(begun)
	made, app, err := r.round(ctx, stop, q)
	if err != nil {
		made.Error = usererr.Escape(err.Error())
	}
	made.Seconds = time.Since(begun).Round(time.Millisecond).Seconds()
	if made.isBadKey {
		r.apps.Forget()
	}
	if app != nil {
		made.Clock = app.ClockProblem()
	}
	r.logRound(made, err)
	r.monitor.end(made, app, err)
	return made, err
}

func (r *refresher) round(ctx context.Context, stop <-chan struct{}, q request) (report, *mint.App, error) {
	issuer, app, err := r.apps.Issuer(ctx)
	if err != nil {
		return report{}, nil, err
	}
	for _, a := range issuer.Apps() {
		a.App.Client = r.client
	}
	made := report{unready: issuer.CannotMint(), apps: issuer.Apps()}
	issuer.Margin, issuer.Grace = r.options.margin, r.options.issuerGrace()
	issuer.Adopt = r.options.adopt
	issuer.Audit = func(e workspace.Event) {
		r.logEvent(e)
		r.monitor.event(e)
	}
	p := &workspace.Round{
		Issuer: issuer, Only: q.workspace, Workers: r.options.workers, Force: q.force, Stop: stop,
		Each: made.add,
	}
	if q.workspace != "" {
		issuer.LockWait = lockWait
		p.New, err = r.adoption(ctx, issuer, q)
	}
	if err == nil {
		var sum workspace.Summary
		sum, err = p.Run(ctx)
		made.count(sum)
	}
	return made, app.App, made.verdict(err)
}

// adoption returns the profile for a workspace that the ledger does not know, made from
// the payload if options.adopt is set. It returns nil if there is a record: the record
// counts.
func (r *refresher) adoption(ctx context.Context, issuer *workspace.Issuer, q request) (*profile.Profile, error) {
	_, err := issuer.Load(ctx, q.workspace)
	if !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	if q.frozen == nil || !r.options.adopt {
		return nil, unknownWorkspace(q)
	}
	p, err := q.frozen.profile()
	if err != nil {
		return nil, usererr.Wrap("adopt workspace "+q.workspace, err, "create it: gatepass workspace create PROFILE --id "+q.workspace)
	}
	return p, nil
}

// errUnknown reports a workspace that has no record.
var errUnknown = errors.New("the ledger does not have it")

func unknownWorkspace(q request) error {
	do := "create it: gatepass workspace create PROFILE --id " + q.workspace
	if q.frozen != nil {
		do += ", or set GATEPASS_ADOPT=true to create it from the payload"
	}
	return usererr.Wrap("refresh workspace "+q.workspace, errUnknown, do)
}

// profile converts the payload to a profile.
func (f *frozen) profile() (*profile.Profile, error) {
	p := &profile.Profile{Name: "adopted"}
	for _, text := range f.repositories {
		pattern, err := mint.ParsePattern(strings.TrimPrefix(text, "github.com/")) // the other system's profiles may have this prefix
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(p.Repositories, pattern.Equal) {
			p.Repositories = append(p.Repositories, pattern)
		}
	}
	if !p.HasAccess() {
		return nil, errors.New("the payload has no allowed_repos")
	}
	p.Permissions = mint.PermissionLevels(f.levels)
	if f.levels == nil {
		var err error
		if p.Permissions, err = mint.Verbs(f.verbs...); err != nil {
			return nil, err
		}
	}
	return p, p.Permissions.Validate()
}

// read parses a payload and checks it against this store.
func (r *refresher) read(payload []byte) (request, error) {
	q, err := parsePayload(payload)
	if err != nil {
		return request{}, usererr.Wrap("read the payload", err, "")
	}
	return q, r.checkParameter(q)
}

// checkParameter refuses a payload whose workspace reads its token from another
// parameter than the one to which this store delivers it.
func (r *refresher) checkParameter(q request) error {
	if q.frozen == nil || q.frozen.parameter == "" {
		return nil
	}
	source, err := issuing.Source(r.address, true)
	if err != nil {
		return err
	}
	what := "refresh workspace " + q.workspace
	u, err := url.Parse(source)
	if err != nil || u.Scheme != "ssm" {
		return usererr.New(what, "the payload names an SSM parameter, but the store is not in SSM", "leave ssm_parameter_name out, or name a store with ssm:///PREFIX")
	}
	here := strings.ReplaceAll(u.Path, "{workspace}", q.workspace)
	if strings.Trim(here, "/") != strings.Trim(q.frozen.parameter, "/") {
		return usererr.New(what, "its token is delivered to "+here+", but the payload names "+q.frozen.parameter,
			"add workspaces=/ to the store's URL, so that tokens are in /sandbox/ID, or leave ssm_parameter_name out")
	}
	return nil
}

// minRetry is the shortest time from the start of a failed round to the next one.
const minRetry = 30 * time.Second

// loop makes a round at once and then at intervals, until ctx ends. Rounds do not
// overlap.
func (r *refresher) loop(ctx context.Context) error {
	r.monitor = newMonitor(r.options.interval)
	if r.options.listen != nowhere {
		stop, err := r.monitor.serve(ctx, r.options.listen)
		if err != nil {
			return err
		}
		defer stop()
	}
	for {
		begun := time.Now()
		err := r.turn(ctx)
		if !sleepUntil(ctx, begun.Add(next(r.options.interval, err != nil)), time.Now) {
			return nil
		}
	}
}

// turn makes one round of the loop.
func (r *refresher) turn(ctx context.Context) error {
	ctx, stop, cancel := term(ctx, r.options.timeout, lastWait)
	defer cancel()
	made, err := r.refresh(ctx, stop, request{workspace: r.options.workspace})
	r.logFailures(made)
	return err
}

// next returns the time from the start of a round to the start of the next one: an
// interval, give or take a tenth, so that many refreshers do not work at the same time.
func next(interval time.Duration, hasFailed bool) time.Duration {
	if hasFailed {
		interval = min(interval, max(interval/5, minRetry))
	}
	return interval - interval/10 + rand.N(interval/5+1)
}

// maxSleep is the longest single sleep: a machine that wakes from suspension goes on
// after this time at the latest.
const maxSleep = 10 * time.Second

// sleepUntil waits until end by the wall clock or the monotonic clock, whichever comes
// first: tokens expire while the machine is suspended. It returns false if ctx ended.
func sleepUntil(ctx context.Context, end time.Time, now func() time.Time) bool {
	for left := clock.Left(end, now()); left > 0; left = clock.Left(end, now()) {
		if !sleep(ctx, min(left, maxSleep)) {
			return false
		}
	}
	return ctx.Err() == nil
}

// sleep waits for d. It returns false if ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(max(d, 0)):
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
