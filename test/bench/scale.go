package main

import (
	"fmt"
	"time"
)

const (
	aThousand   = 1_000
	manyBlocked = 400
	scaleOver   = 100 // expired entries when the brokers start
)

// A scaleCase says how one store is measured.
type scaleCase struct {
	open      func(scaleBench) (*measuredStore, error)
	few, many int // workspaces
	replicas  int
	cold      int           // workspaces that make their first request during a cleanup round
	refreshes int           // workspaces whose tokens are replaced
	blocks    int           // workspaces that are blocked, at most
	refusal   float64       // limit from block to refusal, in ms
	pass      float64       // limit of a round with nothing due, in ms; 0 means none
	isIndexed bool          // a round reads only what is due, so its calls do not depend on the number of workspaces
	window    time.Duration // how long to count while nothing happens
	tidyFew   bool          // also measure brokers at few workspaces
}

// tidyWait is the longest time for a cleanup round. With Parameter Store, which lists ten
// names per call, one of 10,000 workspaces takes over ten minutes.
const tidyWait = 20 * time.Minute

// idleWindow contains a whole round of the work that brokers do every five minutes.
const idleWindow = 310 * time.Second

var scaleCases = map[string]scaleCase{
	"file":       {open: scaleBench.openFiles, few: 1000, many: 10_000, replicas: 3, cold: 60, blocks: 30, refusal: 1000, window: time.Minute},
	"ssm":        {open: scaleBench.openSSM, few: 2000, many: 10_000, replicas: 4, cold: 60, refreshes: 5, blocks: 12, refusal: 1000, window: idleWindow, tidyFew: true},
	"vault":      {open: scaleBench.openVault, few: 1000, many: 10_000, replicas: 3, cold: 60, refreshes: 30, blocks: 30, refusal: 1000, window: idleWindow},
	"kubernetes": {open: scaleBench.openKubernetes, few: 1000, many: 10_000, replicas: 3, cold: 60, refreshes: 40, blocks: 30, refusal: 1000, window: idleWindow},
	"dynamodb":   {open: scaleBench.openDynamoDB, few: 1000, many: 10_000, replicas: 4, cold: 60, refreshes: 30, blocks: 30, refusal: 1000, isIndexed: true, window: idleWindow},
	"postgres":   {open: scaleBench.openPostgres, few: 1000, many: 100_000, replicas: 4, cold: 60, refreshes: 100, blocks: 100, refusal: 100, pass: 1000, isIndexed: true, window: idleWindow},
}

// scaleOrder is the order in which the stores are measured.
var scaleOrder = []string{"file", "ssm", "vault", "kubernetes", "dynamodb", "postgres"}

// A scaleBench measures stores with many workspaces.
type scaleBench struct{ *bench }

// scale measures the calls of a store as the numbers of workspaces and replicas grow.
func (b scaleBench) scale() ([]row, error) {
	all, err := b.scaleBudget()
	for _, name := range scaleOrder {
		if err != nil {
			return all, err
		}
		if len(b.stores) > 0 && !b.stores[name] {
			continue
		}
		rows, failed := b.scaleStore(name, scaleCases[name])
		all = append(all, rows...)
		if err = b.ctx.Err(); failed != nil && err == nil { // go on with the other stores
			all = append(all, row{Promise: name + ": to be measured to the end", Verdict: missed, Note: failed.Error()})
		}
	}
	return all, err
}

// scaleStore measures one store, or reports that it is missing.
func (b scaleBench) scaleStore(name string, c scaleCase) ([]row, error) {
	if b.quick {
		c = c.hurried()
	}
	sh, err := c.open(b)
	if err != nil {
		return []row{{Promise: name, Verdict: missing, Note: err.Error()}}, nil
	}
	w, err := b.startScale(sh)
	if err != nil {
		return nil, err
	}
	defer w.end()
	rows, err := w.measure(c)
	if err != nil || name != "ssm" {
		return rows, err
	}
	blocked, err := b.scaleBlocked(c)
	return append(rows, blocked...), err
}

// growth returns the largest allowed ratio of a round's calls at many workspaces to
// those at few.
func (c scaleCase) growth() float64 {
	if c.isIndexed {
		return 1.5
	}
	return float64(c.many) / float64(c.few)
}

func (c scaleCase) hurried() scaleCase {
	c.few, c.many, c.cold, c.window = 200, 1000, 10, 20*time.Second
	c.replicas, c.refreshes, c.blocks = min(c.replicas, 3), min(c.refreshes, 20), 5
	return c
}

