// Package oidc identifies callers by a JSON Web Token of an OpenID Connect issuer, such
// as a CI service, a Kubernetes cluster or a cloud.
//
// The configuration names the issuer; tokens of other issuers are not examined. A token
// is parsed twice, here and by go-oidc, and both must agree. This package refuses what
// two parsers could read differently: repeated claims, text that is not Unicode,
// headers that change what is signed.
package oidc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	gooidc "github.com/coreos/go-oidc/v3/oidc"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/identity"
	"github.com/gatepass/gatepass/internal/fairshare"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/store"
)

// Method is the method name of callers with a token of an issuer.
const Method = "oidc"

// An Identifier accepts tokens of one issuer for one audience. It caches the issuer's keys.
type Identifier struct {
	settings Settings
	now      func() time.Time
	keys     *keyring
	review   *reviewer             // nil if no TokenReview is configured
	replay   *identity.ReplayCache // nil if tokens may be used repeatedly
	verified verifiedCache
}

// New returns an Identifier. It makes no calls before the first token. The store remembers
// used tokens; only SingleUse needs it.
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
		i.replay = &identity.ReplayCache{Store: in}
	}
	return i, nil
}

// Identify implements [broker.Identifier]. It leaves a token of another issuer to
// other identifiers. The issuer is read before it is proved, for this decision only.
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
	if !i.verified.has(token.raw, now) {
		if err := i.verify(ctx, fairshare.Address(r.RemoteAddr), token); err != nil {
			return broker.Caller{}, err
		}
		i.verified.add(token.raw, now)
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
	if i.replay != nil {
		c.MarkUsed = func(ctx context.Context) error { return i.markUsed(ctx, textIn(token.claims, "jti"), until) }
	}
	return c, nil
}

// markUsed accepts a token once.
func (i *Identifier) markUsed(ctx context.Context, jti string, until time.Time) error {
	err := i.replay.MarkUsed(ctx, i.settings.Issuer, jti, until, i.now())
	if errors.Is(err, identity.ErrUsed) {
		return errUsed
	}
	return err
}

var errUsed = &broker.Refusal{
	Status: http.StatusUnauthorized, Reason: broker.ReasonReplay,
	Detail: "the token was used before, and this broker accepts each token only once",
}

// verify checks the signature with the issuer's keys. go-oidc parses the token again, checks
// issuer and audience as well, and must have read the same payload. Its check of times is
// off: its tolerances differ from the settings.
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
		return errors.New("the token's signature is not valid")
	}
	var payload json.RawMessage
	if err := verified.Claims(&payload); err != nil || !bytes.Equal(payload, token.payload) {
		return errors.New("the token can be read in two ways")
	}
	return nil
}

const (
	defaultSkew = time.Minute
	maxSkew     = 10 * time.Minute
)

var (
	defaultAlgorithms = []string{"RS256", "ES256"}
	// allAlgorithms are the signatures with a public key (RFC 7518, section 3.1, and
	// RFC 8037). "none" and HMACs are missing, so they cannot be allowed.
	allAlgorithms = []string{"RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "EdDSA"}
)

// Settings say which tokens are accepted. Issuer and Audience must be set.
type Settings struct {
	Issuer   string `yaml:"issuer"`   // exactly as in the claim iss
	Audience string `yaml:"audience"` // the token's only audience
	// Algorithms are the allowed signatures; none means RS256 and ES256.
	Algorithms []string `yaml:"algorithms"`
	// JWKSFile has the issuer's keys if the issuer cannot be reached. It is read again as
	// often as keys are fetched.
	JWKSFile string `yaml:"jwks_file"`
	// CAFile has the authorities for the issuer's certificate; "" means the system's.
	CAFile string `yaml:"ca_file"`
	// MaxAge bounds the time since the token was issued; 0 means until it expires.
	MaxAge    time.Duration `yaml:"max_age"`
	ClockSkew time.Duration `yaml:"clock_skew"` // 0 means a minute
	// SingleUse accepts each token (its jti) once. git asks several times in one job, so this
	// is for callers that fetch a token for each request.
	SingleUse   bool    `yaml:"single_use"`
	TokenReview *Review `yaml:"token_review"` // nil means that no server is asked
}

// Key identifies the settings.
func (s Settings) Key() string {
	text, err := json.Marshal(s)
	if err != nil {
		panic(err) // strings, numbers and booleans always have a JSON form
	}
	return string(text)
}

// Check returns everything that is wrong with the settings.
func (s Settings) Check() error {
	bad := []error{checkURL("issuer", s.Issuer)}
	if s.Audience == "" {
		bad = append(bad, errors.New("audience is missing: write the audience of tokens for this broker"))
	}
	for _, a := range s.Algorithms {
		if !slices.Contains(allAlgorithms, a) {
			bad = append(bad, fmt.Errorf("algorithm %q must be one of %s", a, strings.Join(allAlgorithms, ", ")))
		}
	}
	if s.MaxAge < 0 || s.ClockSkew < 0 || s.ClockSkew > maxSkew {
		bad = append(bad, fmt.Errorf("max_age and clock_skew must be at least 0s, and clock_skew at most %s", maxSkew))
	}
	if s.TokenReview != nil && s.TokenReview.URL != "" {
		bad = append(bad, checkURL("token_review: url", s.TokenReview.URL))
	}
	return usererr.Join(bad...)
}

// checkURL requires an https URL with only a host and a path.
func checkURL(what, text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || strings.ContainsAny(text, "?# ") {
		return fmt.Errorf("%s %q: want https://HOST[:PORT][/PATH]", what, text)
	}
	return nil
}

func (s Settings) algorithms() []string {
	if len(s.Algorithms) == 0 {
		return defaultAlgorithms
	}
	return s.Algorithms
}

func (s Settings) skew() time.Duration {
	if s.ClockSkew == 0 {
		return defaultSkew
	}
	return s.ClockSkew
}
