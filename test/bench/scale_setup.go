package main

import (
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/fakegithub"
)

// A scaleSetup is a filled store, a GitHub, and replicas of the real broker.
type scaleSetup struct {
	*bench
	*measuredStore
	store    store.Store // without the counter
	fleet    *fleet
	app      *mint.App
	key      *rsa.PrivateKey // key of the issuer of identities
	replicas []*brokerSetup

	live, over template
	n          int          // workspaces in the store
	made       int          // copies of the expired template so far
	expired    []store.Name // names of the latest of them
	asked      int          // workspaces that made requests and were not in the store at first
}

// startScale sets up the App in a store.
func (b scaleBench) startScale(sh *measuredStore) (*scaleSetup, error) {
	w := &scaleSetup{bench: b.bench, measuredStore: sh}
	err := w.settle()
	if err != nil {
		w.end()
	}
	return w, err
}

func (w *scaleSetup) settle() error {
	gh, err := fakegithub.New(fakegithub.Options{RateLimit: 1_000_000})
	if err != nil {
		return err
	}
	w.fleet = &fleet{github: gh}
	if w.fleet.dir, err = os.MkdirTemp(memoryFolder(w.scratch), "gatepass-bench-"); err != nil {
		return err
	}
	w.fleet.ca = filepath.Join(w.fleet.dir, "ca.pem")
	if err := os.WriteFile(w.fleet.ca, gh.CAPEM(), 0o600); err != nil {
		return err
	}
	if w.store, err = w.direct(); err != nil {
		return err
	}
	if w.app, err = w.fleet.setUp(w.ctx, w.store); err != nil {
		return err
	}
	if w.key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		return err
	}
	if w.live, w.over, err = newTemplates(w.ctx, w.store, w.app); err != nil || w.age == nil {
		return err
	}
	return w.age(w.ctx)
}

// grow fills the store up to n workspaces.
func (w *scaleSetup) grow(n int) error {
	err := w.copies(w.ctx, w.store, w.live, w.n, n)
	w.n = n
	return err
}

// addOver adds expired entries, for the brokers to delete.
func (w *scaleSetup) addOver(n int) error {
	w.expired = nil
	for k := range n {
		names, err := w.over.namesOf(w.made + k)
		if err != nil {
			return err
		}
		w.expired = append(w.expired, names...)
	}
	err := w.copies(w.ctx, w.store, w.over, w.made, w.made+n)
	w.made += n
	return err
}

// leftOver counts the expired entries that still exist. If isQuick is set, it stops at
// one.
func (w *scaleSetup) leftOver(isQuick bool) (n int, err error) {
	for _, name := range w.expired {
		switch _, err := w.store.Get(w.ctx, name); {
		case errors.Is(err, store.ErrNotFound):
			continue
		case err != nil:
			return n, err
		}
		if n++; isQuick {
			return n, nil
		}
	}
	return n, nil
}

// scaleStart is how long a replica may take to become ready, even with an account's
// limits.
const scaleStart = 2 * time.Minute

// run starts replicas.
func (w *scaleSetup) run(replicas int) error {
	for range replicas {
		if err := w.add(); err != nil {
			return err
		}
	}
	return nil
}

// add starts one replica.
func (w *scaleSetup) add() error {
	dir := filepath.Join(w.fleet.dir, fmt.Sprintf("replica-%d", len(w.replicas)))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	own := *w.fleet
	own.dir = dir
	v := &brokerSetup{fleet: &own, issuer: benchIssuer, identities: map[int]string{}, key: w.key, store: w.url, env: w.env, patience: scaleStart}
	if err := v.write(w.bench); err != nil {
		return err
	}
	if err := v.start(w.bench); err != nil {
		v.stop()
		return err
	}
	w.replicas = append(w.replicas, v)
	return nil
}

// stopReplicas stops all replicas.
func (w *scaleSetup) stopReplicas() {
	for _, v := range w.replicas {
		v.stop()
	}
	for k := range w.replicas {
		_ = os.RemoveAll(filepath.Join(w.fleet.dir, fmt.Sprintf("replica-%d", k)))
	}
	w.replicas = nil
}

func (w *scaleSetup) end() {
	w.stopReplicas()
	if w.fleet != nil {
		w.fleet.close()
	}
	w.stop()
}

// pause waits, unless the bench is interrupted.
func (w *scaleSetup) pause(d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-w.ctx.Done():
		return w.ctx.Err()
	}
}

// next returns a workspace that no replica has seen.
func (w *scaleSetup) next() int {
	w.asked++
	return w.asked
}

// isRefusal reports whether a broker answered with one of the statuses.
func isRefusal(err error, status int) bool {
	return err != nil && strings.Contains(err.Error(), fmt.Sprintf("the broker answers %d ", status))
}

var (
	errNoReplica  = errors.New("no replica runs")
	errNotRefused = errors.New("a token")
)
