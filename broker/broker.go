// Package broker gives tokens to workspaces that prove their identity. A token gives
// access to exactly what the workspace's profile allows.
//
// [New] alone composes a broker. A request passes through decorators, whose order is
// part of the safety:
//
//	audited(limited(capped(authorized(recorded(Cache(Shared(journaled(published(minted)))))))))
//
// audited is outermost, so that nothing is answered that is not in the audit log.
// limited limits what one workspace may ask for. capped keeps tokens from workspaces
// that use the git gateway instead. authorized comes before the cache, so that a warm
// cache never answers what the policy refuses. recorded writes to the vend log what a
// workspace gets, so that any replica can revoke it. Shared uses tokens that other
// replicas minted; it is below the cache, and so below authorized. journaled writes the
// intent to disk before GitHub is asked, and the outcome afterwards. published is below
// it: if the store cannot take a new token, the log says so and the token is revoked. A
// request uses one version of the policy from beginning to end ([Workspace.Policy]).
package broker

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/internal/gitname"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/workspace"
)

// A Workspace is an authenticated caller and everything that it may get. It is resolved
// once per request.
type Workspace struct {
	ID      string
	Profile *workspace.Profile
	Rule    string // the rule that matched the caller
	// AnyName means that a repository with an id in the profile is found by that id,
	// whatever its name is now. It is for requests that the broker itself forwards. A
	// workspace with a token would use the old name, which may belong to another
	// repository by now.
	AnyName bool
	// RuleHash, Tokens and Sleep come from the rule.
	RuleHash string
	Tokens   TokenLimit
	Sleep    time.Duration
	// Claims are those that the rule checked, for the audit log.
	Claims map[string]string
	Caller Caller
	Policy *Policy
	// RequestID is the request's id, for the audit log.
	RequestID string
}

// A Scope is what one token gives access to. Requests of one scope share a token.
type Scope struct {
	Repo gitname.Repo
	// Grant is what GitHub is asked for, as [Authorize] decided. Its installation is
	// looked up at the mint.
	Grant mint.Grant
	// AnyName means that the repository is found by its id, whatever its name is now.
	// Repo is then its name in the profile.
	AnyName bool
	// For says who shares the token: the workspaces of one version of a profile, or one
	// workspace alone. When the token is revoked, all of them lose it.
	For string
	// Author is like For, but the same for all versions of a profile. It decides which
	// of several Apps mints.
	Author string

	keep place // where a new token is stored for the other replicas
}

// RepositoryID returns the id that the repository must have; 0 means any.
func (s Scope) RepositoryID() int64 {
	if ids := s.Grant.Repositories.IDs(); len(ids) == 1 {
		return ids[0]
	}
	return 0
}

// Permissions returns the token's permissions, which are never empty.
func (s Scope) Permissions() map[string]string { return s.Grant.Permissions.Levels() }

// Key returns a text that is different for different scopes.
func (s Scope) Key() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s#%d", s.Repo, s.RepositoryID())
	levels := s.Permissions()
	for _, name := range slices.Sorted(maps.Keys(levels)) {
		fmt.Fprintf(&b, " %s:%s", name, levels[name])
	}
	if s.AnyName {
		b.WriteString(" under any name")
	}
	b.WriteString(" " + s.For)
	return b.String()
}

// A Grant is a token and where it came from.
type Grant struct {
	Token  credential.Token
	Scope  Scope
	Cached bool // it was minted for an earlier request
}

// A Vendor answers one request of a workspace. Its error is a [*Refusal], or an
// internal error that the caller must not see.
type Vendor func(context.Context, Workspace, api.TokenRequest) (Grant, error)

