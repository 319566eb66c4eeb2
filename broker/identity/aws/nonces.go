package aws

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net/http"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/identity"
)

const (
	// NonceLife is how long a nonce is valid.
	NonceLife = time.Minute

	purpose   = "nonce"
	nonceSkew = 5 * time.Second // allowed between the clocks of replicas
	nonceSize = 8 + 16          // the time it was made, and random bytes
)

// Nonces are texts that a proof must contain, so that it cannot have been made earlier.
// Replicas recognise each other's nonces by the signature, and used ones by Replay.
type Nonces struct {
	Keys   *identity.Keyset
	Replay identity.ReplayCache // with the store that all replicas share
	Now    func() time.Time     // nil means time.Now
}

func (n *Nonces) now() time.Time {
	if n.Now == nil {
		return time.Now()
	}
	return n.Now()
}

// Endpoint serves GET /v1/nonce.
func (n *Nonces) Endpoint() broker.Endpoint {
	return broker.Endpoint{Name: "nonce", Serve: func(w http.ResponseWriter, r *http.Request, _ string) error {
		if r.Method != http.MethodGet {
			return broker.NotAllowed(w, http.MethodGet)
		}
		text, expires, err := n.Make(r.Context())
		if err != nil {
			return unreadable(err)
		}
		return api.WriteNonce(w, api.NonceAnswer{Nonce: text, ExpiresAt: expires})
	}}
}

func unreadable(err error) error {
	return &broker.Refusal{Status: http.StatusServiceUnavailable, Reason: broker.ReasonStore, RetryAfter: retryAfter, Detail: "the broker cannot read its session keys", Err: err}
}

// Make returns a nonce and when it expires.
func (n *Nonces) Make(ctx context.Context) (text string, expires time.Time, err error) {
	now := n.now().Truncate(time.Second)
	payload := binary.BigEndian.AppendUint64(nil, uint64(now.Unix()))
	payload = append(payload, make([]byte, nonceSize-len(payload))...)
	rand.Read(payload[8:]) // never fails
	text, err = n.Keys.Seal(ctx, purpose, payload)
	return text, now.Add(NonceLife), err
}

var errNonce = errors.New("the nonce is not from this broker, or is too old; get one from " + api.NoncePath)

// MarkUsed returns an error unless the nonce is valid and was not used before. The caller may
// see the error.
func (n *Nonces) MarkUsed(ctx context.Context, text string) error {
	until, err := n.check(ctx, text)
	if err != nil {
		return err
	}
	err = n.Replay.MarkUsed(ctx, purpose, text, until, n.now())
	if errors.Is(err, identity.ErrUsed) {
		err = errUsed
	}
	return err
}

var errUsed = &broker.Refusal{Status: http.StatusUnauthorized, Reason: broker.ReasonReplay, Detail: "the nonce was used already; get another from " + api.NoncePath}

// check returns when a nonce expires. It makes no call to the store.
func (n *Nonces) check(ctx context.Context, text string) (until time.Time, err error) {
	payload, err := n.Keys.Open(ctx, purpose, text)
	if errors.Is(err, identity.ErrForged) || err == nil && len(payload) != nonceSize {
		return until, errNonce
	}
	if err != nil {
		return until, unreadable(err)
	}
	made := time.Unix(int64(binary.BigEndian.Uint64(payload)), 0)
	now := n.now()
	if age := now.Sub(made); age < -nonceSkew || age >= NonceLife {
		return until, errNonce
	}
	if n.Replay.Seen(purpose, text, now) {
		return until, errUsed
	}
	return made.Add(NonceLife), nil
}
