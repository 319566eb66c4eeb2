package dynamodb

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"golang.org/x/sync/errgroup"

	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/dynamotest"
	"github.com/gatepass/gatepass/test/storetest"
	"github.com/gatepass/gatepass/test/throttle"
)

// emulator returns a proxy before the AWS emulator and its address. The emulator reads
// consistently always, and knows no throughput: the proxy refuses in its place.
func emulator(t *testing.T, limits ...[]throttle.Limit) (*throttle.Proxy, string) {
	t.Helper()
	endpoint := os.Getenv("GATEPASS_TEST_AWS_ENDPOINT")
	if endpoint == "" {
		t.Skip("missing: AWS emulator (set GATEPASS_TEST_AWS_ENDPOINT to the address of a moto_server)")
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	next, err := throttle.To(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	proxy := throttle.New(next, limits...)
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	return proxy, server.URL
}

// newTable returns the URL of a store in a table of its own.
func newTable(t *testing.T, endpoint string) string {
	t.Helper()
	table, err := dynamotest.NewTable(t.Context(), endpoint)
	if err != nil {
		t.Fatal(err)
	}
	return "dynamodb://" + table + "?region=us-east-1&endpoint=" + url.QueryEscape(endpoint)
}

func open(t *testing.T, raw string) *Store {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	s, err := OpenStore(u)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStoreConforms(t *testing.T) {
	_, endpoint := emulator(t, throttle.OnDemandTable)
	storetest.Run(t, func(t *testing.T) func() store.Store {
		raw := newTable(t, endpoint)
		return func() store.Store { return open(t, raw) }
	})
}

// An item that is there without what a write of ours has is neither read nor in the way.
func TestDamagedItems(t *testing.T) {
	_, endpoint := emulator(t)
	s := open(t, newTable(t, endpoint))
	client := dynamotest.Client(endpoint)
	storetest.Damaged(t, s, func(name store.Name) {
		it := keyOf(name.String())
		it[attrRecord] = &types.AttributeValueMemberBOOL{Value: true}
		if _, err := client.PutItem(t.Context(), &sdk.PutItemInput{TableName: aws.String(s.table), Item: it}); err != nil {
			t.Fatal(err)
		}
	})
}

// A table that refuses four of five calls is written and read all the same, and nothing
// is lost. The context bounds how long that may take.
func TestThrottledCallsAreMadeAgain(t *testing.T) {
	proxy, endpoint := emulator(t, throttle.Table(40, 20))
	s := open(t, newTable(t, endpoint))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(40)
	const n = 100
	for i := range n {
		group.Go(func() error {
			name, err := store.Record(fmt.Sprintf("w%03d", i))
			if err != nil {
				return err
			}
			return s.PutDue(ctx, name, store.NewSecret("x"), store.CreateOnly, time.Unix(1, 0))
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, err := range s.Due(t.Context(), store.Workspaces(), time.Now(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		found++
	}
	if found != n {
		t.Errorf("%d entries are due, want %d", found, n)
	}
	if refused := proxy.Counts()["PutItem"].Refused; refused == 0 {
		t.Error("no write was refused, so that this test shows nothing")
	}
}

func TestThrottledForTooLong(t *testing.T) {
	_, endpoint := emulator(t, throttle.Table(0.001, 0.001))
	s := open(t, newTable(t, endpoint))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	var err error
	for range 2 { // the first one of a bucket is taken
		_, err = s.Get(ctx, store.Signer())
	}
	if text := fmt.Sprint(err); !strings.Contains(text, "throttles") && !strings.Contains(text, "in time") {
		t.Errorf("Get = %v, want that AWS throttles", err)
	}
	if left, _ := ctx.Deadline(); time.Since(left) > time.Second {
		t.Errorf("Get returned %v after its deadline", time.Since(left))
	}
}

// What is done often has to cost few calls, whatever there is in the table.
func TestCalls(t *testing.T) {
	proxy, endpoint := emulator(t)
	s := open(t, newTable(t, endpoint))
	const n = 300
	group, ctx := errgroup.WithContext(t.Context())
	group.SetLimit(16)
	for i := range n {
		group.Go(func() error {
			name, _ := store.Record(fmt.Sprintf("w%03d", i))
			return s.PutDue(ctx, name, store.NewSecret("x"), store.CreateOnly, time.Unix(int64(1000+i), 0))
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	record, _ := store.Record("w007")
	entry, err := s.Get(t.Context(), record)
	if err != nil {
		t.Fatal(err)
	}
	drain := func(seq iter.Seq2[store.NamedEntry, error]) (count int, err error) {
		for _, err = range seq {
			if err != nil {
				return count, err
			}
			count++
		}
		return count, nil
	}
	for _, test := range []struct {
		what string
		do   func() error
		most int
	}{
		{"Get", func() error { _, err := s.Get(t.Context(), record); return err }, 1},
		{"Put", func() error { return s.Put(t.Context(), store.Signer(), store.NewSecret("x"), store.CreateOnly) }, 1},
		{"Swap", func() error {
			_, err := s.Swap(t.Context(), record, store.NewSecret("y"), entry.Version, time.Time{})
			return err
		}, 1},
		{"Delete", func() error { return s.Delete(t.Context(), record) }, 1},
		{"Due with nothing due", func() error {
			return want(0)(drain(s.Due(t.Context(), store.Workspaces(), time.Unix(1000, 0), 0)))
		}, dueShards},
		{"Due with 100 due", func() error {
			return want(100)(drain(s.Due(t.Context(), store.Workspaces(), time.Unix(1101, 0), 0)))
		}, dueShards + 1},
		{"Due with 299 due, the first 20", func() error {
			return want(20)(drain(s.Due(t.Context(), store.Workspaces(), time.Unix(5000, 0), 20)))
		}, 2*dueShards + 1},
		{"Records", func() error { return want(n - 1)(drain(s.Records(t.Context()))) }, workspaceShards},
		{"Page of 100", func() error {
			names, err := s.Page(t.Context(), store.Workspaces(), store.Name{}, 100)
			return want(100)(len(names), err)
		}, 2 * workspaceShards},
		{"Page of a broker's entries", func() error {
			_, err := s.Page(t.Context(), store.UsedProofs(), store.Name{}, 100)
			return err
		}, 1},
	} {
		proxy.Reset()
		if err := test.do(); err != nil {
			t.Errorf("%s = %v", test.what, err)
		}
		if calls := proxy.Total().Passed; calls > test.most {
			t.Errorf("%s takes %d calls, want %d at most: %v", test.what, calls, test.most, proxy.Counts())
		}
	}
}

func want(n int) func(int, error) error {
	return func(got int, err error) error {
		if err == nil && got != n {
			err = fmt.Errorf("%d entries, want %d", got, n)
		}
		return err
	}
}

// The SDK repeats a call whose answer is lost. A write that took effect the first time
// must not look like another writer's.
func TestLostAnswers(t *testing.T) {
	_, endpoint := emulator(t)
	next, err := throttle.To(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	var lose atomic.Bool
	lossy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".PutItem") && lose.Swap(false) {
			next.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		}
		next.ServeHTTP(w, r)
	}))
	t.Cleanup(lossy.Close)
	s := open(t, newTable(t, lossy.URL))
	lose.Store(true)
	if err := s.Put(t.Context(), store.Signer(), store.NewSecret("first"), store.CreateOnly); err != nil {
		t.Fatalf("Put = %v, want the entry written", err)
	}
	entry, err := s.Get(t.Context(), store.Signer())
	if err != nil {
		t.Fatal(err)
	}
	lose.Store(true)
	version, err := s.Swap(t.Context(), store.Signer(), store.NewSecret("second"), entry.Version, time.Time{})
	if err != nil {
		t.Fatalf("Swap = %v, want the entry written", err)
	}
	if entry, err = s.Get(t.Context(), store.Signer()); err != nil || entry.Version != version || entry.Value.Reveal() != "second" {
		t.Errorf("Get = version %q, %v, want %q", entry.Version, err, version)
	}
	if lose.Load() {
		t.Error("no answer was lost, so that this test shows nothing")
	}
}
