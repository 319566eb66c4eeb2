// Package access is what all parts of the git gateway share: it identifies the caller of a
// request, gets the token that the request is forwarded with, and forwards it.
//
// The token never leaves the broker. It gives access to one repository.
package access

import (
	"context"
	"encoding/base64"
	"errors"
	"maps"
	"net/http"
	"net/netip"
	"strings"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/identity"
	"github.com/gatepass/gatepass/hooks/refs"
	"github.com/gatepass/gatepass/internal/gitname"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/workspace/profile"
)

// An Access is shared by the parts of a gateway. All fields except Author must be set.
type Access struct {
	Broker   *broker.Broker
	Sessions *identity.GatewaySessions
	Upstream *Upstream
	// Author returns the author of workspaces' commits, and the zero Author while it is
	// unknown: the bot of the App with that client ID, or of the first App for "". It must
	// return within seconds, because session requests wait for it. Nil means always
	// unknown.
	Author func(ctx context.Context, app string) api.Author

	bodies broker.BodyLimiter // for session requests
}

// A Caller is a workspace that calls the gateway.
type Caller struct {
	broker.Workspace
	// Repo is the only repository that the session may use. The zero Repo means every
	// repository of the profile.
	Repo api.Repo
}

// Refs returns the push policy of the caller's workspace. It returns an error if the
// profile's refs do not compile with the workspace's id.
func (c Caller) Refs() (*refs.Policy, error) { return refs.Compile(c.Profile.RefsOf(c.ID)) }

// ReadsPublic reports whether the caller may fetch repo only if it is public, without a
// token.
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

// ErrNoIdentity is wrapped by the refusal of a request without an identity. git sends
// its first request without one, and repeats it with one after a 401.
var ErrNoIdentity = errors.New("the request has no identity")

// Caller identifies the workspace that sent r, by the policy in force. The identity is
// the password of Basic authentication, as git sends it, or a Bearer or token
// credential, as API clients send it. It is a gateway session, or a proof that the
// policy's rules accept. A client certificate and the user of a socket also count. The
// error is a [*broker.Refusal]. It is in the audit log already, unless it wraps
// ErrNoIdentity.
func (a *Access) Caller(r *http.Request, requestID string) (Caller, error) {
	c, err := a.identify(r)
	if err == nil {
		c.RequestID = requestID
		err = a.checkBlocked(r.Context(), c.ID)
	} else {
		err = a.refuseUnauth(r, requestID, err)
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
		return c, refuse(http.StatusUnauthorized, broker.ReasonIdentity, "the request's Authorization is malformed or given twice")
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
	other     = "other" // one that the policy's identifiers may know
)

// credential returns the request's credential, and the kind of its scheme.
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

// refuseUnauth records a refused identity in the audit log.
func (a *Access) refuseUnauth(r *http.Request, requestID string, err error) error {
	if errors.Is(err, ErrNoIdentity) {
		return err
	}
	return a.Broker.RefuseUnauth(r, requestID, "gateway", err)
}

// checkBlocked refuses a blocked workspace.
func (a *Access) checkBlocked(ctx context.Context, id string) error {
	blocked, err := a.Broker.Blocklist.Blocked(ctx, id)
	if err != nil {
		return broker.StoreUnavailable(err)
	}
	if blocked {
		return refuse(http.StatusForbidden, broker.ReasonBlocked, "workspace "+id+" is blocked")
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
	Write            // git pushes: contents: write, and workflows: write if the profile has it
	API              // GitHub's API: the profile's permissions except those that move refs
)

// Token gets a token for one repository and one use. It refuses blocked workspaces and
// what the profile does not allow. The error is a [*broker.Refusal], or one that
// [broker.RefusalOf] converts.
func (a *Access) Token(ctx context.Context, c Caller, repo api.Repo, use Use) (broker.Grant, error) {
	if c.Repo.IsValid() && c.Repo != repo {
		return broker.Grant{}, refuse(http.StatusForbidden, broker.ReasonRepository, "this session is for "+c.Repo.String()+" only")
	}
	w := c.Workspace
	if w.Policy == nil || len(w.Policy.Hosts) == 0 || w.Profile == nil {
		return broker.Grant{}, refuse(http.StatusForbidden, broker.ReasonRule, "the policy does not allow this workspace anything")
	}
	w.Tokens, w.AnyName = broker.TokensWrite, true // TokenLimit is about tokens that leave the broker
	request := api.TokenRequest{Host: w.Policy.Hosts[0], Repo: repo, Operation: api.Read, Permissions: permissionsFor(w.Profile, use)}
	if use == Write {
		request.Operation = api.Write
	}
	return a.Broker.Hold(ctx, w, request)
}

// OwnID is the workspace id under which the gateway's own tokens are recorded; see Own.
const OwnID = "gatepass-gateway"

// Own gets a token that can write one repository. The gateway uses it to clean up
// there, even after the workspace was blocked. Never use it for anything that a caller
// sends. Blocks of the account or the App apply. Its errors are those of Token.
func (a *Access) Own(ctx context.Context, repo api.Repo) (broker.Grant, error) {
	pattern, err := mint.ParsePattern(repo.String())
	if err != nil {
		return broker.Grant{}, err
	}
	p := &profile.Profile{Name: OwnID, Sharing: profile.ShareNothing}
	p.Repositories, p.Permissions = []mint.Pattern{pattern}, mint.PermissionLevels(map[string]string{"contents": "write"})
	return a.Token(ctx, Caller{Workspace: broker.Workspace{ID: OwnID, Profile: p, Policy: a.Broker.Policy()}}, repo, Write)
}

// movesRefs are permissions that can change a ref, or start something that does
// (https://docs.github.com/en/rest/authentication/permissions-required-for-github-apps).
// Tokens for the API never have them.
var movesRefs = []string{"administration", "merge_queues", "workflows"}

func permissionsFor(p *profile.Profile, use Use) map[string]string {
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

// mayPush reports whether the profile's permissions allow a push.
func mayPush(p *profile.Profile) bool {
	return len(mint.Lacking(permissionsFor(p, Write), p.Maximum().Levels())) == 0
}

// Origin returns the scheme and host by which the client reached the gateway, such as
// https://broker.example. ok is false if the Host header is malformed.
//
// Without TLS, the broker listens on loopback addresses only. So a request without TLS
// for another host came through a proxy with TLS, and its scheme is https.
func Origin(r *http.Request) (origin string, ok bool) {
	host, ok := gitname.Host(r.Host)
	if !ok {
		return "", false
	}
	name := host
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		name = host[:i]
	}
	ip, _ := netip.ParseAddr(strings.Trim(name, "[]"))
	if r.TLS == nil && (name == "localhost" || ip.IsLoopback()) {
		return "http://" + host, true
	}
	return "https://" + host, true
}
