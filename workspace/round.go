package workspace

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/workspace/profile"
)

// The defaults of a Round.
const (
	defaultWorkers = 20
	reservePart    = 10 // this part of the rate limit is reserved for urgent requests: a tenth
)

// A Round goes over the ledger once and refreshes every workspace with something due,
// starting with the tokens that expire first. It reads the store and GitHub as they are
// now. In a store that is Indexed, it reads only records that are due, by the margin
// and grace of the Issuer that wrote each last; it reads all records if Force is set or
// an installation is new.
type Round struct {
	Issuer  *Issuer          // configured as for one workspace
	Only    string           // the one workspace to refresh, due or not; "" means all
	New     *profile.Profile // with Only: creates that workspace if the ledger does not have it; may be nil
	Workers int              // number of workspaces refreshed at the same time; 0 means 20
	Force   bool             // replace every token, due or not
	Each    func(Result)     // called for each workspace that was due, one at a time; may be nil

	// Stop is closed when no further workspace may be started. Workspaces in work are
	// finished, and the rest is deferred. A nil Stop is never closed.
	Stop <-chan struct{}
}

// A Result is the outcome for one workspace.
type Result struct {
	Workspace string
	Err       error // nil on success
}

// IsLeft reports whether the workspace was left to another run or a later round, which
// may succeed without a change.
func (r Result) IsLeft() bool { return errors.Is(r.Err, ErrBusy) || isDeferral(r.Err) }

// A Summary is what a round found and did.
type Summary struct {
	Workspaces int  // in the ledger; 1 if there was only one to refresh
	IsPart     bool // Workspaces are only those that the store's index says are due
	Due        int  // of them
	Refreshed  int  // of those due: successful
	Failed     int  // of those due: with an error
	Busy       int  // of those due: held by another run
	Deferred   int  // of those due: left to a later round
	Minted     int  // tokens
	Revoked    int  // tokens
	Lost       int  // tokens that may be alive and whose value is lost
	Expired    int  // workspaces with a token that expired before the round
	// Soonest is the first expiry of all delivered tokens; zero for none. If IsPart is
	// set, it is the first of those that were due or are due next.
	Soonest time.Time
	Took    time.Duration
}

// item is a workspace with something due.
type item struct {
	id   string
	ends time.Time // the expiry of its first token; zero if it has none yet
	err  error     // its record cannot be read

	installation int64 // of the token that expires first

	isUnknown bool // the ledger does not have it
}

// Run makes the round. The error is about the ledger as a whole, or reports that ctx
// ended before everything was done; the summary counts errors of single workspaces. The
// error wraps [store.ErrNotFound] if the ledger does not know the Only workspace.
func (p *Round) Run(ctx context.Context) (Summary, error) {
	w := p.worker()
	begun := w.issuer.clock().machine()
	w.issuer.Sync(ctx) // what is due depends on the clock
	items, err := w.due(ctx)
	if err == nil {
		err = usererr.Join(w.work(ctx, items), w.recordUpcoming(ctx))
	}
	w.sum.Took = w.issuer.clock().machine().Sub(begun)
	return w.sum, err
}

// worker holds what one round shares: the repositories and installations that it has
// read, and what is not worth asking again.
type worker struct {
	round  *Round
	issuer *Issuer

	blocks store.Blocks // as they were when the round began

	mu  sync.Mutex // guards sum, and Each
	sum Summary
}

func (p *Round) worker() *worker {
	own := *p.Issuer
	w := &worker{round: p, issuer: &own}
	own.Catalog = new(mint.Catalog)
	if p.Only == "" {
		own.shared = &shared{apps: own.apps()}
		for at := range own.shared.apps.minters {
			own.shared.apps.minters[at].learned = new(roundCache)
		}
	}
	own.Audit = func(e Event) {
		w.count(e)
		p.Issuer.emit(e)
	}
	return w
}

func (w *worker) count(e Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch e.Type {
	case Generated:
		w.sum.Minted++
	case Ended:
		w.sum.Revoked++
	case Lost:
		w.sum.Lost++
	}
}

