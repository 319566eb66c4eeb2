package broker

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/gatepass/gatepass/credential"
)

// A token that must not be given and cannot be revoked yet, because GitHub does not
// know it everywhere, is known to this broker alone. It is not forgotten.
func TestWhatCannotBeTakenBackIsTriedAgain(t *testing.T) {
	now, away := time.Now(), errors.New("GitHub answers 401")
	var asked, revoked []string
	b := &TakeBack{
		Now: func() time.Time { return now },
		Revoke: func(_ context.Context, t credential.Token) error {
			asked = append(asked, t.Secret())
			return away
		},
		Revoked: func(t credential.Token) { revoked = append(revoked, t.Secret()) },
	}
	ends := map[string]time.Duration{"ghs_a": time.Hour, "ghs_b": time.Minute}
	for secret, life := range ends {
		if err := b.Take(t.Context(), credential.NewToken(secret, now.Add(life))); !errors.Is(err, away) {
			t.Errorf("Take = %v, want %v", err, away)
		}
	}
	if err := b.Retry(t.Context()); !errors.Is(err, away) || len(asked) != 4 {
		t.Errorf("Retry = %v after %q, want both asked for again", err, asked)
	}
	now, away, asked = now.Add(2*time.Minute), nil, nil
	for range 2 {
		if err := b.Retry(t.Context()); err != nil {
			t.Errorf("Retry = %v", err)
		}
	}
	if want := []string{"ghs_a"}; !slices.Equal(asked, want) || !slices.Equal(revoked, want) {
		t.Errorf("asked for %q and revoked %q, want %q once: the other has ended", asked, revoked, want)
	}
}
