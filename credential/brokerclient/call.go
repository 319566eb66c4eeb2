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

// maxShown bounds what a message shows of the broker's words, in bytes.
const maxShown = 300

// attempt asks once. What may pass is a *[httpclient.PassingError].
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

// callAs makes a POST call with what authorization of the source's identity returned. Where
// the broker does not take it (401) and the identity can be renewed, it does that, and
// makes the call once more: the clock of a machine that slept may not know yet for how long.
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

// call makes one call and reads its answer whole. authorization may be empty, and
// body nil.
func (s *Source) call(ctx context.Context, method, path, authorization string, body []byte) (*http.Response, []byte, error) {
	return s.callWith(ctx, method, path, http.Header{"Authorization": {authorization}}, body)
}

// renew calls a path that renews the session of authorization. attempt is the key of the
// attempt, the same for each time that it is repeated.
func (s *Source) renew(ctx context.Context, path, authorization, attempt string, body []byte) (*http.Response, []byte, error) {
	return s.callWith(ctx, http.MethodPost, path, http.Header{"Authorization": {authorization}, api.AttemptHeader: {attempt}}, body)
}

// newAttempt returns a key that no other attempt has, not even one of a copy of this
// machine whose random numbers are the same.
func newAttempt() string { return rand.Text() + strconv.FormatInt(time.Now().UnixNano(), 36) }

