package server

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/config"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/credential/agent"
)

// A pushListener is a source that receives reports of refused pushes, and may be slow.
type pushListener struct {
	credential.Source
	wait chan struct{} // nil waits for nothing

	mu    sync.Mutex // guards the rest
	heard []api.RefusedPush
	ended []error // the state of the contexts of those that waited
}

func (l *pushListener) ReportPush(ctx context.Context, p api.RefusedPush) error {
	if l.wait != nil {
		select {
		case <-l.wait:
		case <-ctx.Done():
			l.mu.Lock()
			defer l.mu.Unlock()
			l.ended = append(l.ended, ctx.Err())
			return ctx.Err()
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heard = append(l.heard, p)
	return nil
}

func (l *pushListener) all() []api.RefusedPush {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]api.RefusedPush(nil), l.heard...)
}

// listening returns a world whose source is l, and its server.
func listening(t *testing.T, l *pushListener) (*world, *Server) {
	t.Helper()
	w := newWorld(t)
	s := &Server{Config: w.config, Open: func(c *config.Workspace) (src credential.Source, err error) {
		l.Source, err = w.open(c)
		return l, err
	}}
	s.prepare()
	return w, s
}

func reportOf(ref string) []byte {
	return agent.AppendPush(nil, agent.PushReport{Host: "github.com", Repo: "acme/widgets", Updates: []agent.PushUpdate{{Action: "force", Ref: ref, Reason: "no rule allows it"}}})
}

func (w *world) tell(s *Server, ctx context.Context, payload []byte) agent.Reply {
	return s.answer(ctx, agent.Call{Operation: agent.PushRefused, Config: w.config, Timeout: time.Millisecond, Payload: payload}, 0)
}

// eventually waits until is returns true.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for until := time.Now().Add(time.Minute); !is(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("%s: not after a minute", what)
		}
	}
}

func TestRefusedPushesArePassedOn(t *testing.T) {
	l := new(pushListener)
	w, s := listening(t, l)
	for name, payload := range map[string][]byte{
		"rubbish": []byte("hello"), "nothing": nil, "a request": []byte(widgets), "a short ref": reportOf("main"), "a long ref": reportOf("refs/heads/" + strings.Repeat("a", 2000)),
	} {
		if r := w.tell(s, t.Context(), payload); r.Exit != 0 || len(r.Stdout)+len(r.Stderr) > 0 {
			t.Errorf("%s: %+v, want silence", name, r)
		}
	}
	w.tell(s, t.Context(), reportOf("refs/heads/$(id)<b>"))
	eventually(t, "the report", func() bool { return len(l.all()) > 0 })
	got := l.all()
	if len(got) != 1 || got[0].Host != "github.com" || got[0].Repo.String() != "acme/widgets" || got[0].Updates[0] != (api.RefusedUpdate{Ref: "refs/heads/$(id)<b>", Action: "force", Reason: "no rule allows it"}) {
		t.Errorf("the source heard %+v, want the one report as it was told", got)
	}
	s.isOnce = true
	w.tell(s, t.Context(), reportOf("refs/heads/once"))
	other := s.answer(t.Context(), agent.Call{Operation: agent.PushRefused, Config: "/other", Payload: reportOf("refs/heads/other")}, 0)
	if n := len(l.all()); n != 1 || other.Exit != 1 {
		t.Errorf("the source heard %d reports, want none from an agent that ends, nor of another file", n)
	}
	if w.calls.Load() != 0 {
		t.Errorf("the source was asked for %d tokens, want none", w.calls.Load())
	}
}

// A source that is not a broker gets no reports, and nothing else happens.
func TestRefusedPushesOfOtherSources(t *testing.T) {
	w := newWorld(t)
	s := &Server{Config: w.config, Open: w.open}
	s.prepare()
	if r := w.tell(s, t.Context(), reportOf("refs/heads/main")); r.Exit != 0 || len(r.Stdout)+len(r.Stderr) > 0 || w.calls.Load() != 0 || s.reports.sending {
		t.Errorf("the answer is %+v after %d calls, want silence and none", r, w.calls.Load())
	}
}

// While the broker does not answer, tokens are still given; the newest reports wait and
// the others are dropped.
func TestASlowBrokerHoldsNothingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &pushListener{wait: make(chan struct{})}
		w, s := listening(t, l)
		begun := time.Now()
		for i := range 10 * maxReports {
			w.tell(s, t.Context(), reportOf("refs/heads/"+strconv.Itoa(i)))
		}
		call := agent.Call{Operation: agent.Get, Config: w.config, Timeout: time.Minute, Payload: []byte(widgets)}
		if r := s.answer(t.Context(), call, 0); !strings.Contains(string(r.Stdout), "password=tok-") || time.Since(begun) >= reportWait {
			t.Errorf("get = %q after %v, want a token at once", r.Stdout, time.Since(begun))
		}
		close(l.wait)
		eventually(t, "the newest report", func() bool {
			heard := l.all()
			return len(heard) > 0 && heard[len(heard)-1].Updates[0].Ref == "refs/heads/"+strconv.Itoa(10*maxReports-1)
		})
		if n := len(l.all()); n > maxReports+1 {
			t.Errorf("%d reports were kept, want %d and the one on its way", n, maxReports)
		}
	})
}

// The agent waits two seconds for a broker that never answers, or until the agent ends.
func TestAReportEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &pushListener{wait: make(chan struct{})}
		w, s := listening(t, l)
		ctx, cancel := context.WithCancel(t.Context())
		w.tell(s, ctx, reportOf("refs/heads/a"))
		time.Sleep(reportWait)
		synctest.Wait()
		w.tell(s, ctx, reportOf("refs/heads/b"))
		cancel()
		synctest.Wait()
		if len(l.ended) != 2 || !errors.Is(l.ended[0], context.DeadlineExceeded) || !errors.Is(l.ended[1], context.Canceled) {
			t.Errorf("the reports ended with %v, want a deadline and the agent's end", l.ended)
		}
	})
}
