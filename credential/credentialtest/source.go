// Package credentialtest has test doubles for tests and demonstrations: a scripted
// [Source], and a [Broker] that follows the broker's contract.
//
// It does not import testing, so that programs can use it.
package credentialtest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/gatepass/gatepass/credential"
)

// A Source answers each call with a fresh token and records the calls. The zero Source
// is ready to use, also by several goroutines at once.
type Source struct {
	// Answer, if set, replaces the fresh token.
	Answer func(ctx context.Context, req credential.Request) (credential.Token, error)
	// Lifetime is that of fresh tokens; zero means credential.Lifetime.
	Lifetime time.Duration
	// KeyOf, if set, says which requests share a token.
	KeyOf func(req credential.Request) string

	mu       sync.Mutex // guards the rest
	failures []error
	requests []credential.Request
}

// FailNext makes the next calls fail, one for each error. A nil error lets its call
// succeed.
func (s *Source) FailNext(errs ...error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures = append(s.failures, errs...)
}

// Requests returns the requests of all calls so far, in order.
func (s *Source) Requests() []credential.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]credential.Request(nil), s.requests...)
}

// Calls returns how many times Token was called.
func (s *Source) Calls() int { return len(s.Requests()) }

// Token implements [credential.Source].
func (s *Source) Token(ctx context.Context, req credential.Request) (credential.Token, error) {
	n, err := s.record(req)
	if err != nil {
		return credential.Token{}, err
	}
	if s.Answer != nil {
		return s.Answer(ctx, req)
	}
	if err := ctx.Err(); err != nil {
		return credential.Token{}, err
	}
	lifetime := s.Lifetime
	if lifetime == 0 {
		lifetime = credential.Lifetime
	}
	return credential.NewToken(Secret(n), time.Now().Add(lifetime)), nil
}

func (s *Source) record(req credential.Request) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, req)
	if len(s.failures) > 0 {
		err, s.failures = s.failures[0], s.failures[1:]
	}
	return len(s.requests), err
}

// Key implements [credential.Keyer]. Without KeyOf, every repository of every host has
// its own token.
func (s *Source) Key(req credential.Request) string {
	if s.KeyOf != nil {
		return s.KeyOf(req)
	}
	return req.Host + "/" + req.Path
}

// Secret returns the n-th token of a Source or Broker. It has the form and length of
// GitHub's tokens, and no effect.
func Secret(n int) string { return fmt.Sprintf("ghs_%036d", n) }
