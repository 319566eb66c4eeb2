package brokerclient

import (
	"context"
	"fmt"
	"net/http"

	"github.com/gatepass/gatepass/api"
)

// challenged is a proof that contains a nonce of the broker.
type challenged struct {
	source           *Source
	method, serverID string
	prove            Prover
}

func (c *challenged) where() string { return "what auth=" + c.method + " finds" }

func (c *challenged) authorization(ctx context.Context) (string, error) {
	s := c.source
	response, body, err := s.call(ctx, http.MethodGet, api.NoncePath, "", nil)
	if err != nil {
		return "", err
	}
	if response.StatusCode != http.StatusOK {
		return "", s.unanswered(response, body, "it gives no nonces")
	}
	answer, err := api.DecodeNonce(body)
	if err != nil {
		return "", s.strange(err.Error())
	}
	return c.prove(ctx, c.serverID, answer.Nonce)
}

// unanswered returns the error for an unexpected answer.
func (s *Source) unanswered(response *http.Response, body []byte, why string) error {
	problem := api.DecodeProblem(response.Header.Get("Content-Type"), body)
	if response.StatusCode == http.StatusTooManyRequests || response.StatusCode >= 500 {
		return s.busy(response, problem)
	}
	return s.strange(fmt.Sprintf("%s (%d)", why, response.StatusCode) + said(problem))
}
