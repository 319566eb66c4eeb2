// Package access is what all parts of the git gateway share: it identifies the caller of a
// request, gets the token that the request is forwarded with, and forwards it.
//
// The token never leaves the broker. It opens one repository.
package access

import (
	"context"
	"encoding/base64"
	"errors"
	"maps"
	"net/http"
	"strings"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/identity"
	"github.com/gatepass/gatepass/hooks/refs"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/workspace"
)

// An Access is shared by the parts of a gateway. All its fields but Author must be set.
type Access struct {
	Broker   *broker.Broker
	Sessions *identity.GatewaySessions
	Upstream *Upstream
	// Author returns who commits of workspaces are by, and the zero Author while that is not
	// known. A session waits for it, so it returns within seconds. nil is never known.
	Author func(context.Context) api.Author

	bodies broker.BodyLimiter // of requests for sessions
}

// A Caller is a workspace at the gateway.
type Caller struct {
	broker.Workspace
	// Repo is the only repository that its session opens. The zero Repo is every one of
	// the profile.
	Repo api.Repo
}

// Refs returns the policy on pushes of the caller's workspace. Where the profile's refs
// and the workspace's id make no policy, the error says so.
func (c Caller) Refs() (*refs.Policy, error) { return refs.Compile(c.Profile.RefsOf(c.ID)) }

// ReadsPublic reports whether the caller may fetch a repository that its profile does not
// allow otherwise, provided that it is public: without a token.
func (c Caller) ReadsPublic(repo api.Repo) bool {
	if c.Profile == nil || c.Repo.IsValid() && c.Repo != repo {
		return false
	}
	if _, ok := mint.Allowed(c.Profile.Repositories, repo.Owner, repo.Name); ok {
		return false
	}
	_, ok := mint.Allowed(c.Profile.PublicRead, repo.Owner, repo.Name)
	return ok
}

// ErrNoIdentity is the error below the refusal of a request without any identity: git
// sends its first request so, and again with one when it is answered 401.
var ErrNoIdentity = errors.New("the request carries no identity")

// Caller identifies the workspace that sent r, by the policy in force. The identity is the
// password of Basic authentication, as git shows it, or a Bearer or token credential, as
// API clients do: a session of the gateway, or what the rules of the policy know. A client
// certificate or the user of a socket counts as well. The error is a [*broker.Refusal];
// it was written to the audit log unless it wraps ErrNoIdentity.
func (a *Access) Caller(r *http.Request, requestID string) (Caller, error) {
	c, err := a.identify(r)
	if err == nil {
		c.RequestID = requestID
		err = a.checkBlocked(r.Context(), c.ID)
	} else {
		err = a.refuseStranger(r, requestID, err)
	}
	if err != nil {
		return Caller{}, err
	}
	return c, nil
}

func (a *Access) identify(r *http.Request) (c Caller, err error) {
	policy := a.Broker.Policy()
	shown, scheme := credential(r)
	switch {
	case scheme == malformed:
		return c, refuse(http.StatusUnauthorized, broker.ReasonIdentity, "the Authorization of the request cannot be read, or is there twice")
	case strings.HasPrefix(shown, broker.GatewaySessionPrefix):
		c.Workspace, c.Repo, err = a.Sessions.Open(r.Context(), shown, policy)
		return c, err
	case shown != "":
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+shown)
	}
	c.Workspace, err = policy.Resolve(r.Context(), r)
	if refusal, ok := errors.AsType[*broker.Refusal](err); ok && scheme == absent && refusal.Status == http.StatusUnauthorized {
		refusal.Err = ErrNoIdentity
	}
	return c, err
}

// The schemes of an Authorization header.
const (
	absent    = "absent"
	malformed = "malformed"
	known     = "known"
	other     = "other" // for the identifiers of the policy
)

// credential returns what a request shows, and the kind of its scheme.
func credential(r *http.Request) (shown, scheme string) {
	values := r.Header.Values("Authorization")
	switch len(values) {
	case 0:
		return "", absent
	case 1:
	default:
		return "", malformed
	}
	name, rest, _ := strings.Cut(values[0], " ")
	rest = strings.TrimLeft(rest, " ")
	switch strings.ToLower(name) {
	case "basic":
		return password(rest)
	case "bearer", "token":
		return rest, known
	}
	return "", other
}

func password(encoded string) (text, scheme string) {
	data, err := base64.StdEncoding.DecodeString(encoded)
	_, text, ok := strings.Cut(string(data), ":")
	if err != nil || !ok || text == "" {
		return "", malformed
	}
	return text, known
}

