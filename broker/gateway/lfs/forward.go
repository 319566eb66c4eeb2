package lfs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/gateway/access"
)

// callTimeout is the timeout of a call of GitHub's LFS API.
const callTimeout = 30 * time.Second

// A reply is an answer of GitHub's LFS API.
type reply struct {
	status    int
	body      []byte
	requestID string // of GitHub
	retry     time.Duration
}

// freshFor is how long a new token may be unknown to some of GitHub's servers, and how
// long refused calls are retried.
const freshFor = time.Minute

var freshWaits = []time.Duration{time.Second, 3 * time.Second, 8 * time.Second}

// callGitHub sends a call to GitHub's LFS API with the token, and retries it while the token
// may be too new for GitHub to know. A nil g sends no token, for public repositories.
// body may be nil.
func (c *call) callGitHub(ctx context.Context, g *broker.Grant, method, path, query string, body []byte) (reply, error) {
	for _, wait := range freshWaits {
		got, err := c.callGitHubOnce(ctx, g, method, path, query, body)
		mayBeLag := got.status == http.StatusUnauthorized || got.status == http.StatusNotFound
		if err != nil || !mayBeLag || g == nil || g.Token.Expiry.Sub(c.Access.Broker.TokenTime()) < time.Hour-freshFor {
			if err == nil && got.status == http.StatusUnauthorized && g != nil && c.Access.Broker.Rejected(ctx, g.Token) {
				return reply{}, access.TokenEnded()
			}
			return got, err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return got, nil
		}
	}
	return c.callGitHubOnce(ctx, g, method, path, query, body)
}

func (c *call) callGitHubOnce(ctx context.Context, g *broker.Grant, method, path, query string, body []byte) (reply, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	u := c.Access.Upstream.Git.JoinPath(c.target.Repo.Owner, c.target.Repo.Name+".git", "info", "lfs", path) // path contains no dots
	u.RawQuery = query
	r, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	r.Header.Set("Accept", MediaType)
	if body != nil {
		r.Header.Set("Content-Type", MediaType)
	}
	r.Header.Set("User-Agent", access.UserAgent)
	if g != nil {
		r.SetBasicAuth(g.Token.Login(), g.Token.Secret())
	}
	answer, err := c.Access.Upstream.Do(r)
	if err != nil {
		return reply{}, unreachable(err)
	}
	defer answer.Body.Close()
	return readReply(answer)
}

func readReply(answer *http.Response) (reply, error) {
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	if err == nil && len(text) > maxAnswer {
		err = errNoAnswer
	}
	if err != nil {
		return reply{}, unreachable(err)
	}
	return reply{answer.StatusCode, text, answer.Header.Get("X-GitHub-Request-Id"), retryAfter(answer.Header)}, nil
}

func retryAfter(h http.Header) time.Duration {
	seconds, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil || seconds < 0 || seconds > 3600 {
		return 0
	}
	return time.Duration(seconds) * time.Second
}

func unreachable(err error) *broker.Refusal {
	return &broker.Refusal{Status: http.StatusBadGateway, Reason: broker.ReasonGitHub, Detail: "GitHub cannot be reached, or its answer cannot be read", Err: err}
}

// pass answers with GitHub's error. A 401 is about the gateway's own token, so it is
// not passed on: the client must not try another identity.
func (c *call) pass(got reply, hasToken bool) error {
	switch {
	case !hasToken && (got.status == http.StatusUnauthorized || got.status == http.StatusNotFound):
		return refusal(http.StatusNotFound, broker.ReasonGitHub, "GitHub has no public repository "+c.target.Repo.String())
	case got.status >= 300 && got.status < 400:
		return refusal(http.StatusForbidden, broker.ReasonGitHub, c.target.Repo.String()+" has another name at GitHub now; use that name")
	case got.status == http.StatusUnauthorized:
		return &broker.Refusal{Status: http.StatusServiceUnavailable, Reason: broker.ReasonGitHub, RetryAfter: broker.RetryAfter, Detail: "GitHub does not accept the token of the gateway" + ofRequest(got)}
	case got.status < 300:
		return unreachable(fmt.Errorf("GitHub answered %d: %w", got.status, errNoAnswer))
	}
	var said message
	if json.Unmarshal(got.body, &said) != nil || said.Message == "" {
		said.Message = fmt.Sprintf("GitHub answered %d", got.status)
	}
	if got.retry > 0 {
		c.w.Header().Set("Retry-After", strconv.Itoa(int(got.retry.Seconds())))
	}
	write(c.w, got.status, message{shown(said.Message), shown(got.requestID)})
	return nil
}

func ofRequest(got reply) string {
	if got.requestID == "" {
		return ""
	}
	return " (request " + shown(got.requestID) + ")"
}

// decode parses GitHub's answer into a value. It drops unknown keys.
func (got reply) decode(into any) error {
	if err := json.Unmarshal(got.body, into); err != nil {
		return unreachable(errors.Join(errNoAnswer, err))
	}
	return nil
}
