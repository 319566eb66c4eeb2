// Package broker answers workspaces that prove who they are with tokens that
// open exactly what their profile says.
//
// [New] is the one place that puts a broker together. A request goes through
// decorators, and their order is part of the safety:
//
//	audited(limited(authorized(kept(Cache(journaled(minted))))))
//
// audited is outermost, so that nothing is answered that was not written down.
// limited bounds what one workspace asks for. authorized comes before the cache: a
// warm cache never answers what the policy refuses. kept writes down what a workspace
// is given, so that any replica can revoke it. journaled has the intent on the disk
// before GitHub is asked, and the outcome afterwards. A request sees one generation of
// the policy from its beginning to its end ([Workspace.Policy]).
package broker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/workspace"
)

// A Workspace is an authenticated caller and everything it may be given. It is
// resolved once per request and carried to the end.
type Workspace struct {
	ID      string
	Profile *workspace.Profile
	Rule    string // the rule of the policy that says so
	// Claims are those that the rule looked at, for the audit log.
	Claims map[string]string
	Caller Caller
	Policy *Policy
}

// An Ask is what a workspace wants a token for.
type Ask struct {
	Host        string // canonical
	Owner, Name string // the repository, in lower case
	// RepositoryID is the one that it has to be; 0 means the profile's wish.
	RepositoryID int64
	Operation    string // api.Read or api.Write
	// Permissions are narrower than the profile's; nil means what the operation
	// needs.
	Permissions map[string]string
	MinTTL      time.Duration // how long the token has to last; 0 means no wish
	RequestID   string
}

// Repo is the repository as a person knows it.
func (a Ask) Repo() string { return a.Owner + "/" + a.Name }

// A Scope is what one token opens. Requests of one scope share a token.
type Scope struct {
	Owner, Name string // one repository, in lower case
	// RepositoryID is the only repository that may have the name; 0 is any.
	RepositoryID int64
	Permissions  map[string]string // never empty
	// For is who shares the token: workspaces of one version of a profile, or one
	// workspace alone. Whoever shares it is cut off when it is revoked.
	For string
}

// Key tells scopes from each other.
func (s Scope) Key() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s/%s#%d", s.Owner, s.Name, s.RepositoryID)
	for _, name := range slices.Sorted(maps.Keys(s.Permissions)) {
		fmt.Fprintf(&b, " %s:%s", name, s.Permissions[name])
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
type Vendor func(context.Context, Workspace, Ask) (Grant, error)

// A Refusal is an answer other than a token. Detail is fit to show a person, and
// tells a caller nothing about others.
type Refusal struct {
	Status     int    // of HTTP
	Reason     string // one of the Reason constants, for audit and metrics
	Detail     string
	RetryAfter time.Duration // for 429 and 503
	Err        error         // below, for the broker's own log; never answered
}

func (r *Refusal) Error() string {
	if r.Err != nil {
		return r.Detail + ": " + r.Err.Error()
	}
	return r.Detail
}

// Unwrap returns what lies below.
func (r *Refusal) Unwrap() error { return r.Err }

// The reasons of refusals. They are few, so that they can be labels of metrics.
const (
	ReasonHost       = "host"       // not served
	ReasonIdentity   = "identity"   // none, or it does not hold
	ReasonReplay     = "replay"     // a proof that holds once came again
	ReasonRule       = "rule"       // no rule matches the identity
	ReasonBarred     = "barred"     // the workspace was revoked, or the account
	ReasonRepository = "repository" // not the profile's
	ReasonPermission = "permission" // not the profile's
	ReasonRequest    = "request"    // malformed
	ReasonLimit      = "limit"      // too many requests
	ReasonGitHub     = "github"     // GitHub refuses or cannot be had
	ReasonAudit      = "audit"      // it cannot be written down
	ReasonStore      = "store"      // what is given cannot be kept
	ReasonInternal   = "internal"   // a mistake of ours
	ReasonNone       = ""           // it was answered
	_                = ReasonNone   // keeps the list in one block
	maxDetail        = 300          // bytes of a refusal's detail
	internalDetail   = "the broker could not answer; its log says why"
)

// Problem is the refusal as it is answered.
func (r *Refusal) Problem() api.Problem { return api.NewProblem(r.Status, r.Detail) }

// refusalOf makes a refusal of any error. What is none stays in the log.
func refusalOf(err error) *Refusal {
	if r, ok := errors.AsType[*Refusal](err); ok {
		return r
	}
	return &Refusal{Status: 500, Reason: ReasonInternal, Detail: internalDetail, Err: err}
}
