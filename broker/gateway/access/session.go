package access

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/internal/fairshare"
	"github.com/gatepass/gatepass/mint"
)

// SessionEndpoint serves POST /v1/session: it gives a gateway session for any identity
// that a policy rule matches, or for a session that has not expired.
func (a *Access) SessionEndpoint() broker.Endpoint {
	return broker.Endpoint{Name: "session", Serve: a.serveSession}
}

func (a *Access) serveSession(w http.ResponseWriter, r *http.Request, id string) error {
	request, err := a.readSessionRequest(w, r)
	if err != nil {
		return err
	}
	c, err := a.identify(r)
	if err != nil {
		return a.Broker.RefuseUnauth(r, id, "session", err)
	}
	c.RequestID = id
	answer, err := a.begin(r, c, request)
	if err := a.recordSession(r.Context(), c, err); err != nil {
		return err
	}
	return api.WriteGatewaySession(w, answer)
}

func (a *Access) readSessionRequest(w http.ResponseWriter, r *http.Request) (request api.SessionRequest, err error) {
	err = a.bodies.Read(w, fairshare.Address(r.RemoteAddr), api.MaxRequest, func() error {
		request, err = api.SessionCall.Read(w, r)
		return err
	})
	return request, err
}

// begin makes a session, or renews the one in the request.
func (a *Access) begin(r *http.Request, c Caller, request api.SessionRequest) (answer api.GatewaySession, err error) {
	if err := a.Broker.Count(c.ID); err != nil {
		return answer, err
	}
	if err := a.checkBlocked(r.Context(), c.ID); err != nil {
		return answer, err
	}
	repo, err := sessionRepo(c, request.Repo)
	if err != nil {
		return answer, err
	}
	var text string
	var expires time.Time
	if shown, _ := credential(r); strings.HasPrefix(shown, broker.GatewaySessionPrefix) {
		text, expires, err = a.Sessions.Renew(r.Context(), shown, repo, api.AttemptKey(r))
	} else {
		text, expires, err = a.Sessions.Begin(r.Context(), c.Workspace, repo)
	}
	if err != nil {
		return answer, err
	}
	return api.GatewaySession{Session: api.NewSecret(text), ExpiresAt: expires, Workspace: c.ID, Refs: refTexts(c), Author: a.author(r.Context(), c, repo)}, nil
}

// author returns the author of the caller's commits: the bot of the App that mints its
// tokens. It is zero for a caller that may not push.
func (a *Access) author(ctx context.Context, c Caller, repo api.Repo) api.Author {
	if a.Author == nil || !mayPush(c.Profile) {
		return api.Author{}
	}
	return a.Author(ctx, a.Broker.AppOf(c.Workspace, repo))
}

// sessionRepo returns the repository of a new session. A session for one repository
// cannot become one for another.
func sessionRepo(c Caller, wanted api.Repo) (api.Repo, error) {
	switch {
	case !wanted.IsValid():
		return c.Repo, nil
	case c.Repo.IsValid() && c.Repo != wanted:
		return api.Repo{}, refuse(http.StatusForbidden, broker.ReasonRepository, "this session is for "+c.Repo.String()+" only")
	}
	if _, ok := mint.Allowed(c.Profile.Repositories, wanted.Owner, wanted.Name); !ok {
		return api.Repo{}, refuse(http.StatusForbidden, broker.ReasonRepository, "the profile of workspace "+c.ID+" does not allow "+wanted.String())
	}
	return wanted, nil
}

// refTexts returns the refs that the caller may push; none if its profile may not push.
func refTexts(c Caller) []string {
	texts := []string{}
	if !mayPush(c.Profile) {
		return texts
	}
	for _, e := range c.Profile.RefsOf(c.ID) {
		texts = append(texts, e.Ref)
	}
	return texts
}

// recordSession records the result in the audit log, and returns the error to answer.
func (a *Access) recordSession(ctx context.Context, c Caller, err error) error {
	e := c.Entry(broker.KindSession, a.Broker.Now())
	e.Decision = broker.Granted
	if c.Repo.IsValid() {
		e.Repository = c.Repo.String()
	}
	if err != nil {
		refusal := broker.RefusalOf(err)
		if refusal.Reason == broker.ReasonLimit {
			return refusal // not recorded, so that a workspace cannot fill the disk
		}
		e.Decision, e.Reason, e.Detail = broker.Refused, refusal.Reason, refusal.Detail
	}
	if writeErr := a.Broker.Journal.Write(context.WithoutCancel(ctx), e, e.Reason == broker.ReasonCopied); writeErr != nil {
		return broker.AuditUnavailable(errors.Join(err, writeErr))
	}
	return err
}
