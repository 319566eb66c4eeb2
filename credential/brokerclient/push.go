package brokerclient

import (
	"context"
	"net/http"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/internal/usererr"
)

// ReportPush tells the broker of a push that the workspace's guard refused. It is
// tried once. It begins and renews no session: where there is none the broker is
// not told, and no token waits for a report.
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

// cheapAuthorization is the header of a call that nobody waits for.
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
