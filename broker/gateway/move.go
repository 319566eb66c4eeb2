package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gatepass/gatepass/broker/gateway/access"
	"github.com/gatepass/gatepass/broker/gateway/push"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/internal/redact"
)

const (
	refCallTime = 15 * time.Second // for one request about a ref
	maxRefCall  = 64 << 10         // bytes of its answer
)

// moveWaits are the pauses between attempts to move a branch. Retrying is safe: it
// moves the branch to the same object.
var moveWaits = []time.Duration{200 * time.Millisecond, time.Second}

// notMoved is added to a reason if it is certain.
const notMoved = "; the branch was not moved"

// move makes GitHub fast-forward a branch to the new object of c. If the state is not
// OK, it returns the reason.
func (p *pushing) move(ctx context.Context, token *credential.Token, c push.Command) (push.State, string) {
	mayBeMoved, lag := false, time.Now().Add(lagWait)
	for try := 0; ; try++ {
		if ctx.Err() != nil {
			return unanswered(mayBeMoved, whyEnded(ctx))
		}
		a, err := p.g.callRef(ctx, token, http.MethodPatch, p.upstreamName(token), c.Ref, map[string]any{"sha": c.New, "force": false})
		isLag := err == nil && mayLag(a.status) && !a.isLimited && p.isFresh(token) && time.Now().Before(lag)
		switch {
		case err == nil && a.status == http.StatusOK && a.Ref == c.Ref && a.Object.SHA == c.New:
			return push.OK, ""
		case err != nil:
			mayBeMoved = mayBeMoved || !isDial(err)
		case (a.status/100 == 3 || a.status/100 == 4) && !isLag:
			if mayBeMoved {
				return unanswered(true, "")
			}
			return push.Refused, a.reason()
		case !isLag && a.status != http.StatusServiceUnavailable:
			mayBeMoved = true // the answer does not say what happened
		}
		if !isLag && try >= len(moveWaits) {
			return unanswered(mayBeMoved, "GitHub's API did not answer, so the push could not be verified")
		}
		pause(ctx, moveWaits[min(try, len(moveWaits)-1)])
	}
}

// unanswered returns the outcome of a branch if GitHub did not say what happened.
func unanswered(mayBeMoved bool, why string) (push.State, string) {
	if mayBeMoved {
		return push.Unknown, "gatepass: GitHub's API did not say whether it moved the branch; run git fetch to see"
	}
	return push.Failed, "gatepass: " + why + notMoved
}

// whyEnded returns why no more branches are moved.
func whyEnded(ctx context.Context) string {
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errCut):
		return errCut.Error()
	case errors.Is(cause, context.DeadlineExceeded):
		return "GitHub's API is too slow"
	}
	return "the client closed the connection"
}

// isDial reports whether the request failed before it was sent.
func isDial(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// A refAnswer is what GitHub's API says about a ref.
type refAnswer struct {
	status    int
	isLimited bool // refused by a rate limit
	Message   string
	Ref       string
	Object    struct{ SHA string }
}

// reason returns why GitHub refused to move a branch, for the client.
func (a refAnswer) reason() string {
	message := redact.Text(strings.Join(strings.Fields(a.Message), " "), maxShown)
	switch {
	case strings.Contains(strings.ToLower(message), "not a fast forward"):
		return "gatepass: GitHub says that it is not a fast-forward, and the rule does not allow force; fetch, then merge or rebase"
	case message == "":
		return fmt.Sprintf("GitHub's API answered %d", a.status)
	}
	return message
}

// callRef sends one request about a ref to GitHub's API. It does not end with ctx, so
// that the outcome is known.
func (g *Gateway) callRef(ctx context.Context, token *credential.Token, method, repo, ref string, body any) (a refAnswer, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), refCallTime)
	defer cancel()
	var text []byte
	if body != nil {
		if text, err = json.Marshal(body); err != nil {
			return a, err
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, g.refURL(repo, ref), bytes.NewReader(text))
	if err != nil {
		return a, err
	}
	r.Header.Set("Authorization", "Bearer "+token.Secret())
	r.Header.Set("Accept", "application/vnd.github+json")
	r.Header.Set("X-GitHub-Api-Version", "2022-11-28")
	r.Header.Set("User-Agent", access.UserAgent)
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	response, err := g.Access.Upstream.Do(r)
	if err != nil {
		return a, err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(io.LimitReader(response.Body, maxRefCall))
	if err != nil {
		return a, err
	}
	_ = json.Unmarshal(data, &a) // if it is not JSON, the status is enough
	a.status, a.isLimited = response.StatusCode, response.Header.Get("Retry-After") != "" || response.Header.Get("X-Ratelimit-Remaining") == "0"
	return a, nil
}

func (g *Gateway) refURL(repo, ref string) string {
	parts := strings.Split(strings.TrimPrefix(ref, "refs/"), "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return strings.TrimSuffix(g.Access.Upstream.API.String(), "/") + "/repos/" + repo + "/git/refs/" + strings.Join(parts, "/")
}

// deleteRef deletes a quarantine ref. isGone is false if it did not exist.
func (g *Gateway) deleteRef(ctx context.Context, token *credential.Token, repo, ref string) (isGone bool, err error) {
	a, err := g.callRef(ctx, token, http.MethodDelete, repo, ref, nil)
	switch {
	case err != nil:
		return false, fmt.Errorf("delete %s of %s: %w", ref, repo, err)
	case a.status == http.StatusNoContent:
		return true, nil
	case a.status == http.StatusUnprocessableEntity && strings.Contains(a.Message, "does not exist"):
		return false, nil
	}
	return false, fmt.Errorf("delete %s of %s: %s", ref, repo, a.reason())
}
