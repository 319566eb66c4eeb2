package brokerclient

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/internal/httpclient"
	"github.com/gatepass/gatepass/internal/redact"
	"github.com/gatepass/gatepass/internal/usererr"
)

// maxShown is how much of the broker's text an error shows, in bytes.
const maxShown = 300

// attempt asks once. A transient error is a *[httpclient.TransientError].
func (s *Source) attempt(ctx context.Context, r api.TokenRequest) (credential.Token, error) {
	authorization, err := s.identity.authorization(ctx)
	if err != nil {
		return credential.Token{}, err
	}
	body, err := api.EncodeRequest(r)
	if err != nil {
		return credential.Token{}, err
	}
	response, answer, err := s.callAs(ctx, api.TokenPath, authorization, body)
	if err != nil {
		return credential.Token{}, err
	}
	return s.read(r, response, answer)
}

// callAs makes a POST call with an authorization of the source's identity. If the
// broker refuses it (401) and the identity can be renewed, callAs renews it and calls
// once more: after sleep, the machine's clock may not yet know how much time has
// passed.
func (s *Source) callAs(ctx context.Context, path, authorization string, body []byte) (*http.Response, []byte, error) {
	response, answer, err := s.call(ctx, http.MethodPost, path, authorization, body)
	if err != nil || response.StatusCode != http.StatusUnauthorized {
		return response, answer, err
	}
	j, ok := s.identity.(*joined)
	if !ok {
		return response, answer, nil
	}
	renewed, err := j.instead(ctx, authorization)
	if err != nil {
		return nil, nil, err
	}
	return s.call(ctx, http.MethodPost, path, renewed, body)
}

// call makes one call and reads the whole answer. authorization may be empty, and body
// nil.
func (s *Source) call(ctx context.Context, method, path, authorization string, body []byte) (*http.Response, []byte, error) {
	return s.callWith(ctx, method, path, http.Header{"Authorization": {authorization}}, body)
}

// renew calls a path that renews the session in authorization. attempt identifies the
// attempt and stays the same when it is repeated.
func (s *Source) renew(ctx context.Context, path, authorization, attempt string, body []byte) (*http.Response, []byte, error) {
	return s.callWith(ctx, http.MethodPost, path, http.Header{"Authorization": {authorization}, api.AttemptHeader: {attempt}}, body)
}

// newAttempt returns a unique key of an attempt. It differs even from that of a copy of
// this machine with the same random numbers.
func newAttempt() string { return rand.Text() + strconv.FormatInt(time.Now().UnixNano(), 36) }

// callWith is like call, with headers. It omits headers with the value "".
func (s *Source) callWith(ctx context.Context, method, path string, header http.Header, body []byte) (*http.Response, []byte, error) {
	attemptCtx, cancel := context.WithTimeout(ctx, httpclient.AttemptWait)
	defer cancel()
	request, err := http.NewRequestWithContext(attemptCtx, method, s.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, nil, s.unexpectedAnswer("its address is malformed")
	}
	if body != nil {
		request.Header.Set("Content-Type", api.MediaType)
	}
	request.Header.Set("Accept", api.MediaType+", "+api.ProblemMediaType)
	request.Header.Set("User-Agent", "gatepass")
	for name, values := range header {
		if values[0] != "" {
			request.Header[name] = values
		}
	}
	response, err := s.client.Do(request)
	if err != nil {
		return nil, nil, s.connectionError(ctx, err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, api.MaxAnswer+1))
	if err != nil {
		return nil, nil, s.connectionError(ctx, err)
	}
	if len(answer) > api.MaxAnswer {
		return nil, nil, s.unexpectedAnswer("its answer is over 64 KiB")
	}
	return response, answer, nil
}

func (s *Source) read(r api.TokenRequest, response *http.Response, body []byte) (credential.Token, error) {
	switch response.StatusCode {
	case http.StatusOK:
		return s.accept(r, response.Header, body)
	case http.StatusNoContent:
		return credential.Token{}, credential.ErrNoCredential
	}
	return credential.Token{}, s.failure(response, body, "it refuses "+r.Operation+" for "+r.Repo.String(), r.Repo.String())
}

// failure returns the error for an answer without a token or session. refused describes
// what a 403 refuses, and about names the subject of the request.
func (s *Source) failure(response *http.Response, body []byte, refused, about string) error {
	problem := api.DecodeProblem(response.Header.Get("Content-Type"), body)
	problem.Status = response.StatusCode
	switch status := response.StatusCode; {
	case status == http.StatusUnauthorized:
		return s.refused(problem, "it does not know this workspace", "check the identity in "+s.identity.where())
	case status == http.StatusForbidden:
		return s.refused(problem, refused, "ask the broker's operator to allow it")
	case status == http.StatusTooManyRequests || status >= 500:
		return s.busy(response, problem)
	case status >= 300 && status < 400:
		return usererr.New(s.what(), "it redirects to "+redact.Text(response.Header.Get("Location"), maxShown),
			"if that is right, write that address in source in the workspace file")
	case status == http.StatusBadRequest || status == http.StatusRequestEntityTooLarge:
		return usererr.New(s.what(), fmt.Sprintf("it does not accept the request for %s (%d)", about, status)+reasonText(problem),
			"update the older gatepass of broker and workspace")
	}
	return s.unexpectedAnswer(fmt.Sprintf("it answered %d", response.StatusCode) + reasonText(problem))
}

