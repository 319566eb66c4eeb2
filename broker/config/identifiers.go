package config

import (
	"cmp"
	"crypto/x509"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/identity"
	"github.com/gatepass/gatepass/broker/identity/aws"
	"github.com/gatepass/gatepass/store"
)

// sharedIdentifiers makes and shares the identifiers that need more than their rule: keys, nonces,
// authorities.
type sharedIdentifiers struct {
	// Keys sign sessions and nonces. Without them, proofs by either are refused.
	Keys *identity.Keyset

	mu      sync.Mutex // guards the rest
	session *identity.SessionIdentifier
	nonces  *aws.Nonces
	aws     map[string]*aws.Identifier                         // by their settings
	mtls    map[identity.MTLSSettings]*identity.MTLSIdentifier // by their settings, without the id
}

// checkProof returns an error if the settings of the method are wrong.
func (c Caller) checkProof() error {
	switch {
	case c.AWS != nil:
		return cmp.Or(c.AWS.Check(), c.checkAccount())
	case c.MTLS != nil:
		return c.MTLS.Check()
	case c.Join != nil:
		return cmp.Or(c.Join.Check(), identity.CheckJoinRule(c.Name))
	}
	return nil
}

// checkAccount returns an error unless an aws rule limits whose identities match: AWS
// proves those of every AWS account.
func (c Caller) checkAccount() error {
	for _, path := range []string{"account", "arn", "user_id"} {
		if _, isAsked := c.Claims[path]; isAsked {
			return nil
		}
	}
	if c.CEL != "" {
		return nil
	}
	return errors.New("aws: the rule matches everyone who has an AWS account; match account, arn or user_id in claims")
}

// proofMethod returns the method of the rule's callers; "" for other methods than
// these.
func (c Caller) proofMethod() string {
	switch {
	case c.AWS != nil:
		return aws.Method
	case c.MTLS != nil:
		return identity.MTLSMethod
	case c.Join != nil:
		return identity.JoinMethod
	}
	return ""
}

// RequiredClaims returns the claims that the method's settings require.
func (c Caller) RequiredClaims() broker.Exactly {
	switch {
	case c.Socket != nil:
		return c.Socket.Match()
	case c.MTLS != nil:
		return c.MTLS.Match()
	case c.Join != nil:
		return c.Join.Match(c.Name)
	}
	return nil
}

// proof returns the identifier of a rule; nil for other methods than these.
func (p *sharedIdentifiers) proof(c Caller) broker.Identifier {
	switch {
	case c.AWS != nil:
		return p.ofAWS(*c.AWS)
	case c.MTLS != nil:
		return p.ofMTLS(*c.MTLS)
	case c.Join != nil:
		return p.Sessions()
	}
	return nil
}

// Sessions returns the identifier that all join rules share, for [identity.Exchanger].
func (p *sharedIdentifiers) Sessions() *identity.SessionIdentifier {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.session == nil {
		p.session = &identity.SessionIdentifier{Keys: p.Keys}
	}
	return p.session
}

// store returns the store in which replicas record used proofs; nil if there is none.
func (p *sharedIdentifiers) store() store.Store {
	if p.Keys == nil {
		return nil
	}
	return p.Keys.Store
}

// Nonces returns the nonces that all aws rules share.
func (p *sharedIdentifiers) Nonces() *aws.Nonces {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.nonces == nil {
		p.nonces = &aws.Nonces{Keys: p.Keys, Replay: identity.ReplayCache{Store: p.store()}}
	}
	return p.nonces
}

func (p *sharedIdentifiers) ofAWS(s aws.Settings) *aws.Identifier {
	nonces := p.Nonces()
	p.mu.Lock()
	defer p.mu.Unlock()
	key := s.ServerID + " " + strings.Join(s.Regions, " ")
	if p.aws[key] == nil {
		if p.aws == nil {
			p.aws = map[string]*aws.Identifier{}
		}
		p.aws[key] = aws.New(s, nonces)
	}
	return p.aws[key]
}

func (p *sharedIdentifiers) ofMTLS(s identity.MTLSSettings) *identity.MTLSIdentifier {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.ID = ""
	if p.mtls[s] == nil {
		if p.mtls == nil {
			p.mtls = map[identity.MTLSSettings]*identity.MTLSIdentifier{}
		}
		p.mtls[s] = identity.NewMTLS(s)
	}
	return p.mtls[s]
}

// ClientCAs returns the authorities of all mtls rules; nil if there are none. A
// listener calls it for every connection, because the files may change. It accepts
// clients without a certificate ([crypto/tls.VerifyClientCertIfGiven]).
func (p *sharedIdentifiers) ClientCAs() *x509.CertPool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return identity.Pool(slices.Collect(maps.Values(p.mtls))...)
}
