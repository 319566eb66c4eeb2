package credential

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// A revoked token stays in memory for the rest of its hour, and gatepass token went on
// printing it. A user who asks for a fresh one gets what the source has now, or
// nothing.
func TestAnewAsksTheSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &issuer{}
		c := &Cache{Source: s}
		want(t, c, "tok-1")
		tok, err := c.Token(WithoutCache(t.Context()), widgets)
		if err != nil || tok.Secret() != "tok-2" || tok.Cached() {
			t.Errorf("Token anew = %q, %v, want tok-2", tok.Secret(), err)
		}
		want(t, c, "tok-2")
		revoked := errors.New("it was revoked")
		s.breaks(revoked)
		if tok, err := c.Token(WithoutCache(t.Context()), widgets); !errors.Is(err, revoked) || !tok.IsZero() {
			t.Errorf("Token anew = %q, %v, want %v and not the old one", tok.Secret(), err, revoked)
		}
		s.mends()
		// A fetch that began before does not answer a request for a new token, nor
		// replace that token.
		s.delay = time.Second
		time.Sleep(time.Minute)
		go func() { _, _ = c.Token(t.Context(), widgets) }()
		time.Sleep(500 * time.Millisecond)
		anew, err := c.Token(WithoutCache(t.Context()), widgets)
		if err != nil || anew.Secret() != "tok-5" {
			t.Errorf("Token anew = %q, %v, want tok-5", anew.Secret(), err)
		}
		want(t, c, "tok-5")
	})
}

// A server's 401 for one token is a reason to doubt the other tokens of that host that
// were in the cache at that time: all tokens of a workspace may have been revoked. It
// does not make later ones doubtful, or those of another host.
func TestWhatIsDoubted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &Cache{Source: byOperation{new(issuer)}}
		read, write, other := widgets, widgets, widgets
		read.Operation, write.Operation, other.Host = "read", "write", "git.example"
		ask := func(req Request) Token {
			t.Helper()
			tok, err := c.Token(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			return tok
		}
		bad := ask(write)
		ask(read)
		ask(other)
		c.Reject(write, "another secret")
		if c.IsSuspect(read) {
			t.Error("a secret that was never here casts doubt")
		}
		c.Reject(write, bad.Secret())
		if !c.IsSuspect(read) || c.IsSuspect(other) || c.IsSuspect(write) {
			t.Errorf("doubted are read %v, another host's %v, and none %v, want the first alone", c.IsSuspect(read), c.IsSuspect(other), c.IsSuspect(write))
		}
		time.Sleep(time.Second)
		if _, err := c.Token(WithoutCache(t.Context()), read); err != nil || c.IsSuspect(read) {
			t.Errorf("%v, doubted %v, want the new one believed", err, c.IsSuspect(read))
		}
	})
}

// byOperation has different tokens for reading and for writing.
type byOperation struct{ *issuer }

func (byOperation) Key(req Request) string { return req.Host + " " + req.Operation }

func (s byOperation) Token(ctx context.Context, req Request) (Token, error) {
	return s.issuer.Token(ctx, req)
}
