package brokerclient

import (
	"context"
	"net/http"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/internal/usererr"
)

// ReportPush tells the broker about a push that the workspace's guard refused. It tries
// once. It neither starts nor renews a session, so that no request for a token waits
// for a report; without a session it returns an error.
func (s *Source) ReportPush(ctx context.Context, p api.RefusedPush) error {
	if err := p.Check(); err != nil {
		return usererr.Wrap("report a refused push", err, "")
	}
	authorization, err := s.cheapAuthorization(ctx)
	if err != nil {
		return err
	}
	body, err := api.EncodeRefusedPush(p)
	if err != nil {
		return err
	}
	response, answer, err := s.call(ctx, http.MethodPost, api.RefusedPushesPath, authorization, body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusNoContent {
		return s.unanswered(response, answer, "it does not take reports of refused pushes")
	}
	return nil
}

// cheapAuthorization returns the header for a call that is not urgent.
func (s *Source) cheapAuthorization(ctx context.Context) (string, error) {
	j, ok := s.identity.(*joined)
	if !ok {
		return s.identity.authorization(ctx)
	}
	authorization := j.atHand()
	if authorization == "" {
		return "", usererr.New("report a refused push", "there is no session with the broker at "+s.name+" now", "")
	}
	return authorization, nil
}
