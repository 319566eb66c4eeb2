package brokerclient

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/credential/credentialtest"
	"github.com/gatepass/gatepass/internal/httpclient"
)

// script is a network that answers each call with the next step and repeats the
// last one.
type script struct {
	steps []step
	calls int
}

type step func(*http.Request) (*http.Response, error)

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	next := s.steps[min(s.calls, len(s.steps)-1)]
	s.calls++
	return next(r)
}

func status(code int, headers ...string) step {
	return func(*http.Request) (*http.Response, error) {
		h := http.Header{}
		for i := 0; i+1 < len(headers); i += 2 {
			h.Set(headers[i], headers[i+1])
		}
		return &http.Response{StatusCode: code, Header: h, Body: io.NopCloser(strings.NewReader(""))}, nil
	}
}

func fails(err error) step { return func(*http.Request) (*http.Response, error) { return nil, err } }

func hangs(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func cutOff(*http.Request) (*http.Response, error) {
	body := io.MultiReader(strings.NewReader(`{"tok`), errReader{})
	return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {api.MediaType}}, Body: io.NopCloser(body)}, nil
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func gives(*http.Request) (*http.Response, error) {
	body, err := api.EncodeAnswer(credentialtest.FreshAnswer(1, api.TokenRequest{Repo: api.Repo{Owner: "acme", Name: "widgets"}}))
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {api.MediaType}}, Body: io.NopCloser(strings.NewReader(string(body)))}, nil
}

func scripted(steps ...step) (*Source, *script) {
	s := &script{steps: steps}
	return &Source{name: "https://broker.example", base: "https://broker.example", identity: identity{optional: true}, client: client(s)}, s
}

func TestRetries(t *testing.T) {
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	date := func(d time.Duration) string { // the bubble's clock starts at the same moment in every test
		return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Add(d).Format(http.TimeFormat)
	}
	for _, c := range []struct {
		name     string
		steps    []step
		deadline time.Duration // 0 for none
		calls    int
		min, max time.Duration // that pass
		want     string        // part of the error, "" for a token
	}{
		{"no trouble", []step{gives}, 0, 1, 0, 0, ""},
		{"a broker that starts up", []step{fails(refused), fails(refused), gives}, 0, 3, 150 * time.Millisecond, 300 * time.Millisecond, ""},
		{"5xx once", []step{status(502), gives}, 0, 2, 50 * time.Millisecond, 100 * time.Millisecond, ""},
		{"an answer cut off", []step{cutOff, gives}, 0, 2, 50 * time.Millisecond, 100 * time.Millisecond, ""},
		{"a call that hangs", []step{hangs, gives}, 0, 2, httpclient.AttemptWait, httpclient.AttemptWait + time.Second, ""},
		{"seconds are honoured", []step{status(429, "Retry-After", "7"), gives}, 0, 2, 7 * time.Second, 8 * time.Second, ""},
		{"a date is honoured", []step{status(503, "Retry-After", date(5*time.Second)), gives}, 0, 2, 5 * time.Second, 6 * time.Second, ""},
		{"a date in the past is no wait", []step{status(503, "Retry-After", date(-time.Hour)), gives}, 0, 2, 50 * time.Millisecond, 100 * time.Millisecond, ""},
		{"rubbish is no wait", []step{status(503, "Retry-After", "-1e9"), gives}, 0, 2, 50 * time.Millisecond, 100 * time.Millisecond, ""},
		{"never past the deadline", []step{status(503, "Retry-After", "60")}, 10 * time.Second, 1, 0, 0, "cannot answer now (503); try again in 1m0s"},
		{"nor past our own bound", []step{status(503, "Retry-After", "86400")}, 0, 1, 0, 0, "try again in 24h0m0s"},
		{"a deadline between two waits", []step{status(500)}, 140 * time.Millisecond, 2, 50 * time.Millisecond, 140 * time.Millisecond, "cannot answer now (500)"},
		{"a call that always hangs", []step{hangs}, 3 * time.Second, 1, 3 * time.Second, 3 * time.Second, "did not answer in time"},
		{"an end to it", []step{fails(refused)}, 0, httpclient.MaxAttempts, time.Second, 4 * time.Second, "cannot be reached: dial tcp: connection refused"},
		{"no such host is final", []step{fails(&net.DNSError{Err: "no such host", Name: "broker.example", IsNotFound: true})}, 0, 1, 0, 0, "no such host"},
		{"so is a refusal", []step{status(403)}, 0, 1, 0, 0, "refuses"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, network := scripted(c.steps...)
				ctx := t.Context()
				if c.deadline > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, c.deadline)
					defer cancel()
				}
				began := time.Now()
				token, err := s.Token(ctx, widgets)
				took := time.Since(began)
				if c.want == "" && (err != nil || token.IsZero()) || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
					t.Errorf("Token = %v, %v, want error %q", token, err, c.want)
				}
				if network.calls != c.calls || took < c.min || took > c.max {
					t.Errorf("%d calls in %v, want %d in %v to %v", network.calls, took, c.calls, c.min, c.max)
				}
			})
		})
	}
}

// The same with real connections: one that is dropped, one that ends within the answer,
// one with an answer that says how long to wait.
func TestRetriesOverARealNetwork(t *testing.T) {
	b := &credentialtest.Broker{}
	drop := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	half := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", api.MediaType)
		w.Header().Set("Content-Length", "500")
		_, _ = io.WriteString(w, `{"token":"`)
	}
	b.FailNext(credentialtest.Failure{Handler: http.HandlerFunc(drop)}, credentialtest.Failure{Handler: http.HandlerFunc(half)}, credentialtest.Busy(1))
	s, _ := serve(t, under(b))
	began := time.Now()
	token, err := s.Token(t.Context(), widgets)
	if took := time.Since(began); err != nil || token.IsZero() || b.Calls() != 4 || took < time.Second || took > 30*time.Second {
		t.Errorf("Token = %v, %v after %d calls in %v, want a token after 4 in 1s and a little", token, err, b.Calls(), took)
	}
}

func TestCancelEndsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := scripted(status(503, "Retry-After", "20"))
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		began := time.Now()
		_, err := s.Token(ctx, widgets)
		if took := time.Since(began); err == nil || took != time.Second {
			t.Errorf("Token = %v after %v, want an error after 1s", err, took)
		}
	})
}

func TestDeadlineCanBeTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := scripted(hangs)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.Token(ctx, widgets); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, credential.ErrNoCredential) {
			t.Errorf("Token = %v, want context.DeadlineExceeded", err)
		}
	})
}
