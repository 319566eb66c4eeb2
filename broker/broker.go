// Package broker answers workspaces that prove who they are with tokens that
// open exactly what their profile says.
//
// [New] is the one place that puts a broker together. A request goes through
// decorators, and their order is part of the safety:
//
//	audited(limited(capped(authorized(kept(Cache(Shared(journaled(published(minted)))))))))
//
// audited is outermost, so that nothing is answered that was not written down.
// limited bounds what one workspace asks for. capped keeps tokens from workspaces that
// use the git gateway instead. authorized comes before the cache: a
// warm cache never answers what the policy refuses. kept writes down what a workspace
// is given, so that any replica can revoke it. Shared takes what another replica made, below
// the cache and thus below what the policy refuses. journaled has the intent on the disk
// before GitHub is asked, and the outcome afterwards; published comes below it, so that the
// log says it, and the token is revoked, where the store cannot keep it. A request sees one generation of
// the policy from its beginning to its end ([Workspace.Policy]).
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

// A Workspace is an authenticated caller and everything it may be given. It is
// resolved once per request and carried to the end.
type Workspace struct {
	ID      string
	Profile *workspace.Profile
	Rule    string // the rule of the policy that says so
	// AnyName has a repository that the profile gives an id be found by that id alone. It
	// is for what the broker forwards itself: a name that leads elsewhere by now is of no
	// use to a workspace that has the token.
	AnyName bool
	// RuleHash, Tokens and Sleep are the rule's.
	RuleHash string
	Tokens   TokenLimit
	Sleep    time.Duration
	// Claims are those that the rule looked at, for the audit log.
	Claims map[string]string
	Caller Caller
	Policy *Policy
	// RequestID is that of the request, for the audit log.
	RequestID string
}

// A Scope is what one token opens. Requests of one scope share a token.
type Scope struct {
	Repo gitname.Repo
	// Grant is what GitHub is asked for, as [Authorize] decided it. Its installation is
	// found when GitHub is asked.
	Grant mint.Grant
	// AnyName says that the repository is meant by its id, whatever it is called now. Repo
	// is then what the profile calls it.
	AnyName bool
	// For is who shares the token: workspaces of one version of a profile, or one
	// workspace alone. Whoever shares it is cut off when it is revoked.
	For string
	// Author is For whatever the version of the profile: who stays with one App of several.
	Author string

	keep place // where a new token is kept for the other replicas
}

// RepositoryID is the only repository that may have the name; 0 is any.
func (s Scope) RepositoryID() int64 {
	if ids := s.Grant.Repositories.IDs(); len(ids) == 1 {
		return ids[0]
	}
	return 0
}

// Permissions are those of the token, never empty.
func (s Scope) Permissions() map[string]string { return s.Grant.Permissions.Levels() }

// Key tells scopes from each other.
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

// A Grant is a token and how it came to be.
type Grant struct {
	Token  credential.Token
	Scope  Scope
	Cached bool // it was made for an earlier request
}

// A Vendor answers one request of a workspace. Its error is a [*Refusal], or
// something that is not the caller's business.
type Vendor func(context.Context, Workspace, api.TokenRequest) (Grant, error)

// A Config says what a Broker is made of. Policy, Journal, Store and GitHub must be
// set; [New] panics without one of them.
type Config struct {
	// Policy returns the generation of the policy that is in force.
	Policy func() *Policy
	// Journal is the audit log. A request that it cannot write down is refused.
	Journal Journal
	// Store has the list of what is blocked, and what each workspace was given.
	Store store.Store
	// GitHub mints and revokes the tokens.
	GitHub GitHub

	// Limits returns what one workspace may use up; nil means [DefaultLimits].
	Limits func() Limits
	// StrangerLimits returns what one address may ask without an identity; nil means
	// [DefaultStrangerLimits].
	StrangerLimits func() Limits

	Log *slog.Logger     // nil means slog.Default()
	Now func() time.Time // nil means time.Now
	// TokenTime is GitHub's clock, by which tokens end; nil means Now.
	TokenTime func() time.Time

	// WrapMint is put around each mint, for metrics and traces; nil means that nothing
	// is. It must return what next returns.
	WrapMint func(next MintFunc) MintFunc
	// Observe is told of every answer, for metrics; nil means that it is not.
	Observe func(Observation)
	// Pushed is told of each ref in a refused push what would have been done to it,
	// one of [api.PushActions]; nil means that it is not.
	Pushed func(action string)
	// BlocklistTold is [Blocklist.Told].
	BlocklistTold func(error)
	// TookBack is [TakeBack.Revoked].
	TookBack func(credential.Token)

	// Extra are further calls by their path; nil means none. They and Mounted may be
	// set after New, before Handler.
	Extra map[string]Endpoint
	// Mounted are handlers besides the broker's own, by the pattern of
	// [http.ServeMux]; nil means none.
	Mounted map[string]http.Handler
}

// A GitHub mints and revokes tokens. [mint.App] is one.
type GitHub interface {
	Minter
	// Revoke ends a token.
	Revoke(ctx context.Context, t credential.Token) error
	// Rate is what GitHub said last of its rate limit; known is false before it did.
	Rate() (r mint.Rate, known bool)
}

// A MintFunc makes a token for one scope.
type MintFunc func(context.Context, Scope) (mint.Minted, error)

// A Broker answers workspaces. Make it with [New]: the zero Broker answers nothing.
type Broker struct {
	Config

	// Vend answers one request of a workspace, through the whole chain. Every way to a
	// token goes through it or through Hold.
	Vend Vendor
	// Hold is Vend without an entry in the journal. It is for the git gateway, which keeps
	// the token, and writes an entry of its own before it uses it.
	Hold Vendor

	Blocklist *Blocklist
	VendLog   *VendLog
	Cache     *Cache
	Budget    *Budget
	TakeBack  *TakeBack

	strangers *Limiter    // requests of an address that proves no identity
	requests  *Limiter    // what a workspace asks for
	pushes    *Limiter    // refs that a workspace reports of refused pushes
	bodies    BodyLimiter // of workspaces that are known
}

// DefaultLimits are those of one workspace.
func DefaultLimits() Limits { return Limits{Requests: 64, Rate: 20, Burst: 200} }

// DefaultStrangerLimits are those of one address that proves no identity.
func DefaultStrangerLimits() Limits { return Limits{Rate: 5, Burst: 50} }

// New makes a broker. It composes the chain that is part of the safety (see the
// package comment), and nothing else does. Nothing is read, written or asked yet.
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

// complete sets the defaults, and panics where something has none.
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
