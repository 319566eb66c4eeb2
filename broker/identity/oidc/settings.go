// Package oidc identifies callers by a JSON Web Token of an OpenID Connect
// issuer: a CI job, a pod, a role of a cloud.
//
// The configuration names the issuer; a token is looked at no further when it is
// another's. What the issuer signed is taken apart twice, here and by go-oidc,
// and both have to agree: this package refuses what two readers could read
// differently (claims given twice, texts that are no Unicode, headers that change
// what is signed).
package oidc

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gatepass/gatepass/internal/usererr"
)

const (
	defaultSkew = time.Minute
	maxSkew     = 10 * time.Minute
)

var (
	defaultAlgorithms = []string{"RS256", "ES256"}
	// allAlgorithms are signatures of a public key (RFC 7518, section 3.1, and
	// RFC 8037). "none" and the HMACs are not among them, and cannot be allowed.
	allAlgorithms = []string{"RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "EdDSA"}
)

// Settings say whose tokens are proof. Issuer and Audience have to be set.
type Settings struct {
	Issuer   string `yaml:"issuer"`   // as in the claim iss, to the letter
	Audience string `yaml:"audience"` // the one audience of a token
	// Algorithms may sign; none means RS256 and ES256.
	Algorithms []string `yaml:"algorithms"`
	// JWKSFile has the issuer's keys where it cannot be asked; it is read again
	// as keys from an issuer are.
	JWKSFile string `yaml:"jwks_file"`
	// CAFile has the authorities of the issuer's certificate; "" means the
	// system's.
	CAFile string `yaml:"ca_file"`
	// MaxAge bounds how long ago a token was issued; 0 means until it expires.
	MaxAge    time.Duration `yaml:"max_age"`
	ClockSkew time.Duration `yaml:"clock_skew"` // 0 means a minute
	// SingleUse takes each token (its jti) once. git asks several times within one
	// job, so this is for callers that fetch a token for each question.
	SingleUse   bool    `yaml:"single_use"`
	TokenReview *Review `yaml:"token_review"` // nil means nobody is asked
}

// Key tells settings from each other.
func (s Settings) Key() string {
	text, err := json.Marshal(s)
	if err != nil {
		panic(err) // texts, numbers and truths have a JSON form
	}
	return string(text)
}

// Check says everything that is wrong with the settings.
func (s Settings) Check() error {
	bad := []error{checkURL("issuer", s.Issuer)}
	if s.Audience == "" {
		bad = append(bad, errors.New("audience is missing: write what tokens for this broker are issued for"))
	}
	for _, a := range s.Algorithms {
		if !slices.Contains(allAlgorithms, a) {
			bad = append(bad, fmt.Errorf("algorithm %q is none of %s", a, strings.Join(allAlgorithms, ", ")))
		}
	}
	if s.MaxAge < 0 || s.ClockSkew < 0 || s.ClockSkew > maxSkew {
		bad = append(bad, fmt.Errorf("max_age and clock_skew are no less than 0s, and clock_skew is at most %s", maxSkew))
	}
	if s.TokenReview != nil && s.TokenReview.URL != "" {
		bad = append(bad, checkURL("token_review: url", s.TokenReview.URL))
	}
	return usererr.Join(bad...)
}

// checkURL wants an https URL that names a server and a path, and no more.
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
