package main

import (
	"fmt"
	"sync"
	"time"

	"github.com/gatepass/gatepass/broker/blocklist"
)

const (
	unitRate     = "calls a second"
	unitRefusals = "refusals"
)

// coldRate is how many new workspaces make their first request per second: fewer than
// the three writes a second that Parameter Store takes.
const coldRate = 1

// A coldRun is the result of workspaces that made their first request.
type coldRun struct {
	took   []time.Duration
	failed int
	why    error // why the first failed
}

// cold makes workspaces send their first request: first one at each replica at the same
// time, then, at coldRate, at each replica in turn. It makes at least that many
// requests, and more until over is closed.
func (w *scaleSetup) cold(least int, over <-chan struct{}) coldRun {
	var run coldRun
	var mu sync.Mutex // guards run
	var asking sync.WaitGroup
	defer asking.Wait()
	for k := 0; ; k++ {
		select {
		case <-over:
			if k >= least {
				asking.Wait()
				return run
			}
		default:
		}
		id, v := w.next(), w.replicas[k%len(w.replicas)]
		asking.Go(func() {
			client := v.client()
			defer client.CloseIdleConnections()
			begun := time.Now()
			err := v.ask(client, id, "acme/widgets")
			mu.Lock()
			defer mu.Unlock()
			run.took = append(run.took, time.Since(begun))
			if err != nil {
				run.failed, run.why = run.failed+1, firstOf(run.why, err)
			}
		})
		if k >= len(w.replicas)-1 && w.pause(time.Second/coldRate) != nil {
			return run
		}
	}
}

// tidied waits until every expired entry is deleted. If it gives up, it returns how
// many are left.
func (w *scaleSetup) tidied(within time.Duration) (left int, err error) {
	for begun := time.Now(); ; {
		if left, err = w.leftOver(true); err != nil || left == 0 {
			return left, err
		}
		if time.Since(begun) > within {
			return w.leftOver(false)
		}
		if err := w.pause(2 * time.Second); err != nil {
			return left, err
		}
	}
}

// coldAndTidy starts replicas with a store that has expired entries, and makes
// workspaces send requests while the brokers clean up.
func (w *scaleSetup) coldAndTidy(what string, replicas, asks, expired int, within time.Duration) ([]row, error) {
	if err := w.addOver(expired); err != nil {
		return nil, err
	}
	if err := w.run(replicas); err != nil {
		return nil, err
	}
	w.fleet.github.ResetRequests()
	w.counter.take()
	over := make(chan struct{})
	var left int
	var took time.Duration
	var err error
	go func() {
		defer close(over)
		begun := time.Now()
		left, err = w.tidied(within)
		took = time.Since(begun)
	}()
	run := w.cold(asks, over)
	<-over
	if err := firstOf(err, w.ctx.Err()); err != nil {
		return nil, err
	}
	mints, _ := w.fleet.asked()
	made := w.counter.take()
	p50, p99 := percentiles(run.took)
	note := fmt.Sprintf("of %d asked, one in a second", len(run.took))
	if run.why != nil {
		note += fmt.Sprintf("; the first: %.200s", run.why)
	}
	ends := fmt.Sprintf("all were deleted after %.0f s", took.Seconds())
	if left > 0 {
		ends = fmt.Sprintf("given up after %.0f s", took.Seconds())
	}
	if !w.uncounted {
		ends += "; calls meanwhile: " + made.each(1)
	}
	return []row{
		row{Promise: what + ": cold vends refused or failed while brokers tidy up", Ours: count(run.failed, unitRefusals), Note: note}.judged(atMost(0)),
		{Promise: what + ": a cold vend meanwhile, 99th percentile", Ours: milliseconds(p99, p50), Note: "in parentheses the median"},
		row{Promise: fmt.Sprintf("%s: of %d entries that had run out, left", what, len(w.expired)), Ours: count(left, unitEntries), Note: ends}.judged(atMost(0)),
		row{Promise: fmt.Sprintf("%s: mints for one scope", what), Ours: count(mints, unitRequests)}.judged(atMost(1)),
	}, nil
}

const unitEntries = "entries"

const (
	// untilIdle is how long after the last request a replica still works as if more
	// would come.
	untilIdle = 30 * time.Second
	// untilSettled is how long a replica works on what was blocked: it checks again for
	// two minutes, and finds who shared the tokens.
	untilSettled = 6 * time.Minute
)

// idle counts the replicas' calls of the store while no workspace makes requests. It
// waits first until the replicas have finished what they began.
func (w *scaleSetup) idle(what string, wait, window time.Duration) (row, error) {
	if len(w.replicas) == 0 {
		return row{}, errNoReplica
	}
	if err := w.pause(wait); err != nil {
		return row{}, err
	}
	w.counter.take()
	if err := w.pause(window); err != nil {
		return row{}, err
	}
	made := w.counter.take()
	each := window.Seconds() * float64(len(w.replicas))
	return row{
		Promise: fmt.Sprintf("%s: store calls of an idle replica", what), Ours: figure{Value: float64(made.total()) / each, Unit: unitRate},
		Note: fmt.Sprintf("in %.0f s: %s", window.Seconds(), made.each(each)),
	}.judged(atMost(1)), nil
}

// block blocks workspaces with the product's own writes, at a time in the past.
func (w *scaleSetup) block(n int) error {
	blocks := &blocklist.List{Store: w.store}
	for k := range n {
		if err := blocks.Block(w.ctx, fmt.Sprintf("blocked-%06d", k)); err != nil {
			return err
		}
	}
	if w.ageBlocks != nil {
		w.ageBlocks()
	}
	return nil
}

// blocked makes one workspace send requests to each replica continuously, while many
// others are blocked.
func (w *scaleSetup) blocked(what string, blocked, replicas int, window time.Duration) ([]row, error) {
	if err := w.block(blocked); err != nil {
		return nil, err
	}
	if err := w.run(replicas); err != nil {
		return nil, err
	}
	w.counter.take()
	var mu sync.Mutex // guards the counts
	given, refused, why := 0, 0, error(nil)
	until := time.Now().Add(window)
	var asking sync.WaitGroup
	for _, v := range w.replicas {
		id := w.next()
		asking.Go(func() {
			client := v.client()
			defer client.CloseIdleConnections()
			for time.Now().Before(until) && w.ctx.Err() == nil {
				err := v.ask(client, id, "acme/widgets")
				mu.Lock()
				if err == nil {
					given++
				} else {
					refused, why = refused+1, firstOf(why, err)
				}
				mu.Unlock()
				time.Sleep(100 * time.Millisecond)
			}
		})
	}
	asking.Wait()
	made := w.counter.take()
	looks := 2 * window.Seconds() * float64(replicas)
	reads := made.total() - made.of("Put") - made.of("Delete") - made.of("write") - made.of("delete") - made.of("create") - made.of("update")
	note := fmt.Sprintf("in %.0f s %d tokens were given", window.Seconds(), given)
	if why != nil {
		note += fmt.Sprintf("; the first refusal: %.150s", why)
	}
	return []row{
		row{Promise: what + ": requests refused", Ours: count(refused, unitRefusals), Note: note}.judged(atMost(0)),
		row{Promise: what + ": reads of the store for a look at the block list", Ours: figure{Value: float64(reads) / looks, Unit: unitCalls}, Note: "a replica looks twice in a second; all reads are counted: " + made.each(looks)}.judged(atMost(2)),
	}, nil
}