// due reads the ledger, and keeps an item for each record with something due.
func (w *worker) due(ctx context.Context) ([]item, error) {
	if w.round.Only != "" {
		return w.checkOne(ctx)
	}
	installed, err := w.issuer.apps().stored(ctx)
	if err != nil {
		return nil, err
	}
	if w.blocks, err = store.ReadBlocks(ctx, w.issuer.Store); err != nil {
		return nil, err
	}
	w.issuer.shared.blocks = &w.blocks
	var items []item
	for found, err := range w.records(ctx) {
		if err != nil {
			return nil, err
		}
		w.sum.Workspaces++
		if found.Err != nil {
			items = append(items, item{id: found.ID, err: found.Err})
			continue
		}
		ends, isDue := w.check(found.Record, installed)
		if isDue {
			items = append(items, item{id: found.ID, ends: ends, installation: found.Record.installationAt(ends)})
		}
	}
	slices.SortStableFunc(items, func(a, b item) int { return a.ends.Compare(b.ends) })
	w.sum.Due = len(items)
	return items, nil
}

// checkOne checks one workspace. A user asked for it, so it also repairs what the record
// does not show, such as a missing token.
func (w *worker) checkOne(ctx context.Context) ([]item, error) {
	r, err := w.issuer.Load(ctx, w.round.Only)
	if errors.Is(err, store.ErrNotFound) && w.round.New != nil {
		w.sum.Workspaces, w.sum.Due = 1, 1
		return []item{{id: w.round.Only, isUnknown: true}}, nil
	}
	if err != nil {
		return nil, err
	}
	ends := r.Soonest()
	w.sum.Workspaces, w.sum.Due = 1, 1
	if !ends.IsZero() && !ends.After(w.issuer.Time()) {
		w.sum.Expired = 1
	}
	return []item{{id: r.ID, ends: ends, installation: r.installationAt(ends)}}, nil
}

// check decides by the record alone whether a workspace has something due, as if the
// store held what the ledger says.
func (w *worker) check(r *Record, installed []mint.Installation) (ends time.Time, isDue bool) {
	want := w.issuer.ledger().want(r, allowed(ownersOf(r.Repositories, installed), r.ID, w.blocks))
	held := Held{Current: map[string]string{}}
	for _, t := range r.Tokens {
		switch t.State {
		case Delivered:
			held.Current[strings.ToLower(t.Owner)] = t.Hash
		case Superseded:
			held.Superseded = append(held.Superseded, t.Hash)
		}
	}
	if ends = r.Soonest(); !ends.IsZero() && !ends.After(want.Now) {
		w.sum.Expired++
	}
	isLeft := r.LastError != nil && r.LastError.Foreign
	steps := slices.DeleteFunc(Plan(r, held, want), r.canWait)
	isDue = w.round.Force || r.Destroying || len(steps) > 0 || want.Adopt && isLeft
	if !isDue {
		w.sum.note(ends)
	}
	return ends, isDue
}

// canWait reports whether a step does not justify a run: the run that replaces the next
// token also deletes the entry of an expired superseded one.
func (r *Record) canWait(s Step) bool {
	return s.Do == Forget && slices.ContainsFunc(r.Tokens, func(t Token) bool { return t.Hash == s.Hash && t.State == Superseded })
}

func (s *Summary) note(ends time.Time) {
	if !ends.IsZero() && (s.Soonest.IsZero() || ends.Before(s.Soonest)) {
		s.Soonest = ends
	}
}

// work refreshes the items, a limited number at the same time.
func (w *worker) work(ctx context.Context, items []item) error {
	workers := w.round.Workers
	if workers <= 0 {
		workers = defaultWorkers
	}
	queue := make(chan item)
	var running sync.WaitGroup
	for range min(workers, len(items)) {
		running.Go(func() {
			for it := range queue {
				w.finish(w.refresh(ctx, it))
			}
		})
	}
	for _, it := range items {
		queue <- it
	}
	close(queue)
	running.Wait()
	return context.Cause(ctx)
}

