package main

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	product "github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/mint"
)

const (
	fewestBlocks = 5                    // measured even if they take long
	askAgain     = 5 * time.Millisecond // pause between the requests of a workspace that is about to be blocked
	refusalWait  = 30 * time.Second
)

// blockToRefusal blocks workspaces at the first replica, one after the other, while
// each of them makes requests at all other replicas. It measures from the operator's
// request to the refusal at each of the other replicas.
func (w *scaleSetup) blockToRefusal(what string, most int, window time.Duration, limit float64) ([]row, error) {
	var refused, answered []time.Duration
	begun := time.Now()
	w.counter.take()
	blocks, failed := 0, 0
	for ; blocks < most && (blocks < fewestBlocks || time.Since(begun) < window); blocks++ {
		one, err := w.blockOne(w.next())
		if err != nil {
			return nil, err
		}
		refused, answered, failed = append(refused, one.refused...), append(answered, one.answered), failed+one.failed
	}
	made := w.counter.take()
	p50, p99 := percentiles(refused)
	answer50, answer99 := percentiles(answered)
	answer := row{Promise: what + ": until the operator has the answer, with what was revoked, 99th percentile", Ours: milliseconds(answer99, answer50)}
	if !w.uncounted {
		answer.Note = "calls for a block, with the looks of all replicas meanwhile: " + made.each(float64(blocks))
	}
	return []row{
		row{
			Promise: what + ": from block to refusal at another replica, 99th percentile", Ours: milliseconds(p99, p50),
			Note: fmt.Sprintf("in parentheses the median; %d blocks, seen at %d other replicas", blocks, len(w.replicas)-1),
		}.judged(atMost(limit)), answer,
		row{Promise: what + ": vends refused or failed while an operator blocks others", Ours: count(failed, unitRefusals)}.judged(atMost(0)),
	}, nil
}

// A blockTimes has the times from an operator's request until each of the other
// replicas refused, and until the operator had the answer.
type blockTimes struct {
	refused  []time.Duration
	answered time.Duration
	failed   int // requests before the block that failed
}

// answerWait bounds a revocation: the broker revokes for at most 30 seconds, and then
// lists the workspaces that shared a revoked token.
const answerWait = 10 * time.Minute

// blockOne makes every replica vend tokens to a workspace, and then blocks it.
func (w *scaleSetup) blockOne(id int) (blockTimes, error) {
	others := w.replicas[1:]
	one := blockTimes{refused: make([]time.Duration, len(others))}
	for _, v := range w.replicas {
		failed, err := v.waitUntilVended(id)
		if one.failed += failed; err != nil {
			return one, err
		}
	}
	errs := make([]error, len(others))
	refusedAt := make([]time.Time, len(others))
	var asking sync.WaitGroup
	for i, v := range others {
		asking.Go(func() { refusedAt[i], errs[i] = v.waitUntilRefused(id) })
	}
	first := w.replicas[0]
	client := first.client()
	client.Timeout = answerWait
	time.Sleep(rand.N(time.Second)) // so that the replicas are at a random point between two reads
	begun := time.Now()
	err := first.revoke(client, fmt.Sprintf("w-%d", id))
	one.answered = time.Since(begun)
	asking.Wait()
	for i, at := range refusedAt {
		one.refused[i] = at.Sub(begun)
	}
	return one, firstOf(append(errs, err)...)
}

// waitUntilVended makes requests until the workspace gets a token, and counts the failed
// requests.
func (v *brokerSetup) waitUntilVended(id int) (failed int, err error) {
	client := v.client()
	defer client.CloseIdleConnections()
	for begun := time.Now(); time.Since(begun) < refusalWait; time.Sleep(time.Second) {
		if err = v.ask(client, id, "acme/widgets"); err == nil {
			return failed, nil
		}
		failed++
	}
	return failed, err
}

// waitUntilRefused makes requests until the workspace is refused, and returns the time.
func (v *brokerSetup) waitUntilRefused(id int) (time.Time, error) {
	client := v.client()
	defer client.CloseIdleConnections()
	for begun := time.Now(); ; time.Sleep(askAgain) {
		err := v.ask(client, id, "acme/widgets")
		if isRefusal(err, 403) {
			return time.Now(), nil
		}
		if time.Since(begun) > refusalWait {
			return time.Now(), fmt.Errorf("after %s a blocked workspace is answered %w", refusalWait, firstOf(err, errNotRefused))
		}
	}
}

// budgetPatience bounds how long the workspaces of a measured Budget may take to become
// active.
const budgetPatience = 20 * time.Second

// scaleBudget measures the cost of one mint in the Budget, which holds its mutex during
// a mint.
func (b scaleBench) scaleBudget() ([]row, error) {
	few, fewTook := budgetCost(aThousand)
	many, manyTook := budgetCost(100 * aThousand)
	return []row{row{
		Promise: fmt.Sprintf("budget with %d active workspaces: time of a mint", many), Ours: microseconds(manyTook),
	}.beside(fmt.Sprintf("with %d", few), microseconds(fewTook)).judged(ratioAtMost(4))}, nil
}

// budgetCost makes n workspaces active, or as many as possible within budgetPatience,
// and returns how long another mint of one of them takes.
func budgetCost(n int) (active int, each time.Duration) {
	rate := mint.Rate{Limit: 5000, Remaining: 4000, Reset: time.Now().Add(time.Hour)}
	budget := &product.Budget{Rate: func() (mint.Rate, bool) { return rate, true }}
	ids := make([]string, n)
	for begun := time.Now(); active < n && time.Since(begun) < budgetPatience; active++ {
		ids[active] = fmt.Sprintf("sb-%06d", active)
		_ = budget.Allow(ids[active], false)
	}
	const rounds, calls = 20, 2000
	each = time.Hour
	for round := range rounds { // keep the fastest, which other work on the machine disturbed least
		begun := time.Now()
		for k := range calls {
			_ = budget.Allow(ids[(round+k)*7%active], false)
		}
		each = min(each, time.Since(begun)/calls)
	}
	return active, each
}

func microseconds(d time.Duration) figure {
	return figure{Value: float64(d) / float64(time.Microsecond), Unit: "µs"}
}