// measure fills the store in two steps and measures it.
func (w *scaleSetup) measure(c scaleCase) ([]row, error) {
	few, err := w.stage(c, c.few)
	if err != nil {
		return nil, err
	}
	var rows []row
	if c.tidyFew {
		if rows, err = w.brokers(c); err != nil {
			return rows, err
		}
		w.stopReplicas()
	}
	many, err := w.stage(c, c.many)
	if err != nil {
		return rows, err
	}
	rows = append(w.stageRows(c, few, many), rows...)
	brokers, err := w.brokers(c)
	rows = append(rows, brokers...)
	what := w.title(c)
	if err != nil {
		return rows, err
	}
	refusals, err := w.blockToRefusal(what, c.blocks, scaleBench{w.bench}.span(time.Minute, 20*time.Second), c.refusal)
	rows = append(rows, refusals...)
	if err != nil || w.uncounted {
		return rows, err
	}
	idle, err := w.idle(what, scaleBench{w.bench}.span(untilSettled, untilIdle), c.window)
	return append(rows, idle), err
}

// title begins the rows about brokers.
func (w *scaleSetup) title(c scaleCase) string {
	return fmt.Sprintf("%s, %d workspaces, %d replicas", w.name, w.n, c.replicas)
}

// brokers starts the replicas, and measures them while they clean up.
func (w *scaleSetup) brokers(c scaleCase) ([]row, error) {
	return w.coldAndTidy(w.title(c), c.replicas, c.cold, scaleOver, tidyWait)
}

// A stage is a measurement without brokers, at one number of workspaces.
type stage struct {
	n       int
	pass    roundCost
	refresh cost
}

func (w *scaleSetup) stage(c scaleCase, n int) (s stage, err error) {
	s.n = n
	if err = w.grow(n); err == nil {
		s.pass, err = w.passIdle()
	}
	for round := 0; err == nil && c.refreshes > 0 && round < w.refreshRounds(); round++ {
		var again cost
		if again, err = w.refreshed(c.refreshes); round == 0 || again.cpu < s.refresh.cpu {
			s.refresh = again
		}
	}
	return s, err
}

// refreshRounds is how often refreshes are measured. Only the round counts in which the
// server used the least processor time: the server writes some data later, and reports
// its time in hundredths of a second.
func (w *scaleSetup) refreshRounds() int {
	if w.pid == 0 {
		return 1
	}
	return 3
}

// stageRows returns the cost of a round and of a refresh, at few and at many
// workspaces.
func (w *scaleSetup) stageRows(c scaleCase, few, many stage) []row {
	with := fmt.Sprintf("with %d", few.n)
	what := fmt.Sprintf("%s, %d workspaces: ", w.name, many.n)
	pass := row{Promise: what + "a pass with nothing due", Ours: milliseconds(many.pass.took, many.pass.took)}.beside(with, milliseconds(few.pass.took, few.pass.took))
	if c.pass > 0 {
		pass = pass.judged(atMost(c.pass))
	}
	pass.Note = fmt.Sprintf("processor time: %.0f ms of the refresher, %.0f ms of the server", inMS(many.pass.self), inMS(many.pass.cpu))
	rows := []row{pass}
	if w.uncounted {
		return rows
	}
	calls := row{Promise: what + "calls of such a pass", Ours: count(many.pass.calls.total(), unitCalls), Note: many.pass.calls.each(1)}
	rows = append(rows, calls.beside(with, count(few.pass.calls.total(), unitCalls)).judged(ratioAtMost(c.growth())))
	if c.refreshes == 0 {
		return rows
	}
	each := func(s stage) figure {
		return figure{Value: float64(s.refresh.calls.total()) / s.refresh.n, Unit: unitEach}
	}
	rows = append(rows, row{
		Promise: what + "calls of a refresh and what follows it", Ours: each(many), Note: fmt.Sprintf("%s; requests to GitHub: %.3g", many.refresh.calls.each(many.refresh.n), many.refresh.asked),
	}.beside(with, each(few)).judged(ratioAtMost(1.05)))
	if few.refresh.cpu > 0 {
		rows = append(rows, row{
			Promise: what + "the server's processor time of it", Ours: milliseconds(many.refresh.cpu, 0),
		}.beside(with, milliseconds(few.refresh.cpu, 0)).judged(ratioAtMost(1.5)))
	}
	return rows
}

const unitEach = "calls each"

// scaleBlocked measures brokers with Parameter Store while many workspaces are blocked.
func (b scaleBench) scaleBlocked(c scaleCase) ([]row, error) {
	sh, err := c.open(b)
	if err != nil {
		return nil, err
	}
	w, err := b.startScale(sh)
	if err != nil {
		return nil, err
	}
	defer w.end()
	if err := w.grow(c.few); err != nil {
		return nil, err
	}
	what := fmt.Sprintf("ssm, %d workspaces, %d blocked, 2 replicas", c.few, manyBlocked)
	rows, err := w.blocked(what, manyBlocked, 2, 47*time.Second)
	if err != nil {
		return rows, err
	}
	idle, err := w.idle(what, untilIdle, b.span(60*time.Second, 20*time.Second))
	return append(rows, idle), err
}

// span returns a duration that -quick shortens.
func (b scaleBench) span(long, short time.Duration) time.Duration {
	if b.quick {
		return short
	}
	return long
}
