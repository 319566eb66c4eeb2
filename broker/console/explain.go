package console

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/internal/gitname"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/mint"
)

// maxExplain is the maximum size of a request with claims, in bytes.
const maxExplain = 64 << 10

// explain answers /v1/explain: with GET about the caller itself, with POST to an
// operator about any caller.
func (c *Console) explain(w http.ResponseWriter, r *http.Request, id string) error {
	switch r.Method {
	case http.MethodGet:
		return c.explainSelf(w, r, id)
	case http.MethodPost:
		who, err := c.Server.Policy().Operator(r.Context(), r)
		if err != nil {
			return c.refuseUnauth(r, id, err)
		}
		return c.explainOther(request{r, w, id, who})
	}
	return broker.NotAllowed(w, http.MethodGet, http.MethodPost)
}

func (c *Console) explainSelf(w http.ResponseWriter, r *http.Request, id string) error {
	who, err := c.Server.Policy().Resolve(broker.KeepProofs(r.Context()), r)
	if err != nil {
		return c.refuseUnauth(r, id, err)
	}
	q, err := queryOf(r, "host", "repo", "operation", "repository_id")
	if err != nil {
		return err
	}
	pin, err := idIn(q)
	if err != nil {
		return err
	}
	ask := api.TokenRequest{Host: q.Get("host"), Operation: cmp.Or(q.Get("operation"), api.Read), RepositoryID: pin}
	ask.Repo, _ = gitname.Repository(q.Get("repo"))
	if err := ask.Check(); err != nil {
		return broker.BadRequest(err.Error())
	}
	if c.Budget != nil {
		if err := c.Budget(who.ID); err != nil {
			return err
		}
	}
	return api.WriteJSON(w, http.StatusOK, c.explanation(r.Context(), who, ask))
}

func (c *Console) explainOther(r request) error {
	var said api.ExplainRequest
	if err := api.ReadJSON(r.w, r.Request, maxExplain, &said); err != nil {
		return err
	}
	ask := api.TokenRequest{Host: said.Host, Operation: cmp.Or(said.Operation, api.Read), Permissions: said.Permissions, RepositoryID: said.RepositoryID}
	ask.Repo, _ = gitname.Repository(said.Repo)
	if err := ask.Check(); err != nil {
		return broker.BadRequest(err.Error())
	}
	policy := c.Server.Policy()
	who, verdicts, err := policy.Explain(said.Method, said.Claims)
	if err != nil {
		refused := broker.RefusalOf(err)
		e := api.Explanation{Reason: refused.Reason, Detail: refused.Detail, Policy: policy.Hash, Rules: verdictsOf(verdicts), Untold: []string{unknownProof}}
		return api.WriteJSON(r.w, http.StatusOK, e)
	}
	e := c.explanation(r.Context(), who, ask)
	e.Rules, e.Untold = verdictsOf(verdicts), append(e.Untold, unknownProof)
	return api.WriteJSON(r.w, http.StatusOK, e)
}

// idIn reads the optional repository id.
func idIn(q url.Values) (int64, error) {
	if !q.Has("repository_id") {
		return 0, nil
	}
	id, err := strconv.ParseInt(q.Get("repository_id"), 10, 64)
	if err != nil || id < 1 {
		return 0, broker.BadRequest(`"repository_id" must be the repository's ID at GitHub`)
	}
	return id, nil
}

func verdictsOf(verdicts []broker.RuleResult) []api.RuleResult {
	var out []api.RuleResult
	for _, v := range verdicts {
		out = append(out, api.RuleResult(v))
	}
	return out
}

// What only a real request would show.
const (
	unknownProof   = "whether the caller could prove these claims"
	unknownRules   = "whether rulesets, branch protection or an IP allow list of GitHub refuse what the token allows"
	unknownID      = "whether the repository of that name has that ID"
	unknownGitHub  = "what GitHub grants: the broker could not ask it"
	unknownRevoked = "whether the workspace is blocked: the broker could not read the store"
)