// callWith is call with headers, of which those that are "" are left out.
func (s *Source) callWith(ctx context.Context, method, path string, header http.Header, body []byte) (*http.Response, []byte, error) {
	attemptCtx, cancel := context.WithTimeout(ctx, httpclient.AttemptWait)
	defer cancel()
	request, err := http.NewRequestWithContext(attemptCtx, method, s.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, nil, s.strange("its address is malformed")
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
		return nil, nil, s.lost(ctx, err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, api.MaxAnswer+1))
	if err != nil {
		return nil, nil, s.lost(ctx, err)
	}
	if len(answer) > api.MaxAnswer {
		return nil, nil, s.strange("its answer is over 64 KiB")
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

// failure is an answer that grants nothing. refused says what a 403 refuses, and about
// what the request was.
func (s *Source) failure(response *http.Response, body []byte, refused, about string) error {
	problem := api.DecodeProblem(response.Header.Get("Content-Type"), body)
	problem.Status = response.StatusCode
	switch status := response.StatusCode; {
	case status == http.StatusUnauthorized:
		return s.refused(problem, "it does not know this workspace", "check the identity in "+s.identity.where())
	case status == http.StatusForbidden:
		return s.refused(problem, refused, "ask whoever runs the broker to allow it")
	case status == http.StatusTooManyRequests || status >= 500:
		return s.busy(response, problem)
	case status >= 300 && status < 400:
		return usererr.New(s.what(), "it redirects to "+redact.Text(response.Header.Get("Location"), maxShown),
			"if that is right, put that address into source in the workspace file")
	case status == http.StatusBadRequest || status == http.StatusRequestEntityTooLarge:
		return usererr.New(s.what(), fmt.Sprintf("it does not take the request for %s (%d)", about, status)+said(problem),
			"check that broker and workspace run versions of gatepass that fit together")
	}
	return s.strange(fmt.Sprintf("it answered %d", response.StatusCode) + said(problem))
}

// refused is the broker's refusal; the problem is below, for those who want its
// status.
func (s *Source) refused(p api.Problem, why, do string) error {
	return &usererr.Error{Op: s.what(), Reason: why + said(p), Hint: do, Err: p}
}

// accept checks an answer and makes it a Token.
func (s *Source) accept(r api.TokenRequest, header http.Header, body []byte) (credential.Token, error) {
	if !api.IsJSON(header.Get("Content-Type")) {
		return credential.Token{}, s.strange("its answer is no JSON")
	}
	answer, err := api.DecodeAnswer(body)
	if err != nil {
		return credential.Token{}, s.strange(err.Error())
	}
	if err := credential.CheckSecret(answer.Token.Reveal()); err != nil {
		return credential.Token{}, usererr.Wrap(s.what(), err, "")
	}
	if !validUsername(answer.Username) {
		return credential.Token{}, s.strange("the user name in its answer has unusual characters")
	}
	ends, err := s.ends("token", header, answer.ExpiresAt)
	if err != nil {
		return credential.Token{}, err
	}
	if !answer.Covers(r.Repo.String()) {
		return credential.Token{}, usererr.New(s.what(), "the token it gave is not for "+r.Repo.String(), "ask whoever runs the broker to look at its log")
	}
	token := credential.NewToken(answer.Token.Reveal(), ends)
	token.Username, token.Repositories, token.RepositoryIDs, token.Permissions = answer.Username, answer.Repositories, answer.RepositoryIDs, answer.Permissions
	return token, nil
}

// ends is when the token or session (name) of an answer ends: moved from the broker's clock to
// this machine's, by which git and the agent read it. It is never later than a token of
// GitHub's would live, whatever a wrong clock makes of it.
func (s *Source) ends(name string, header http.Header, expires time.Time) (time.Time, error) {
	now := time.Now()
	ends := expires.Add(httpclient.Ahead(header))
	if !ends.After(now) {
		return ends, usererr.New(s.what(), "the "+name+" it gave ran out at "+expires.UTC().Format(time.RFC3339),
			"compare the clocks of this machine and the broker's")
	}
	if longest := now.Add(credential.Lifetime); ends.After(longest) {
		ends = longest
	}
	return ends, nil
}

// validUsername keeps what goes into git's line protocol and into basic
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

func (s *Source) strange(why string) error {
	return usererr.New(s.what(), why, "check that source in the workspace file names a gatepass broker")
}

// busy is a broker that asks to come again.
func (s *Source) busy(response *http.Response, problem api.Problem) error {
	after := httpclient.RetryAfter(response.Header)
	do := "try again in a moment"
	if after > 0 {
		do = "try again in " + after.Round(time.Second).String()
	}
	why := fmt.Sprintf("it cannot answer now (%d)", response.StatusCode) + said(problem)
	return &httpclient.TransientError{Err: usererr.New(s.what(), why, do), After: after}
}

// said is what the broker itself gave as its reason, after a colon.
func said(p api.Problem) string {
	text := p.Detail
	if text == "" {
		text = p.Title
	}
	if text == "" {
		return ""
	}
	return ": " + redact.Text(text, maxShown)
}

// lost turns a failed connection into one line. Only what cannot get better by
// itself is final.
func (s *Source) lost(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		why := "it did not answer in time"
		if errors.Is(ctx.Err(), context.Canceled) {
			why = "the request was given up"
		}
		return &usererr.Error{Op: s.what(), Reason: why, Hint: "check that it runs and can be reached from here", Err: ctx.Err()}
	}
	if line, ok := errors.AsType[*usererr.Error](err); ok { // of socket.check
		return line
	}
	if urlErr, ok := errors.AsType[*url.Error](err); ok {
		err = urlErr.Err // the address is named already
	}
	text := redact.Text(err.Error(), maxShown)
	switch {
	case httpclient.IsCertificate(err):
		return usererr.New(s.what(), "its certificate is not trusted: "+text, "name the broker's authority with ca_file=PEM in the source")
	case httpclient.IsHandshake(err) && strings.Contains(text, "certificate"): // the peer's alert
		return usererr.New(s.what(), "it does not take the client certificate: "+text, "correct cert_file and key_file in the source, or ask whoever runs the broker")
	case httpclient.IsHandshake(err):
		return usererr.New(s.what(), "no TLS connection: "+text, "the broker needs TLS 1.2 or later on this port")
	case httpclient.IsUnknownHost(err):
		return usererr.New(s.what(), "there is no such host", "correct source in the workspace file")
	case errors.Is(err, context.DeadlineExceeded):
		text = "it did not answer in time"
	}
	return &httpclient.TransientError{Err: usererr.New(s.what(), "it cannot be reached: "+text, "check that it runs and can be reached from here")}
}
