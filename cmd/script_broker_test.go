//go:build linux

package cmd_test

import (
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/credential/credentialtest"
	"github.com/rogpeppe/go-internal/testscript"
)

// broker WORD... starts or changes the script's broker:
//
//	broker start            listens on $BROKER, a Unix socket
//	broker https IDENTITY.. listens on $HTTPS_BROKER for these bearer identities of
//	                        the workspaces sb-1, sb-2 and so on
//	broker read-only        from now on it refuses to give a token for writing
//	broker dead             from now on its tokens are revoked before they arrive
//	broker fail STATUS TEXT the next call fails, or the next COUNT of them
//	  [COUNT]
//	broker hang             the next call is never answered
func (w *world) broker(ts *testscript.TestScript, args []string) {
	switch strings.Join(args[:min(1, len(args))], "") {
	case "start":
		w.brokerDouble = &credentialtest.Broker{Hosts: []string{w.github.Host(), ts.Getenv("FRONT")}, Mint: w.brokerMint}
		l, err := net.Listen("unix", filepath.Join(w.run, "broker.sock"))
		ts.Check(err)
		w.serve(l, w.brokerDouble)
	case "https":
		usage(ts, len(args) >= 2, "broker https IDENTITY...")
		w.brokerDouble = &credentialtest.Broker{Hosts: []string{w.github.Host()}, Mint: w.brokerMint, Identities: map[string]string{}}
		for i, identity := range args[1:] {
			w.brokerDouble.Identities[identity] = "sb-" + strconv.Itoa(i+1)
		}
		ts.Setenv("HTTPS_BROKER", "broker+https://"+w.serveTLS(ts, w.brokerDouble))
	case "read-only":
		w.mu.Lock()
		defer w.mu.Unlock()
		w.readOnly = true
	case "dead":
		w.mu.Lock()
		defer w.mu.Unlock()
		w.dead = true
	case "fail":
		usage(ts, len(args) == 3 || len(args) == 4, "broker fail STATUS TEXT [COUNT]")
		status, err := strconv.Atoi(args[1])
		ts.Check(err)
		count := 1
		if len(args) == 4 {
			count, err = strconv.Atoi(args[3])
			ts.Check(err)
		}
		for range count {
			w.brokerDouble.FailNext(credentialtest.Failure{Status: status, Detail: unescape(ts, args[2])})
		}
	case "hang":
		w.brokerDouble.FailNext(credentialtest.Failure{Handler: http.HandlerFunc(hang)})
	default:
		ts.Fatalf("usage: broker start|https|dead|fail|hang")
	}
}

func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// brokerMint makes a token for only the one repository and operation asked for.
func (w *world) brokerMint(workspace string, r api.TokenRequest) (api.TokenAnswer, error) {
	w.mu.Lock()
	refuses := w.readOnly && r.Operation != api.Read
	w.mu.Unlock()
	if refuses {
		return api.TokenAnswer{}, api.NewProblem(http.StatusForbidden, "this workspace only reads")
	}
	token, err := w.newToken("broker", r.Repo.Owner, []string{r.Repo.Name}, r.Operation)
	if err != nil {
		return api.TokenAnswer{}, err
	}
	w.mu.Lock()
	w.callers = append(w.callers, workspace)
	if w.dead {
		w.github.Revoke(token)
	}
	w.mu.Unlock()
	return api.TokenAnswer{
		Username: credential.DefaultUsername, Token: api.NewSecret(token),
		ExpiresAt:    time.Now().Add(credential.Lifetime).Truncate(time.Second),
		Repositories: []string{r.Repo.String()}, Permissions: map[string]string{"contents": r.Operation},
	}, nil
}

// callers WORKSPACE... checks for which workspaces the broker minted, in any order.
func (w *world) callersWere(ts *testscript.TestScript, args []string) {
	w.mu.Lock()
	got := slices.Sorted(slices.Values(w.callers))
	w.mu.Unlock()
	if !slices.Equal(got, args) {
		ts.Fatalf("the broker minted for %q, want %q", got, args)
	}
}

// calls COUNT [MOST] checks how often the broker was called, and that every call
// followed the contract.
func (w *world) calls(ts *testscript.TestScript, args []string) {
	usage(ts, len(args) == 1 || len(args) == 2, "calls COUNT [MOST]")
	least, err := strconv.Atoi(args[0])
	ts.Check(err)
	most, err := strconv.Atoi(args[len(args)-1])
	ts.Check(err)
	if got := w.brokerDouble.Calls(); got < least || got > most {
		ts.Fatalf("the broker was called %d times, want %s: %+v", got, strings.Join(args, " to "), w.brokerDouble.Requests())
	}
	if bad := w.brokerDouble.Invalid(); len(bad) > 0 {
		ts.Fatalf("calls against the contract: %q", bad)
	}
}