// explanation returns what the policy, the block list and GitHub say, in the order in
// which a request meets them.
func (c *Console) explanation(ctx context.Context, w broker.Workspace, r api.TokenRequest) api.Explanation {
	e := api.Explanation{Policy: w.Policy.Hash, Rule: w.Rule, Workspace: w.ID, Repository: r.Repo.String()}
	if w.Profile != nil {
		e.Profile = w.Profile.Name
	}
	scope, err := broker.Authorize(w, r)
	if err != nil {
		refused := broker.RefusalOf(err)
		e.Reason, e.Detail = refused.Reason, refused.Detail
		return e
	}
	e.Permissions, e.RepositoryID = scope.Permissions(), scope.RepositoryID()
	blocked, err := c.Revoker.Blocklist.BlockedFor(ctx, w.ID, scope.Repo.Owner)
	if err != nil {
		e.Untold = append(e.Untold, unknownRevoked)
	}
	if blocked {
		e.Reason, e.Detail = broker.ReasonBlocked, "workspace "+w.ID+" is blocked, or owner "+scope.Repo.Owner+" is"
		return e
	}
	c.github(ctx, scope, &e)
	return e
}

// github asks GitHub where the App is installed. It mints nothing.
func (c *Console) github(ctx context.Context, s broker.Scope, e *api.Explanation) {
	e.GitHub = &api.GitHubView{}
	found, err := c.App.InstallationFor(ctx, s.Repo.Owner, s.Repo.Name)
	if err != nil {
		c.explainMissing(ctx, s, err, e)
		return
	}
	e.GitHub.Installation, e.GitHub.Account, e.GitHub.Reaches, e.GitHub.Suspended = found.ID, found.Account.Login, true, found.Suspended()
	e.GitHub.Lacking = mint.Lacking(s.Permissions(), found.Permissions)
	e.Untold = append(e.Untold, unknownRules)
	if s.RepositoryID() != 0 {
		e.Untold = append(e.Untold, unknownID)
	}
	switch {
	case found.Suspended():
		e.Reason, e.Detail = broker.ReasonGitHub, "the App's installation on "+found.Account.Login+" is suspended"
	case len(e.GitHub.Lacking) > 0:
		e.Reason, e.Detail = broker.ReasonGitHub, "the installation on "+found.Account.Login+" lacks "+mint.LevelsText(e.GitHub.Lacking)
	default:
		e.Granted, e.Detail = true, "a token for "+s.Repo.String()+" with "+mint.LevelsText(s.Permissions())
	}
}

// explainMissing explains why no installation covers the repository.
func (c *Console) explainMissing(ctx context.Context, s broker.Scope, err error, e *api.Explanation) {
	failure, ok := errors.AsType[*mint.Error](err)
	e.Reason = broker.ReasonGitHub
	switch {
	case ok && failure.Status == http.StatusMovedPermanently:
		e.Detail = s.Repo.String() + " has another name now; write it in the profile"
		return
	case !ok || failure.Kind != mint.NotInstalled:
		e.GitHub = nil
		e.Detail, e.Untold = "the broker could not ask GitHub", append(e.Untold, unknownGitHub)
		return
	}
	found, err := c.App.InstallationOf(ctx, s.Repo.Owner)
	failure, ok = errors.AsType[*mint.Error](err)
	switch {
	case err == nil:
		e.GitHub.Installation, e.GitHub.Account, e.GitHub.Suspended = found.ID, found.Account.Login, found.Suspended()
		e.Detail = "the App is installed on " + found.Account.Login + ", but " + s.Repo.String() + " does not exist, or the installation cannot reach it"
	case ok && failure.Kind == mint.NotInstalled:
		e.Detail = "the App is not installed on " + s.Repo.Owner
	default:
		e.Detail, e.Untold = usererr.Escape("no installation of the App reaches "+s.Repo.String()), append(e.Untold, "whether the App is installed on "+s.Repo.Owner)
	}
}
