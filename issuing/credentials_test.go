package issuing

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/store"
)

func TestCheckFreeNamesAllThatIsThere(t *testing.T) {
	s := newStore(t)
	if err := CheckFree(t.Context(), s); err != nil {
		t.Errorf("CheckFree of an empty store = %v, want nil", err)
	}
	put(t, s, map[string]string{"config/github/private-key": "x", "config/github/github-url": "https://ghe.example"})
	err := CheckFree(t.Context(), s)
	if !errors.Is(err, store.ErrExists) || !strings.Contains(err.Error(), "config/github/private-key, config/github/github-url already; add --force") {
		t.Errorf("CheckFree = %v, want both entries named", err)
	}
}

// A numbered store allows so many changes and then fails, for good if dead is set.
type numbered struct {
	store.Store
	left int
	dead bool
}

func (n *numbered) do(change func() error) error {
	n.left--
	if n.left == -1 || n.left < 0 && n.dead {
		return errors.New("gone")
	}
	return change()
}

func (n *numbered) Put(ctx context.Context, name store.Name, v store.Secret, m store.Mode) error {
	return n.do(func() error { return n.Store.Put(ctx, name, v, m) })
}

func (n *numbered) Delete(ctx context.Context, name store.Name) error {
	return n.do(func() error { return n.Store.Delete(ctx, name) })
}

// rotations are ways to move a key from one place to another.
var rotations = []struct {
	name     string
	from, to Credentials
}{
	{"into a KMS", ofFile("Iv23liA"), Credentials{ID: "Iv23liA", Signer: "awskms:///alias/x?region=us-east-1"}},
	{"out of a KMS", Credentials{ID: "Iv23liA", Signer: "awskms:///alias/x?region=us-east-1"}, ofFile("Iv23liA")},
	{"to another KMS key", Credentials{ID: "Iv23liA", Signer: "awskms:///alias/x?region=us-east-1"}, Credentials{ID: "Iv23liA", Signer: "awskms:///alias/y?region=us-east-1"}},
}

// Whichever write fails, the old key stays.
func TestARotationThatFailsChangesNothing(t *testing.T) {
	for _, c := range rotations {
		for n := 0; ; n++ {
			s := newStore(t)
			if err := Save(t.Context(), s, c.from, store.CreateOnly); err != nil {
				t.Fatal(err)
			}
			before := entries(t, s)
			err := Save(t.Context(), &numbered{Store: s, left: n}, c.to, store.Replace)
			if err == nil {
				if n == 0 || maps.Equal(entries(t, s), before) {
					t.Errorf("%s: no write was made to fail", c.name)
				}
				break
			}
			if got := entries(t, s); !maps.Equal(got, before) {
				t.Errorf("%s, write %d fails: the store has %d entries, want those of before", c.name, n, len(got))
			}
		}
	}
}

// Wherever it is killed, the App still has a key.
func TestARotationThatIsKilledLeavesAKey(t *testing.T) {
	for _, c := range rotations {
		for n := range 3 {
			s := newStore(t)
			if err := Save(t.Context(), s, c.from, store.CreateOnly); err != nil {
				t.Fatal(err)
			}
			_ = Save(t.Context(), &numbered{Store: s, left: n, dead: true}, c.to, store.Replace)
			if app, err := LoadApp(t.Context(), s, ""); err != nil || app.ID != c.to.ID {
				t.Errorf("%s, killed at write %d: LoadApp = %v, want the App with a key", c.name, n, err)
			}
		}
	}
}
