package server

import (
	"context"
	"sync"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/credential/agent"
)

// A PushReporter is a Source that takes reports of refused pushes, such as a broker. A
// nil error means that the report arrived, or that the source needs none.
type PushReporter interface {
	credential.Source
	ReportPush(ctx context.Context, p api.RefusedPush) error
}

const (
	reportWait = 2 * time.Second // for one report
	maxReports = 16              // in the queue; the oldest are dropped
)

// reports is the queue of reports of refused pushes for the broker. They are sent one
// after the other in the background, so that no answer waits for them.
type reports struct {
	mu      sync.Mutex // guards the rest
	waiting []report   // oldest first
	sending bool
}

type report struct {
	to   PushReporter
	push api.RefusedPush
}

// reportPush queues a report of the guard if the source takes reports. The guard gets
// no answer, so a malformed report is dropped. ctx is the agent's context.
func (s *Server) reportPush(ctx context.Context, payload []byte) {
	said, ok := agent.ParsePush(payload)
	if !ok || s.isOnce {
		return
	}
	p, err := s.loader.load()
	if err != nil {
		return
	}
	to, ok := p.source.(PushReporter)
	if push := pushOf(said); ok && push.Check() == nil {
		s.reports.add(ctx, report{to, push})
	}
}

func pushOf(r agent.PushReport) api.RefusedPush {
	repo, _ := api.ParseRepo(r.Repo) // Check refuses a bad one
	p := api.RefusedPush{Host: r.Host, Repo: repo}
	for _, u := range r.Updates {
		p.Updates = append(p.Updates, api.RefusedUpdate{Ref: u.Ref, Action: u.Action, Reason: u.Reason})
	}
	return p
}

func (r *reports) add(ctx context.Context, one report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.waiting) >= maxReports {
		r.waiting = r.waiting[1:]
	}
	r.waiting = append(r.waiting, one)
	if !r.sending {
		r.sending = true
		go r.send(ctx)
	}
}

// send sends the queued reports until the queue is empty.
func (r *reports) send(ctx context.Context) {
	for {
		one, ok := r.next()
		if !ok {
			return
		}
		bounded, cancel := context.WithTimeout(ctx, reportWait)
		_ = one.to.ReportPush(bounded, one.push) // an error changes nothing: the push was refused, and its user was told why
		cancel()
	}
}

func (r *reports) next() (one report, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.waiting) == 0 {
		r.waiting, r.sending = nil, false
		return report{}, false
	}
	one, r.waiting = r.waiting[0], r.waiting[1:]
	return one, true
}