// refresh refreshes one workspace, unless it can and should wait.
func (w *worker) refresh(ctx context.Context, it item) (Result, time.Time) {
	result := Result{Workspace: it.id, Err: it.err}
	switch {
	case it.err != nil:
		return result, it.ends
	case ctx.Err() != nil, w.isStopped():
		result.Err = deferred(outOfTime)
		return result, it.ends
	case w.canWait(it):
		result.Err = deferred("GitHub's rate limit is nearly used up")
		return result, it.ends
	}
	r, err := w.run(ctx, it)
	if errors.Is(err, store.ErrNotFound) && r == nil {
		err = nil // destroyed meanwhile
	}
	if err != nil && ctx.Err() != nil {
		err = deferred(outOfTime)
	}
	result.Err = err
	if r == nil {
		return result, it.ends
	}
	return result, r.Soonest()
}

func (w *worker) run(ctx context.Context, it item) (*Record, error) {
	if it.isUnknown {
		return w.issuer.Create(ctx, it.id, w.round.New, 0)
	}
	return w.issuer.Refresh(ctx, it.id, w.round.Force)
}

const outOfTime = "the time limit of this round has passed"

func (w *worker) isStopped() bool {
	select {
	case <-w.round.Stop:
		return true
	default:
		return false
	}
}

// canWait reports whether a token lives until GitHub's rate limit is reset, and little
// of the limit is left now.
func (w *worker) canWait(it item) bool {
	rate, ok := w.issuer.apps().rateOf(it.installation)
	return ok && rate.Remaining <= rate.Limit/reservePart && rate.Reset.After(w.issuer.Time()) && it.ends.After(rate.Reset.Add(time.Minute))
}

// ErrDeferred reports that a workspace was left to a later round.
var ErrDeferred = errors.New("deferred to the next round")

func deferred(why string) error {
	return &usererr.Error{Op: "refresh", Reason: "deferred to the next round: " + why, Err: ErrDeferred}
}

func (w *worker) finish(r Result, ends time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sum.note(ends)
	switch {
	case r.Err == nil:
		w.sum.Refreshed++
	case errors.Is(r.Err, ErrBusy):
		w.sum.Busy++
	case r.IsLeft():
		w.sum.Deferred++
	default:
		w.sum.Failed++
	}
	if w.round.Each != nil {
		w.round.Each(r)
	}
}

// isDeferral reports whether the next round may succeed without a change.
func isDeferral(err error) bool {
	failure, ok := errors.AsType[*mint.Error](err)
	return errors.Is(err, ErrDeferred) || ok && failure.Kind == mint.RateLimited
}

// newInstallation is how long after an installation was written a round reads all
// records, because "*" in a record includes that installation. It is longer than the
// time between two rounds.
const newInstallation = DefaultMargin

// records yields the records that may have something due: those in the store's index,
// or all of them.
func (w *worker) records(ctx context.Context) iter.Seq2[Found, error] {
	index, ok := w.issuer.Store.(store.Indexed)
	now := w.issuer.Time()
	if !ok || w.round.Force || now.Sub(w.issuer.shared.apps.changed()) < newInstallation {
		return Records(ctx, w.issuer.Store)
	}
	w.sum.IsPart = true
	return found(index.Due(ctx, store.Workspaces(), now.Add(time.Second), 0))
}

// To find out which token expires first, up to lookAhead records are read, among at
// most maxAhead entries that are due next. Tokens from brokers are such entries too.
const (
	lookAhead = 20
	maxAhead  = 200
)

// recordUpcoming records the expiries of the tokens that are due next. The summary already has
// those that were due.
func (w *worker) recordUpcoming(ctx context.Context) error {
	index, ok := w.issuer.Store.(store.Indexed)
	if !ok || !w.sum.IsPart {
		return nil
	}
	blocked, records := len(w.blocks.Workspaces), 0 // blocked workspaces are always due
	for f, err := range found(index.Due(ctx, store.Workspaces(), w.issuer.Time().Add(2*tokenLife), maxAhead+blocked)) {
		if err != nil {
			return err
		}
		if f.Err == nil {
			w.sum.note(f.Record.Soonest())
		}
		if records++; records == lookAhead+blocked {
			return nil
		}
	}
	return nil
}