// A Config says how to compose a Broker. Policy, Journal, Store and GitHub must be set;
// [New] panics without one of them.
type Config struct {
	// Policy returns the policy in force.
	Policy func() *Policy
	// Journal is the audit log. If it cannot record a request, the broker refuses it.
	Journal Journal
	// Store holds the block list and the vend log.
	Store store.Store
	// GitHub mints and revokes the tokens.
	GitHub GitHub

	// Limits returns the limits of one workspace; nil means [DefaultLimits].
	Limits func() Limits
	// StrangerLimits returns the limits of one address for requests without an
	// identity; nil means [DefaultStrangerLimits].
	StrangerLimits func() Limits

	Log *slog.Logger     // nil means slog.Default()
	Now func() time.Time // nil means time.Now
	// TokenTime returns the time by GitHub's clock, by which tokens expire; nil means
	// Now.
	TokenTime func() time.Time

	// WrapMint wraps each mint, for metrics and traces; nil means no wrapper. It must
	// return what next returns.
	WrapMint func(next MintFunc) MintFunc
	// Observe is called with every answer, for metrics; nil disables it.
	Observe func(Observation)
	// Pushed is called for each ref of a refused push with what would have happened to
	// it, one of [api.PushActions]; nil disables it.
	Pushed func(action string)
	// BlocklistTold is [Blocklist.Told].
	BlocklistTold func(error)
	// TookBack is [TakeBack.Revoked].
	TookBack func(credential.Token)

	// Extra are more calls by their path; nil means none. They and Mounted may be set
	// after New, before Handler.
	Extra map[string]Endpoint
	// Mounted are more handlers, by the pattern of [http.ServeMux]; nil means none.
	Mounted map[string]http.Handler
}

// A GitHub mints and revokes tokens. [mint.App] is one.
type GitHub interface {
	Minter
	// Revoke revokes a token.
	Revoke(ctx context.Context, t credential.Token) error
	// Rate returns the rate limit that GitHub reported last; known is false before the
	// first report.
	Rate() (r mint.Rate, known bool)
}

// A MintFunc mints a token for one scope.
type MintFunc func(context.Context, Scope) (mint.Minted, error)

// A Broker serves workspaces. Make it with [New]: the zero Broker gives nothing.
type Broker struct {
	Config

	// Vend answers one request of a workspace through the whole chain. Every token
	// comes from Vend or Hold.
	Vend Vendor
	// Hold is Vend without the journal. It is for the git gateway, which does not pass
	// the token on, and writes its own entry before it uses it.
	Hold Vendor

	Blocklist *Blocklist
	VendLog   *VendLog
	Cache     *Cache
	Budget    *Budget
	TakeBack  *TakeBack

	strangers *Limiter    // requests without an identity, by address
	requests  *Limiter    // requests, by workspace
	pushes    *Limiter    // refs in reports of refused pushes, by workspace
	bodies    BodyLimiter // request bodies of authenticated workspaces
}

// DefaultLimits returns the limits of one workspace.
func DefaultLimits() Limits { return Limits{Requests: 64, Rate: 20, Burst: 200} }

// DefaultStrangerLimits returns the limits of one address for requests without an
// identity.
func DefaultStrangerLimits() Limits { return Limits{Rate: 5, Burst: 50} }

// New makes a broker. It alone composes the decorator chain that is part of the safety
// (see the package comment). It does not read, write or send anything.
func New(c Config) *Broker {
	c.complete()
	b := &Broker{Config: c}
	b.Blocklist = &Blocklist{Store: c.Store, Now: c.Now, Told: c.BlocklistTold}
	b.VendLog = &VendLog{Store: c.Store, Now: c.TokenTime}
	b.TakeBack = &TakeBack{Revoke: c.GitHub.Revoke, Revoked: c.TookBack, Now: c.TokenTime}
	b.Budget = &Budget{Rate: c.GitHub.Rate, Now: c.TokenTime}
	b.strangers = &Limiter{Limits: c.StrangerLimits, Now: c.Now}
	b.pushes = &Limiter{Limits: PushLimits, Now: c.Now}

	shared := newShared(c.Store, b.Blocklist.Marked, c.TokenTime)
	mint := c.WrapMint(journaled(c.Journal, c.Now, b.TakeBack.Take, published(shared, minted(c.GitHub))))
	b.Cache = &Cache{Mint: mint, Shared: shared, Budget: c.budgets(b.Budget).allow, Now: c.TokenTime}
	b.requests = &Limiter{Limits: c.Limits, Now: c.Now}
	b.Hold = limited(b.requests, capped(authorized(b.Blocklist, recorded(b.VendLog, b.Cache))))
	b.Vend = audited(c.Journal, c.Now, b.Hold)
	return b
}

// complete sets the defaults. It panics if a required field is missing.
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
	if c.StrangerLimits == nil {
		c.StrangerLimits = DefaultStrangerLimits
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