// refuseStranger writes a refused identity to the audit log.
func (a *Access) refuseStranger(r *http.Request, requestID string, err error) error {
	if errors.Is(err, ErrNoIdentity) {
		return err
	}
	return a.Broker.RefuseUnauth(r, requestID, "gateway", err)
}

// checkBlocked refuses a workspace that was blocked.
func (a *Access) checkBlocked(ctx context.Context, id string) error {
	blocked, err := a.Broker.Blocklist.Blocked(ctx, id)
	if err != nil {
		return broker.StoreUnavailable(err)
	}
	if blocked {
		return refuse(http.StatusForbidden, broker.ReasonBlocked, "workspace "+id+" was revoked")
	}
	return nil
}

func refuse(status int, reason, detail string) *broker.Refusal {
	return &broker.Refusal{Status: status, Reason: reason, Detail: detail}
}

// A Use is what a token is for.
type Use int

// The uses.
const (
	Read  Use = iota // git reads: contents: read
	Write            // git pushes: contents: write, and workflows: write where the profile has it
	API              // GitHub's API: the profile's permissions without those that move refs
)

// Token gets a token for one repository and one use. What the profile does not allow is
// refused, as is everything for a blocked workspace. The error is a [*broker.Refusal], or
// one that [broker.RefusalOf] makes one of.
func (a *Access) Token(ctx context.Context, c Caller, repo api.Repo, use Use) (broker.Grant, error) {
	if c.Repo.IsValid() && c.Repo != repo {
		return broker.Grant{}, refuse(http.StatusForbidden, broker.ReasonRepository, "this session is for "+c.Repo.String()+" only")
	}
	w := c.Workspace
	if w.Policy == nil || len(w.Policy.Hosts) == 0 || w.Profile == nil {
		return broker.Grant{}, refuse(http.StatusForbidden, broker.ReasonRule, "the policy gives this workspace nothing")
	}
	w.Tokens, w.AnyName = broker.TokensWrite, true // the limit is for what leaves the broker
	request := api.TokenRequest{Host: w.Policy.Hosts[0], Repo: repo, Operation: api.Read, Permissions: permissionsFor(w.Profile, use)}
	if use == Write {
		request.Operation = api.Write
	}
	return a.Broker.Hold(ctx, w, request)
}

// OwnID is the workspace that the gateway's own tokens are kept under; see Own.
const OwnID = "gatepass-gateway"

// Own gets a token that writes one repository, for what the gateway has to tidy up there
// after a workspace that may be blocked by now. Nothing that a caller sends may reach it. A
// block of the account or the App holds for it as well. Its errors are those of Token.
func (a *Access) Own(ctx context.Context, repo api.Repo) (broker.Grant, error) {
	pattern, err := mint.ParsePattern(repo.String())
	if err != nil {
		return broker.Grant{}, err
	}
	p := &workspace.Profile{Name: OwnID, Sharing: workspace.ShareNothing}
	p.Repositories, p.Permissions = []mint.Pattern{pattern}, mint.PermissionLevels(map[string]string{"contents": "write"})
	return a.Token(ctx, Caller{Workspace: broker.Workspace{ID: OwnID, Profile: p, Policy: a.Broker.Policy()}}, repo, Write)
}

// movesRefs are permissions that can change a ref of the repository, or start what does
// (https://docs.github.com/en/rest/authentication/permissions-required-for-github-apps).
// A token for the API has none of them.
var movesRefs = []string{"administration", "merge_queues", "workflows"}

func permissionsFor(p *workspace.Profile, use Use) map[string]string {
	levels := p.Permissions.Levels()
	switch use {
	case Write:
		wanted := map[string]string{"contents": "write"}
		if levels["workflows"] == "write" {
			wanted["workflows"] = "write"
		}
		return wanted
	case API:
		return apiPermissions(levels)
	}
	return map[string]string{"contents": "read"}
}

func apiPermissions(levels map[string]string) map[string]string {
	wanted := maps.Clone(levels)
	for _, name := range movesRefs {
		delete(wanted, name)
	}
	if _, ok := wanted["contents"]; ok {
		wanted["contents"] = "read"
	}
	return wanted
}

// mayPush reports whether the profile's permissions are enough to push.
func mayPush(p *workspace.Profile) bool {
	return len(mint.Lacking(permissionsFor(p, Write), p.Most().Levels())) == 0
}
