package issuing

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/store/dynamodb"
	"github.com/gatepass/gatepass/store/split"
)

func TestOpenStoreInDynamoDB(t *testing.T) {
	for _, test := range []struct{ raw, want string }{
		{"dynamodb://gatepass?region=eu-west-1", "*dynamodb.Store"},
		{"dynamodb://gatepass?region=eu-west-1&tokens=ssm:///gatepass", "*split.Store"},
		{"dynamodb://gatepass?tokens=ssm:///gatepass%3Fkms_key=alias/gatepass-{workspace}%26region=eu-west-1", "*split.Store"},
	} {
		s, err := OpenStore(test.raw)
		if got := fmt.Sprintf("%T", s); err != nil || got != test.want {
			t.Errorf("OpenStore(%s) = %s, %v, want %s", test.raw, got, err, test.want)
		}
	}
	for _, test := range []struct{ raw, want string }{
		{"dynamodb://gatepass/team", "a store uses the whole table"},
		{"dynamodb://gatepass?tokens=", "tokens must be a store in Parameter Store; write tokens=ssm:///PREFIX"},
		{"dynamodb://gatepass?tokens=file:///tmp", "tokens must be a store in Parameter Store"},
		{"dynamodb://gatepass?tokens=ssm:///a&tokens=ssm:///b", "tokens is given twice"},
		{"dynamodb://gatepass?tokens=ssm:///aws", "AWS reserves names that begin with aws or ssm"},
		{"dynamodb://gatepass?tokens=ssm:///a%3Fkms_key=create:alias/gatepass-{workspace}", "gatepass creates keys only if the ledger records are in Parameter Store too"},
		{"dynamodb://gatepass?tokens=ssm:///a&kms_key=alias/x", "unknown key kms_key"},
		{"file:///tmp?tokens=ssm:///a", ""},
	} {
		s, err := OpenStore(test.raw)
		if err == nil || !strings.Contains(err.Error(), test.want) || s != nil {
			t.Errorf("OpenStore(%s) = %v, %v, want an error with %q", test.raw, s, err, test.want)
		}
	}
}

// The store for tokens takes missing AWS settings from the first store, and nothing
// else.
func TestTokensAreInTheSameRegion(t *testing.T) {
	for _, test := range []struct{ raw, tokens, rest string }{
		{"dynamodb://t?region=a&profile=p&tokens=ssm:///x", "ssm:///x?profile=p&region=a", "dynamodb://t?profile=p&region=a"},
		{"dynamodb://t?region=a&tokens=ssm:///x?region=b", "ssm:///x?region=b", "dynamodb://t?region=a"},
		{"dynamodb://t?endpoint=http://127.0.0.1:1&tokens=ssm:///x", "ssm:///x", "dynamodb://t?endpoint=http%3A%2F%2F127.0.0.1%3A1"},
	} {
		u, err := url.Parse(test.raw)
		if err != nil {
			t.Fatal(err)
		}
		tokens, rest, err := splitTokensStore(u)
		if err != nil || tokens.String() != test.tokens || rest.String() != test.rest {
			t.Errorf("takeTokens(%s) = %s, %s, %v, want %s, %s", test.raw, tokens, rest, err, test.tokens, test.rest)
		}
	}
}

// A store in PostgreSQL reports changes and makes its tables, also if its tokens are in
// another store.
func TestTokensBesidePostgreSQL(t *testing.T) {
	s, err := OpenStore("postgres://gatepass@db.example/gatepass?sslmode=verify-full&tokens=ssm:///gatepass%3Fregion=eu-west-1")
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := s.(store.Watcher); !ok {
		t.Errorf("%T is no Watcher", s)
	}
	both, ok := s.(interface{ Unwrap() store.Store })
	if !ok {
		t.Fatalf("%T has no main store", s)
	}
	if main := fmt.Sprintf("%T", both.Unwrap()); main != "*postgres.Store" {
		t.Errorf("the main store is %s", main)
	}
}

var _ split.Main = (*dynamodb.Store)(nil)

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
		{"forgets", broken{forget: true}, "it differs from what was written", 0},
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

// interrupted cancels at its first write.
type interrupted struct {
	store.Store
	cancel context.CancelFunc
}

func (i interrupted) Put(ctx context.Context, n store.Name, v store.Secret, m store.Mode) error {
	defer i.cancel()
	return i.Store.Put(ctx, n, v, m)
}

func TestSource(t *testing.T) {
	for _, c := range []struct {
		store  string
		isOnly bool
		want   string
	}{
		{"ssm:///km?region=us-east-1&kms_key=alias/x", true, "ssm:///km/sandbox/{workspace}/github-token?region=us-east-1"},
		{"ssm:///km/", false, "ssm:///km/sandbox/{workspace}/github-tokens/{owner}"},
		{"ssm:///km?workspaces=/&profile=issuer", true, "ssm:///sandbox/{workspace}/github-token"},
		{"ssm:///", true, "ssm:///sandbox/{workspace}/github-token"},
		{"dynamodb://gatepass?region=eu-west-1&tokens=ssm:///km", true, "ssm:///km/sandbox/{workspace}/github-token?region=eu-west-1"},
		{"dynamodb://gatepass?region=eu-west-1&tokens=ssm:///%3Fregion=us-east-1%26kms_key=alias/x", false, "ssm:///sandbox/{workspace}/github-tokens/{owner}?region=us-east-1"},
		{"vault://secret/gatepass?addr=https://vault.example:8200&auth=approle&role_id=x", false, "vault://secret/gatepass/sandbox/{workspace}/github-tokens/{owner}?addr=https%3A%2F%2Fvault.example%3A8200"},
		{"file:///var/lib/gatepass", true, "file:///var/lib/gatepass/sandbox/{workspace}/github-token"},
	} {
		if got, err := Source(c.store, c.isOnly); err != nil || got != c.want {
			t.Errorf("Source(%s, %v) = %s, %v, want %s", c.store, c.isOnly, got, err, c.want)
		}
	}
}

func TestSourceOfNoWorkspace(t *testing.T) {
	for _, store := range []string{"kubernetes://gatepass/team", "dynamodb://gatepass?region=eu-west-1", "postgres://gatepass@db.example/gatepass"} {
		got, err := Source(store, true)
		if err == nil || !strings.Contains(err.Error(), "--source broker+https://") {
			t.Errorf("Source(%s) = %q, %v, want an error that names a broker", store, got, err)
		}
	}
}
