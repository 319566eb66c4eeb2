// Package broker vends GitHub tokens to workspaces that prove who they are. A token opens
// what the workspace's profile allows, and nothing else.
//
// [New] composes a broker; nothing else does. A request goes through a chain of decorators,
// and their order is part of the safety:
//
//	audited(limited(capped(authorized(recorded(Cache(Shared(journaled(published(minted)))))))))
//
// - audited writes every answer to the audit log before the caller gets it.
// - limited bounds how often one workspace may ask.
// - capped refuses tokens to workspaces that use the git gateway instead.
// - authorized checks the policy and the block list. It is above the cache, so that the cache never answers what the policy refuses.
// - recorded writes to the store which workspace has which token, so that any replica can revoke it.
// - Shared takes a token that another replica minted.
// - journaled writes the intent to disk before GitHub is asked, and the outcome afterwards.
// - published puts a new token into the store. It is below journaled: if the store fails, the log says so and the token is revoked.
//
// A request uses one generation of the policy from beginning to end ([Workspace.Policy]).
package broker

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/gatepass/gatepass/broker/blocklist"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/workspace/profile"
)

// A Workspace is an authenticated caller and what it may have. It is resolved once per
// request.
type Workspace struct {
	ID      string
	Profile *profile.Profile
	Rule    string // the matching rule
	// AnyName finds a repository that the profile pins by ID under any name. Only the gateway
	// sets it, because it forwards requests itself: a workspace that holds the token could
	// not use another name.
	AnyName bool
	// RuleHash, Tokens and Sleep are copied from the rule.
	RuleHash string
	Tokens   TokenLimit
	Sleep    time.Duration
	// Claims are those that the rule read, for the audit log.
	Claims map[string]string
	Caller Caller
	Policy *Policy
	// RequestID identifies the request in the audit log.
	RequestID string
}

// A Grant is a token and where it came from.
type Grant struct {
	Token  credential.Token
	Scope  Scope
	Cached bool // it was minted for an earlier request
}

// A Vendor answers one request of a workspace. Its error is a [*Refusal], or an internal
// error that the caller does not see.
type Vendor func(context.Context, Workspace, api.TokenRequest) (Grant, error)

// A Config has the parts of a Broker. [New] panics unless Policy, Journal, Store and GitHub
// are set.
type Config struct {
	// Policy returns the current generation of the policy.
	Policy func() *Policy
	// Journal is the audit log. A request that it cannot record is refused.
	Journal Journal
	// Store holds the block list, and which workspace has which token.
	Store store.Store
	// GitHub mints and revokes the tokens.
	GitHub GitHub

	// Limits returns the limits of one workspace; nil means [DefaultLimits].
	Limits func() Limits
	// UnauthLimits returns the limits of one address that proves no identity; nil means
	// [DefaultUnauthLimits].
	UnauthLimits func() Limits

	Log *slog.Logger     // nil means slog.Default()
	Now func() time.Time // nil means time.Now
	// TokenTime is GitHub's clock, by which tokens expire; nil means Now.
	TokenTime func() time.Time

	// WrapMint wraps each mint, for metrics and traces; nil wraps nothing. It must return
	// what next returns.
	WrapMint func(next MintFunc) MintFunc
	// Observe is called for every answer, for metrics; nil is not called.
	Observe func(Observation)
	// Pushed is called for each ref of a refused push with the attempted action, one of
	// [api.PushActions]; nil is not called.
	Pushed func(action string)
	// OnBlocklistError is [blocklist.List.OnError].
	OnBlocklistError func(error)
	// RevokedUnused is [UnusedRevoker.Revoked].
	RevokedUnused func(credential.Token)

	// Extra are further endpoints by path; nil means none. Extra and Mounted may be set after
	// New and before Handler.
	Extra map[string]Endpoint
	// Mounted are other handlers, by the pattern of [http.ServeMux]; nil means none.
	Mounted map[string]http.Handler
}

// A Broker answers workspaces. Make it with [New]; the zero Broker answers no request.
type Broker struct {
	Config

	// Vend answers one request of a workspace through the whole chain. Every token is vended
	// by Vend or by Hold.
	Vend Vendor
	// Hold is Vend without the audit entry. The git gateway uses it: it keeps the token, and
	// writes its own entry before it uses the token.
	Hold Vendor

	Blocklist     *blocklist.List
	VendLog       *VendLog
	Cache         *Cache
	Budget        *Budget
	UnusedRevoker *UnusedRevoker

	verdicts verdicts
	unauth   *Limiter    // requests without an identity, by address
	requests *Limiter    // requests by workspace
	pushes   *Limiter    // reported refs of refused pushes, by workspace
	bodies   BodyLimiter // by workspace
}

// DefaultLimits are the limits of one workspace.
func DefaultLimits() Limits { return Limits{Requests: 64, Rate: 20, Burst: 200} }

// DefaultUnauthLimits are the limits of one address that proves no identity.
func DefaultUnauthLimits() Limits { return Limits{Rate: 5, Burst: 50} }

// New makes a broker. It composes the chain described in the package comment. It reads and
// writes nothing yet.
func New(c Config) *Broker {
	c.complete()
	b := &Broker{Config: c}
	b.Blocklist = &blocklist.List{Store: c.Store, Now: c.Now, OnError: c.OnBlocklistError}
	b.VendLog = &VendLog{Store: c.Store, Now: c.TokenTime}
	b.UnusedRevoker = &UnusedRevoker{Revoke: c.GitHub.Revoke, Revoked: c.RevokedUnused, Now: c.TokenTime}
	b.Budget = &Budget{Rate: c.GitHub.Rate, Now: c.TokenTime}
	b.unauth = &Limiter{Limits: c.UnauthLimits, Now: c.Now}
	b.pushes = &Limiter{Limits: PushLimits, Now: c.Now}

	shared := newShared(c.Store, b.Blocklist.Marked, c.TokenTime)
	mint := c.WrapMint(journaled(c.Journal, c.Now, b.UnusedRevoker.RevokeUnused, published(shared, minted(c.GitHub))))
	b.Cache = &Cache{Mint: mint, Shared: shared, Budget: c.budgets(b.Budget).allow, Now: c.TokenTime}
	b.requests = &Limiter{Limits: c.Limits, Now: c.Now}
	b.Hold = limited(b.requests, capped(authorized(b.Blocklist, recorded(b.VendLog, b.Cache))))
	b.Vend = audited(c.Journal, c.Now, b.Hold)
	return b
}

// complete sets the defaults, and panics if a required part is missing.
func (c *Config) complete() {
	for name, isMissing := range map[string]bool{
		"Policy": c.Policy == nil, "Journal": c.Journal == nil, "Store": c.Store == nil, "GitHub": c.GitHub == nil,
	} {
		if isMissing {
			panic("broker.New: Config." + name + " is nil; a broker without it would not be safe")
		}
	}
	if c.Limits == nil {
		c.Limits = DefaultLimits
	}
	if c.UnauthLimits == nil {
		c.UnauthLimits = DefaultUnauthLimits
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.TokenTime == nil {
		c.TokenTime = c.Now
	}
	if c.WrapMint == nil {
		c.WrapMint = func(next MintFunc) MintFunc { return next }
	}
}
