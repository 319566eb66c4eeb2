package workspace

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/test/fakegithub"
)

// A pass that fails leaves its reason in the record for the command line. A later
// pass that succeeds removes it, and the reason never outgrows a store's entry.
func TestThePassKeepsTheLastError(t *testing.T) {
	c := newCity(t)
	i := c.run(&mortal{})
	if _, err := i.Create(t.Context(), "sb-1", profile(t, "acme/widgets"), 0); err != nil {
		t.Fatal(err)
	}
	up := c.Fail(fakegithub.To(http.MethodPost, "/access_tokens"), fakegithub.Status(http.StatusForbidden), -1)
	if sum, err := (&Pass{Issuer: i, Force: true}).Run(t.Context()); err != nil || sum.Failed != 1 {
		t.Fatalf("Run = %+v, %v, want one that failed", sum, err)
	}
	r, err := i.Load(t.Context(), "sb-1")
	if err != nil || r.LastError == nil || !strings.Contains(r.LastError.Why, "403") || r.LastError.Owners[0] != "acme" || c.Now().Sub(r.LastError.At) > time.Minute || r.Condition(c.Now()) != Failing {
		t.Fatalf("Load = %+v, %v, want the error and its owner", r, err)
	}
	r.LastError.Why = strings.Repeat("x", 4*maxWhy)
	err = i.run(t.Context(), "sb-1", func(ctx context.Context, run *run) error {
		run.record = r
		return run.conclude(ctx, errorOf(r.LastError.Why))
	})
	if err == nil || len(r.LastError.Why) > maxWhy+3 {
		t.Errorf("conclude keeps %d bytes, want at most %d", len(r.LastError.Why), maxWhy)
	}
	up()
	if sum, err := (&Pass{Issuer: i, Force: true}).Run(t.Context()); err != nil || sum.Refreshed != 1 {
		t.Fatalf("Run = %+v, %v, want it refreshed", sum, err)
	}
	if r, err := i.Load(t.Context(), "sb-1"); err != nil || r.LastError != nil || r.Condition(c.Now()) != Ready {
		t.Errorf("Load = %+v, %v, want no error", r, err)
	}
}

type errorOf string

func (e errorOf) Error() string { return string(e) }
