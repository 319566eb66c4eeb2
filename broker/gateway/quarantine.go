package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/gateway/push"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/workspace/profile"
)

const (
	quarantineRefs = "refs/gatepass/"

	lease         = time.Minute        // a push whose entry was not renewed for this long has ended
	lateness      = time.Hour          // GitHub carries out a push that it has within this time
	recordTimeout = 7 * 24 * time.Hour // an entry is given up after this time
	sweepEvery    = 30 * time.Second
)

// A quarantine is an entry of the store with the refs of one push that must be deleted.
type quarantine struct {
	Repository string    `json:"repository"` // owner/name
	Refs       []string  `json:"refs"`
	Begun      time.Time `json:"begun"`
	Until      time.Time `json:"until"` // until then only the push itself touches the refs
	// Late means that the refs did not exist at the last check. They are checked once
	// more, because GitHub may still have been working.
	Late bool `json:"late,omitempty"`
}

// writeRecord writes the entry, which sweeps ignore for d.
func (g *Gateway) writeRecord(ctx context.Context, id string, q quarantine, d time.Duration) error {
	q.Until = g.Access.Broker.Now().UTC().Add(d)
	name, err := store.Quarantine(id)
	if err != nil {
		return err
	}
	text, err := json.Marshal(q)
	if err != nil {
		return err
	}
	if err := g.Access.Broker.Store.Put(ctx, name, store.NewSecret(string(text)), store.Replace); err != nil {
		return broker.StoreUnavailable(err)
	}
	return nil
}

// leave deletes the entry of a push, or writes it with the refs that are left. errs are
// the reasons; a nil in it means that a ref did not exist, but may still appear.
func (g *Gateway) leave(ctx context.Context, id string, q quarantine, errs []error) error {
	if len(q.Refs) == 0 {
		return g.forget(ctx, id)
	}
	err := usererr.Join(errs...)
	q.Late = err == nil
	wait := sweepEvery
	if q.Late {
		wait = lateness
	}
	return usererr.Join(err, g.writeRecord(ctx, id, q, wait))
}

func (g *Gateway) forget(ctx context.Context, id string) error {
	name, err := store.Quarantine(id)
	if err != nil {
		return err
	}
	return g.Access.Broker.Store.Delete(ctx, name)
}

// sweeps calls Sweep until ctx ends: at the start, and then every sweepEvery, or less
// often while no profile verifies pushes.
func (g *Gateway) sweeps(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	var last time.Time
	for ; ctx.Err() == nil; waitTick(ctx, tick) {
		if !g.verifies() && time.Since(last) < lateness {
			continue // listing the store costs a call
		}
		last = time.Now()
		if err := g.Sweep(ctx); err != nil && ctx.Err() == nil {
			g.Access.Broker.Log.Warn("quarantine refs are still at GitHub; the broker tries again to delete them", "error", err.Error())
		}
	}
}

func waitTick(ctx context.Context, tick *time.Ticker) {
	select {
	case <-ctx.Done():
	case <-tick.C:
	}
}

// verifies reports whether a profile of the policy in force asks for verified pushes.
func (g *Gateway) verifies() bool {
	return slices.ContainsFunc(g.Access.Broker.Policy().Rules, func(r broker.Rule) bool {
		return r.Profile != nil && r.Profile.Verify == profile.VerifyAncestry
	})
}

// Sweep deletes quarantine refs at GitHub that verified pushes could not delete
// themselves, for example because their broker was killed. Every replica may call it.
// The error names the refs that are left.
func (g *Gateway) Sweep(ctx context.Context) error {
	var errs []error
	for name, err := range g.Access.Broker.Store.List(ctx, store.Quarantines()) {
		if err == nil {
			err = g.sweepOne(ctx, name)
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	return usererr.Join(errs...)
}

func (g *Gateway) sweepOne(ctx context.Context, name store.Name) error {
	e, err := g.Access.Broker.Store.Get(ctx, name)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	var q quarantine
	repo, ok := api.Repo{}, false
	if err := json.Unmarshal([]byte(e.Value.Reveal()), &q); err == nil {
		repo, ok = api.ParseRepo(q.Repository)
	}
	id, now := path.Base(name.String()), g.Access.Broker.Now()
	switch {
	case !ok:
		return fmt.Errorf("%s in the store cannot be read; find its refs below %s at GitHub, and delete both", name, quarantineRefs)
	case now.Before(q.Until):
		return nil
	case now.Sub(q.Begun) > recordTimeout:
		g.Access.Broker.Log.Error("the broker could not delete quarantine refs for a week; delete them by hand", "repository", q.Repository, "refs", q.Refs)
		return g.forget(ctx, id)
	}
	return g.deleteRefs(ctx, id, repo, q)
}

// deleteRefs deletes the refs of an entry, with a token of its own, and then the entry.
func (g *Gateway) deleteRefs(ctx context.Context, id string, repo api.Repo, q quarantine) error {
	grant, err := g.Access.Own(ctx, repo)
	if err != nil {
		return fmt.Errorf("delete quarantine refs of %s: %w", repo, err)
	}
	left, errs := q, []error(nil)
	left.Refs = nil
	var unwritten error
	for _, ref := range q.Refs {
		isGone, err := g.deleteRef(ctx, &grant.Token, q.Repository, ref)
		switch {
		case err != nil || !isGone && !q.Late:
			left.Refs, errs = append(left.Refs, ref), append(errs, err)
		case isGone:
			unwritten = usererr.Join(unwritten, g.recordSwept(ctx, id, q.Repository, ref))
		}
	}
	return usererr.Join(unwritten, g.leave(ctx, id, left, errs))
}

// recordSwept records in the audit log that a quarantine ref was deleted.
func (g *Gateway) recordSwept(ctx context.Context, id, repo, ref string) error {
	return g.Access.Broker.Journal.Write(ctx, broker.Entry{
		Time: g.Access.Broker.Now().UTC(), Kind: broker.KindPush, RequestID: id, Repository: repo, Ref: ref, Operation: "delete",
		Decision: broker.Granted, Outcome: push.OK.String(), Detail: "the broker deleted the quarantine ref of a push that did not end",
	}, false)
}
