package main

import (
	"fmt"
	"sync"
	"time"

	product "github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/mint"
)

const (
	fewestBlocks = 5                    // are measured, however long they take
	askAgain     = 5 * time.Millisecond // of a workspace that is about to be blocked
	refusalWait  = 30 * time.Second
)

// blockToRefusal blocks workspaces at the first replica, one after the other, while each
// asks at all others all the time. It counts from the operator's request to the refusal at
// each of the others.
func (w *scaleWorld) blockToRefusal(what string, most int, window time.Duration, limit float64) ([]row, error) {
	var took []time.Duration
	begun := time.Now()
	blocks := 0
	for ; blocks < most && (blocks < fewestBlocks || time.Since(begun) < window); blocks++ {
		some, err := w.blockOne(w.next())
		if err != nil {
			return nil, err
		}
		took = append(took, some...)
	}
	p50, p99 := percentiles(took)
	return []row{row{
		Promise: what + ": from block to refusal at another replica, 99th percentile", Ours: milliseconds(p99, p50),
		Note: fmt.Sprintf("in parentheses the median; %d blocks, seen at %d other replicas", blocks, len(w.replicas)-1),
	}.judged(atMost(limit))}, nil
}

// blockOne returns how long it took until each of the other replicas refused.
func (w *scaleWorld) blockOne(id int) ([]time.Duration, error) {
	for _, v := range w.replicas {
		if err := v.ask(v.client(), id, "acme/widgets"); err != nil {
			return nil, err
		}
	}
	others := w.replicas[1:]
	took, errs := make([]time.Duration, len(others)), make([]error, len(others)+1)
	begun := time.Now()
	var asking sync.WaitGroup
	for i, v := range others {
		asking.Go(func() {
			client := v.client()
			defer client.CloseIdleConnections()
			for err := error(nil); !isRefusal(err, 403); time.Sleep(askAgain) {
				if err = v.ask(client, id, "acme/widgets"); time.Since(begun) > refusalWait {
					errs[i] = fmt.Errorf("after %s a blocked workspace is answered %w", refusalWait, firstOf(err, errNotRefused))
					return
				}
				took[i] = time.Since(begun)
			}
		})
	}
	first := w.replicas[0]
	errs[len(others)] = first.revoke(first.client(), fmt.Sprintf("w-%d", id))
	asking.Wait()
	return took, firstOf(errs...)
}

// budgetPatience bounds how long the workspaces of a measured Budget take to become active.
const budgetPatience = 20 * time.Second

// scaleBudget measures what one mint costs in the Budget, which holds its mutex meanwhile.
func (b *bench) scaleBudget() ([]row, error) {
	few, fewTook := budgetCost(aThousand)
	many, manyTook := budgetCost(100 * aThousand)
	return []row{row{
		Promise: fmt.Sprintf("budget with %d active workspaces: processor time of a mint", many), Ours: microseconds(manyTook),
	}.beside(fmt.Sprintf("with %d", few), microseconds(fewTook)).judged(ratioAtMost(4))}, nil
}

// budgetCost has n workspaces be active, or as many as can be in budgetPatience, and
// returns how long a further mint of one of them takes.
func budgetCost(n int) (active int, each time.Duration) {
	rate := mint.Rate{Limit: 5000, Remaining: 4000, Reset: time.Now().Add(time.Hour)}
	budget := &product.Budget{Rate: func() (mint.Rate, bool) { return rate, true }}
	ids := make([]string, n)
	for begun := time.Now(); active < n && time.Since(begun) < budgetPatience; active++ {
		ids[active] = fmt.Sprintf("sb-%06d", active)
		_ = budget.Allow(ids[active], false)
	}
	const rounds = 2000
	begun := time.Now()
	for k := range rounds {
		_ = budget.Allow(ids[k*7%active], false)
	}
	return active, time.Since(begun) / rounds
}

func microseconds(d time.Duration) figure {
	return figure{Value: float64(d) / float64(time.Microsecond), Unit: "µs"}
}
