package issuing

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/store"
)

func TestProbeLeavesNothing(t *testing.T) {
	s := newStore(t)
	for range 2 {
		if err := Probe(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	for name, err := range s.List(t.Context(), store.Everything()) {
		t.Errorf("the probe left %s, %v", name, err)
	}
}

// broken does one thing wrong.
type broken struct {
	store.Store
	put, delete error
	forget      bool
}

func (b broken) Put(ctx context.Context, n store.Name, v store.Secret, m store.Mode) error {
	if b.forget {
		v = store.NewSecret("something else")
	}
	return errors.Join(b.Store.Put(ctx, n, v, m), b.put)
}

func (b broken) Delete(ctx context.Context, n store.Name) error {
	if b.delete != nil {
		return b.delete
	}
	return b.Store.Delete(ctx, n)
}

func TestProbeFindsWhatIsBroken(t *testing.T) {
	for _, c := range []struct {
		name   string
		broken broken
		want   string
		left   int
	}{
		{"cannot write", broken{put: errors.New("no space")}, "no space", 0},
		{"cannot delete", broken{delete: errors.New("denied")}, "delete config/github/probe by hand", 1},
		{"forgets", broken{forget: true}, "not what was written", 0},
	} {
		c.broken.Store = newStore(t)
		if err := Probe(t.Context(), c.broken); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Probe = %v, want %q", c.name, err, c.want)
		}
		left := 0
		for range c.broken.Store.List(t.Context(), store.Everything()) {
			left++
		}
		if left != c.left {
			t.Errorf("%s: %d entries are left, want %d", c.name, left, c.left)
		}
	}
}

func TestProbeCleansUpAfterAnInterrupt(t *testing.T) {
	s := newStore(t)
	ctx, cancel := context.WithCancel(t.Context())
	err := Probe(ctx, interrupted{s, cancel})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Probe = %v, want that it was canceled", err)
	}
	for name := range s.List(t.Context(), store.Everything()) {
		t.Errorf("the probe left %s", name)
	}
}

// interrupted is canceled by its first write.
type interrupted struct {
	store.Store
	cancel context.CancelFunc
}

func (i interrupted) Put(ctx context.Context, n store.Name, v store.Secret, m store.Mode) error {
	defer i.cancel()
	return i.Store.Put(ctx, n, v, m)
}
