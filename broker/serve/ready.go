package serve

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/store"
)

const (
	readyFor  = time.Second     // how long an answer is given again: the store is not asked by everybody
	readyWait = 5 * time.Second // for the store

	maxLooking = 64 // who ask at once: while the store is waited for, all of them wait
)

// A readiness says whether the broker can give tokens, part by part.
type readiness struct {
	Ready bool              `json:"ready"`
	Parts map[string]string `json:"parts"` // "ok", or what is wrong in few words
	// Config is for people, and nothing that fails.
	Config string `json:"config"`
	Clock  string `json:"clock"` // how far this machine's is off GitHub's; for people, too
	*Details
}

// Details are for the operator's listener.
type Details struct {
	Generation int    `json:"config_generation"`
	Policy     string `json:"policy"`
	AuditSeq   uint64 `json:"audit_seq"`
	AuditHead  string `json:"audit_head"`
}

// ok is what a part says that works.
const ok = "ok"

// A probe looks at the parts of a daemon.
type probe struct {
	d *daemon

	mu     sync.Mutex // guards the rest; held while the store is asked, so that one asks for all
	last   readiness
	looked time.Time
}

func (p *probe) look(ctx context.Context) readiness {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.looked) < readyFor && p.last.Parts["draining"] == p.draining() {
		return p.last
	}
	d := p.d
	r := readiness{Parts: map[string]string{"policy": ok, "audit": ok, "store": ok, "blocklist": ok, "app": ok, "draining": p.draining()}, Config: ok, Clock: cmp.Or(d.app.clockProblem(), ok)}
	say := func(part string, err error, words string) {
		if err != nil {
			r.Parts[part] = words
			d.log.Debug("not ready", "part", part, "error", err.Error())
		}
	}
	say("audit", errors.Join(d.journal.Ready(), d.reopenFailed()), "it cannot be written")
	say("store", p.readStore(ctx), "it cannot be read")
	say("blocklist", d.broker.Blocklist.Check(ctx), "it cannot be read, and nothing is given")
	say("app", d.app.problem(), "it cannot be used")
	if d.config.problem() != nil {
		r.Config = "the file was rejected, and the last good one is in force; the broker's log says why"
	}
	g := d.config.current.Load()
	seq, head := d.journal.Head()
	r.Details = &Details{g.number, g.policy.Hash, seq, head}
	r.Ready = true
	for _, state := range r.Parts {
		r.Ready = r.Ready && state == ok
	}
	p.last, p.looked = r, time.Now()
	return r
}

func (p *probe) draining() string {
	if p.d.draining.Load() {
		return "the broker ends"
	}
	return ok
}

// readStore asks for an entry that may not be there.
func (p *probe) readStore(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyWait)
	defer cancel()
	_, err := p.d.store.Get(ctx, store.AppClientID())
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

// routes answers /healthz, which is about the process alone, and /readyz, with
// details or without.
func (p *probe) routes(mux *http.ServeMux, withDetails bool) {
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte("ok\n"))
	})
	mux.Handle("GET /readyz", broker.Gated(func() int { return maxLooking }, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		state := p.look(context.WithoutCancel(r.Context()))
		if !withDetails {
			state.Details = nil
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		if !state.Ready {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		enc := json.NewEncoder(usererr.JSONWriter(w))
		enc.SetIndent("", "  ")
		_ = enc.Encode(state) // the client has gone
	})))
}