// refused returns the broker's refusal as an error that wraps the problem, for callers
// that need its status.
func (s *Source) refused(p api.Problem, why, do string) error {
	return &usererr.Error{Op: s.what(), Reason: why + reasonText(p), Hint: do, Err: p}
}

// accept checks an answer and returns its Token.
func (s *Source) accept(r api.TokenRequest, header http.Header, body []byte) (credential.Token, error) {
	if !api.IsJSON(header.Get("Content-Type")) {
		return credential.Token{}, s.unexpectedAnswer("its answer is not JSON")
	}
	answer, err := api.DecodeAnswer(body)
	if err != nil {
		return credential.Token{}, s.unexpectedAnswer(err.Error())
	}
	if err := credential.CheckSecret(answer.Token.Reveal()); err != nil {
		return credential.Token{}, usererr.Wrap(s.what(), err, "")
	}
	if !validUsername(answer.Username) {
		return credential.Token{}, s.unexpectedAnswer("the user name in its answer has unusual characters")
	}
	ends, err := s.ends("token", header, answer.ExpiresAt)
	if err != nil {
		return credential.Token{}, err
	}
	if !answer.Covers(r.Repo.String()) {
		return credential.Token{}, usererr.New(s.what(), "its token is not for "+r.Repo.String(), "ask the broker's operator to look at its log")
	}
	token := credential.NewToken(answer.Token.Reveal(), ends)
	token.Username, token.Repositories, token.RepositoryIDs, token.Permissions = answer.Username, answer.Repositories, answer.RepositoryIDs, answer.Permissions
	return token, nil
}

// ends returns when the token or session (name) of an answer expires, converted from
// the broker's clock to this machine's, which git and the agent use. It is never later
// than the lifetime of a GitHub token, even with a wrong clock.
func (s *Source) ends(name string, header http.Header, expires time.Time) (time.Time, error) {
	now := time.Now()
	ends := expires.Add(httpclient.Ahead(header))
	if !ends.After(now) {
		return ends, usererr.New(s.what(), "the "+name+" it gave expired at "+expires.UTC().Format(time.RFC3339),
			"compare the clocks of this machine and the broker's")
	}
	if longest := now.Add(credential.Lifetime); ends.After(longest) {
		ends = longest
	}
	return ends, nil
}

// validUsername accepts names that are safe in git's line protocol and in Basic
// authentication, where a colon ends the name.
func validUsername(s string) bool {
	if len(s) > 256 {
		return false
	}
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] > '~' || s[i] == ':' {
			return false
		}
	}
	return true
}

func (s *Source) what() string { return "ask the broker at " + s.name }

func (s *Source) unexpectedAnswer(why string) error {
	return usererr.New(s.what(), why, "check that source in the workspace file names a gatepass broker")
}

// busy returns the error of a broker that asks to try again later.
func (s *Source) busy(response *http.Response, problem api.Problem) error {
	after := httpclient.RetryAfter(response.Header)
	do := "try again in a moment"
	if after > 0 {
		do = "try again in " + after.Round(time.Second).String()
	}
	why := fmt.Sprintf("it cannot answer now (%d)", response.StatusCode) + reasonText(problem)
	return &httpclient.TransientError{Err: usererr.New(s.what(), why, do), After: after}
}

// reasonText returns the broker's own reason, after a colon.
func reasonText(p api.Problem) string {
	text := p.Detail
	if text == "" {
		text = p.Title
	}
	if text == "" {
		return ""
	}
	return ": " + redact.Text(text, maxShown)
}

// connectionError turns a failed connection into one line. Only errors that cannot go away by
// themselves are final.
func (s *Source) connectionError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		why := "it did not answer in time"
		if errors.Is(ctx.Err(), context.Canceled) {
			why = "the request was cancelled"
		}
		return &usererr.Error{Op: s.what(), Reason: why, Hint: "check that it runs and can be reached from here", Err: ctx.Err()}
	}
	if line, ok := errors.AsType[*usererr.Error](err); ok { // from socket.check
		return line
	}
	if urlErr, ok := errors.AsType[*url.Error](err); ok {
		err = urlErr.Err // the address is named already
	}
	text := redact.Text(err.Error(), maxShown)
	switch {
	case httpclient.IsCertificate(err):
		return usererr.New(s.what(), "its certificate is not trusted: "+text, "name the broker's authority with ca_file=PEM in the source")
	case httpclient.IsHandshake(err) && strings.Contains(text, "certificate"): // the alert came from the peer
		return usererr.New(s.what(), "it does not accept the client certificate: "+text, "correct cert_file and key_file in the source, or ask the broker's operator")
	case httpclient.IsHandshake(err):
		return usererr.New(s.what(), "no TLS connection: "+text, "the broker needs TLS 1.2 or later on this port")
	case httpclient.IsUnknownHost(err):
		return usererr.New(s.what(), "there is no such host", "correct source in the workspace file")
	case errors.Is(err, context.DeadlineExceeded):
		text = "it did not answer in time"
	}
	return &httpclient.TransientError{Err: usererr.New(s.what(), "it cannot be reached: "+text, "check that it runs and can be reached from here")}
}

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
		return s.unanswered(response, answer, "it does not accept reports of refused pushes")
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
		return "", usererr.New("report a refused push", "this workspace has no session with the broker at "+s.name, "")
	}
	return authorization, nil
}
