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

// proofs are the identifiers that know something that others do not: keys,
// nonces, authorities.
type proofs struct {
	// Keys are what sessions and nonces are signed with. Without them, nobody is
	// proved by either.
	Keys *identity.Keyset

	mu      sync.Mutex // guards the rest
	session *identity.SessionIdentifier
	nonces  *aws.Nonces
	aws     map[string]*aws.Identifier                         // by what their settings say
	mtls    map[identity.MTLSSettings]*identity.MTLSIdentifier // by their settings, without the id
}

// checkProof says what is wrong with the settings of the method.
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

// checkAccount wants a rule with aws to say whose identities it is for: AWS proves
// those of every account there is.
func (c Caller) checkAccount() error {
	for _, path := range []string{"account", "arn", "user_id"} {
		if _, isAsked := c.Claims[path]; isAsked {
			return nil
		}
	}
	if c.CEL != "" {
		return nil
	}
	return errors.New("aws: the rule is for everybody who has an AWS account; match account, arn or user_id in claims")
}

// proofMethod is the method of a rule's callers, "" where it is none of these.
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

// Asked is what the settings of the method ask of claims.
func (c Caller) Asked() broker.Exactly {
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

// proof is the identifier of a rule; nil where the rule is of another method.
func (p *proofs) proof(c Caller) broker.Identifier {
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

// Sessions is the identifier of all rules with join, for [identity.Desk].
func (p *proofs) Sessions() *identity.SessionIdentifier {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.session == nil {
		p.session = &identity.SessionIdentifier{Keys: p.Keys}
	}
	return p.session
}

// store is where replicas tell each other what was spent; nil where there is
// none.
func (p *proofs) store() store.Store {
	if p.Keys == nil {
		return nil
	}
	return p.Keys.Store
}

// Nonces are those of all rules with aws.
func (p *proofs) Nonces() *aws.Nonces {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.nonces == nil {
		p.nonces = &aws.Nonces{Keys: p.Keys, Replay: identity.ReplayCache{Store: p.store()}}
	}
	return p.nonces
}

func (p *proofs) ofAWS(s aws.Settings) *aws.Identifier {
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

func (p *proofs) ofMTLS(s identity.MTLSSettings) *identity.MTLSIdentifier {
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

// ClientCAs are the authorities of all rules with mtls, nil where there are none.
// A listener asks for every connection, since their files may change, and demands
// no certificate ([crypto/tls.VerifyClientCertIfGiven]).
func (p *proofs) ClientCAs() *x509.CertPool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return identity.Pool(slices.Collect(maps.Values(p.mtls))...)
}
