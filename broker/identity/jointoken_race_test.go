package identity

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/url"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/gatepass/gatepass/credential/filestore"
	"github.com/gatepass/gatepass/credential/ssmstore"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/store/kubernetes"
	"github.com/gatepass/gatepass/test/kubernetestest"
	"github.com/gatepass/gatepass/test/storetest"
)

// The results of using a token.
const (
	gotSession = "session"
	wasUsed    = "used"
	gotNothing = "nothing" // the broker could not tell
)

// model is a join token: the first caller gets the session, and all others are told
// that it was used. A caller that got no clear answer may have used it or not.
var model = (&porcupine.NondeterministicModel{
	Init: func() []any { return []any{false} },
	Step: func(state, _, output any) []any {
		isSpent := state.(bool)
		switch {
		case output == gotSession && !isSpent:
			return []any{true}
		case output == wasUsed && isSpent:
			return []any{true}
		case output == gotNothing:
			return []any{isSpent, true}
		}
		return nil
	},
}).ToModel()

// flaky is a store that loses calls and answers, and is slow.
type flaky struct {
	store.Store
	part   float64 // the part of the calls that fail
	behind *sync.WaitGroup
}

var errLost = errors.New("the connection was lost")

func (f flaky) Put(ctx context.Context, name store.Name, value store.Secret, mode store.Mode) error {
	time.Sleep(rand.N(300 * time.Microsecond))
	switch lot := rand.Float64() / f.part; {
	case lot < 0.3:
		return errLost
	case lot < 0.7: // it was written, but the answer is lost
		_ = f.Store.Put(ctx, name, value, mode)
		return errLost
	case lot < 1: // it is written later
		ctx := context.WithoutCancel(ctx)
		f.behind.Go(func() {
			time.Sleep(rand.N(time.Millisecond))
			_ = f.Store.Put(ctx, name, value, mode)
		})
		return errLost
	}
	return f.Store.Put(ctx, name, value, mode)
}

func (f flaky) Get(ctx context.Context, name store.Name) (store.Entry, error) {
	time.Sleep(rand.N(200 * time.Microsecond))
	if rand.Float64() < f.part/2 {
		return store.Entry{}, errLost
	}
	return f.Store.Get(ctx, name)
}

// race makes clients use one token at two replicas, and returns what each saw.
func race(t *testing.T, s store.Store, part float64, clients int) []porcupine.Operation {
	var behind sync.WaitGroup
	defer behind.Wait()
	token := issue(t, s, "sb-1", "agents", time.Now())
	unreliable := flaky{s, part, &behind}
	replicas := []*replica{newReplica(t, unreliable, nil), newReplica(t, unreliable, nil)}
	begun := time.Now()
	history := make([]porcupine.Operation, clients)
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			r := replicas[i%2]
			time.Sleep(rand.N(500 * time.Microsecond))
			call := time.Since(begun)
			got := r.redeem(token)
			op := porcupine.Operation{ClientId: i, Call: int64(call), Return: int64(time.Since(begun)), Output: gotNothing}
			switch got.Code {
			case 200:
				op.Output = gotSession
			case 403:
				op.Output = wasUsed
			default: // its write may still be in progress
				op.Return = int64(time.Hour)
			}
			history[i] = op
		})
	}
	wg.Wait()
	return history
}

func checkLinear(t *testing.T, history []porcupine.Operation) (sessions, nothing int) {
	t.Helper()
	if got := porcupine.CheckOperationsTimeout(model, history, 30*time.Second); got != porcupine.Ok {
		t.Fatalf("the history is %v, want one that a single token explains: %+v", got, history)
	}
	for _, op := range history {
		switch op.Output {
		case gotSession:
			sessions++
		case gotNothing:
			nothing++
		}
	}
	return sessions, nothing
}

func TestExactlyOneWins(t *testing.T) {
	won, lost := 0, 0
	for range 150 {
		s, n := checkLinear(t, race(t, &storetest.Memory{}, 0.4, 6))
		won, lost = won+s, lost+n
	}
	if won < 20 || lost < 20 {
		t.Errorf("%d sessions and %d lost answers in 150 races, want many of both", won, lost)
	}
	for range 20 {
		if s, _ := checkLinear(t, race(t, &storetest.Memory{}, 0, 6)); s != 1 {
			t.Errorf("%d sessions without any trouble, want 1", s)
		}
	}
}

func TestExactlyOneWinsInFiles(t *testing.T) {
	s, err := filestore.OpenStore(&url.URL{Scheme: "file", Path: t.TempDir() + "/store"})
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		checkLinear(t, race(t, s, 0.3, 4))
	}
}

func TestExactlyOneWinsInParameterStore(t *testing.T) {
	endpoint := os.Getenv("GATEPASS_TEST_AWS_ENDPOINT")
	if endpoint == "" {
		t.Skip("missing: AWS emulator (set GATEPASS_TEST_AWS_ENDPOINT to the address of a moto_server)")
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	t.Setenv("AWS_ENDPOINT_URL_SSM", endpoint)
	s, err := ssmstore.OpenStore(&url.URL{Scheme: "ssm", Path: "/gp-join-" + time.Now().Format("150405.000000000"), RawQuery: "region=us-east-1"})
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		checkLinear(t, race(t, s, 0.3, 4))
	}
}

func TestRealExactlyOneWinsInKubernetes(t *testing.T) {
	c := kubernetestest.New(t)
	t.Setenv("KUBECONFIG", c.Kubeconfig)
	s, err := kubernetes.OpenStore(&url.URL{Scheme: "kubernetes", Host: c.Namespace()})
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		checkLinear(t, race(t, s, 0.3, 4))
	}
	if won, _ := checkLinear(t, race(t, s, 0, 8)); won != 1 {
		t.Errorf("%d sessions without any trouble, want 1", won)
	}
}

// The checker detects two winners.
func TestTheCheckerFindsTwoWinners(t *testing.T) {
	op := func(client int, call, end int64, output string) porcupine.Operation {
		return porcupine.Operation{ClientId: client, Call: call, Return: end, Output: output}
	}
	for _, c := range []struct {
		name    string
		history []porcupine.Operation
		want    porcupine.CheckResult
	}{
		{"one wins", []porcupine.Operation{op(1, 0, 5, gotSession), op(2, 1, 3, wasUsed)}, porcupine.Ok},
		{"two win", []porcupine.Operation{op(1, 0, 5, gotSession), op(2, 1, 3, gotSession)}, porcupine.Illegal},
		{"used before anybody did", []porcupine.Operation{op(1, 0, 1, wasUsed), op(2, 2, 3, gotSession)}, porcupine.Illegal},
		{"the caller without an answer has used it", []porcupine.Operation{op(1, 0, 9, gotNothing), op(2, 2, 3, wasUsed)}, porcupine.Ok},
		{"used, and then not", []porcupine.Operation{op(1, 0, 9, gotNothing), op(2, 1, 2, wasUsed), op(3, 3, 4, gotSession)}, porcupine.Illegal},
	} {
		if got := porcupine.CheckOperationsTimeout(model, c.history, time.Minute); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
