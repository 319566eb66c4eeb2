package oidc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	gooidc "github.com/coreos/go-oidc/v3/oidc"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/identity"
	"github.com/gatepass/gatepass/internal/fairshare"
	"github.com/gatepass/gatepass/store"
)

// Method is the method of callers that are proved here.
const Method = "oidc"

// An Identifier proves callers by the tokens of one issuer for one audience. It
// keeps the issuer's keys.
type Identifier struct {
	settings Settings
	now      func() time.Time
	keys     *keyring
	review   *reviewer             // nil where nobody is asked
	spent    *identity.ReplayCache // nil where tokens may be shown again
	held     verifiedCache
}

// New returns an Identifier. It asks nobody before the first token comes. In the
// store stands which tokens were taken; it is needed where each is taken once.
func New(s Settings, in store.Store) (*Identifier, error) { return newAt(s, in, time.Now) }

var errNoStore = errors.New("single_use: there is no store to remember tokens in")

func newAt(s Settings, in store.Store, now func() time.Time) (*Identifier, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	load := published(s.Issuer, &server{caFile: s.CAFile, timeout: loadWait})
	if s.JWKSFile != "" {
		load = filed(s.JWKSFile)
	}
	i := &Identifier{settings: s, now: now, keys: newKeyring(load, now)}
	if s.TokenReview != nil {
		i.review = newReviewer(*s.TokenReview, s.Audience, now)
	}
	if s.SingleUse && in == nil {
		return nil, errNoStore
	}
	if s.SingleUse {
		i.spent = &identity.ReplayCache{Store: in}
	}
	return i, nil
}

// Identify implements [broker.Identifier]. Another issuer's token is no proof of
// this kind. Who the issuer is, is read before it is proved, to decide that and
// nothing else.
func (i *Identifier) Identify(ctx context.Context, r *http.Request) (broker.Caller, error) {
	token, err := parse(api.Bearer(r))
	if err != nil {
		return broker.Caller{}, err
	}
	if iss, ok := token.claims["iss"].(string); !ok || iss != i.settings.Issuer {
		return broker.Caller{}, broker.ErrNoProof
	}
	if err := token.checkHeader(i.settings.algorithms()); err != nil {
		return broker.Caller{}, err
	}
	now := i.now()
	until, err := i.settings.checkClaims(token.claims, now)
	if err != nil {
		return broker.Caller{}, err
	}
	if !i.held.has(token.raw, now) {
		if err := i.verify(ctx, fairshare.Address(r.RemoteAddr), token); err != nil {
			return broker.Caller{}, err
		}
		i.held.add(token.raw, now)
	}
	if i.review != nil {
		if err := i.review.check(ctx, token); err != nil {
			return broker.Caller{}, err
		}
	}
	c, err := broker.NewCaller(Method, token.claims)
	if err != nil {
		return broker.Caller{}, err
	}
	if i.spent != nil {
		c.Spend = func(ctx context.Context) error { return i.spend(ctx, textIn(token.claims, "jti"), until) }
	}
	return c, nil
}

// spend takes a token once.
func (i *Identifier) spend(ctx context.Context, jti string, until time.Time) error {
	err := i.spent.MarkUsed(ctx, i.settings.Issuer, jti, until, i.now())
	if errors.Is(err, identity.ErrSpent) {
		return errSpent
	}
	return err
}

var errSpent = &broker.Refusal{
	Status: http.StatusUnauthorized, Reason: broker.ReasonReplay,
	Detail: "the token was used before, and this broker takes each token once",
}

// verify holds the signature against the issuer's keys. go-oidc reads the token
// anew, checks issuer and audience as well, and has to have seen the same payload.
// Its clock has other tolerances than the settings, and is left out.
func (i *Identifier) verify(ctx context.Context, from string, token claimed) error {
	keys, err := i.keys.suiting(ctx, from, token.kid, token.alg)
	if err != nil {
		return err
	}
	verifier := gooidc.NewVerifier(i.settings.Issuer, &gooidc.StaticKeySet{PublicKeys: keys}, &gooidc.Config{
		ClientID: i.settings.Audience, SupportedSigningAlgs: []string{token.alg}, SkipExpiryCheck: true,
	})
	verified, err := verifier.Verify(ctx, token.raw)
	if err != nil {
		return errors.New("the token's signature does not hold")
	}
	var payload json.RawMessage
	if err := verified.Claims(&payload); err != nil || !bytes.Equal(payload, token.payload) {
		return errors.New("the token can be read in two ways")
	}
	return nil
}
