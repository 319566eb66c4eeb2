package kubernetes

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gatepass/gatepass/internal/httpclient"
	"github.com/gatepass/gatepass/internal/redact"
	"github.com/gatepass/gatepass/internal/usererr"
)

// maxAnswer bounds an answer, in bytes. A page of the longest entries, or the metadata
// of one entry, is a fraction of it.
const maxAnswer = 16 << 20

// A link is an API server's address, and a client with credentials for it.
type link struct {
	base   *url.URL
	client *http.Client
	source string // origin of the credentials, for messages
}

// newLink returns a link that follows no redirects: a redirect would receive the
// written values, and some kinds of credentials.
func newLink(base *url.URL, client *http.Client, source string) *link {
	own := *client
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &link{base: base, client: &own, source: source}
}

func (l *link) where() string { return "Kubernetes at " + l.base.Scheme + "://" + l.base.Host }

// A call is one request for objects of one kind.
type call struct {
	what      string // begins the errors, before the name of the cluster
	verb      string // as in a Role
	method    string
	namespace string
	kind      kind
	object    string // "" for all objects, or a new one
	query     url.Values
	accept    string // "" means the whole object
	sends     string // content type; "" means JSON
	body      any    // as JSON; nil for none
}

// do repeats the call until the answer is final. Its error is a line for people, or a
// [*refusal].
func (l *link) do(ctx context.Context, c call) ([]byte, error) {
	c.what += " in " + l.where()
	return httpclient.Retry(ctx, func(ctx context.Context) ([]byte, error) { return l.attempt(ctx, c) })
}

func (l *link) attempt(ctx context.Context, c call) ([]byte, error) {
	attempt, cancel := context.WithTimeout(ctx, httpclient.AttemptWait)
	defer cancel()
	request, err := l.request(attempt, c)
	if err != nil {
		return nil, usererr.New(c.what, "the address of the API server is malformed", "")
	}
	response, err := l.client.Do(request)
	if err != nil {
		return nil, l.connectionError(ctx, c, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, l.connectionError(ctx, c, err)
	case len(body) > maxAnswer:
		return nil, usererr.New(c.what, "the answer is over 16 MiB", "")
	case response.StatusCode/100 != 2:
		return nil, l.refused(c, response, body)
	}
	return body, nil
}

func (l *link) request(ctx context.Context, c call) (*http.Request, error) {
	u := l.base.JoinPath(resourceAPI, c.namespace, c.kind.resource, c.object)
	u.RawQuery = c.query.Encode()
	var body io.Reader
	if c.body != nil {
		data, err := json.Marshal(c.body)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(data)
	}
	request, err := http.NewRequestWithContext(ctx, c.method, u.String(), body)
	if err != nil {
		return nil, err
	}
	request.Header.Set("User-Agent", manager)
	request.Header.Set("Accept", or(c.accept, wholeType))
	if c.body != nil {
		request.Header.Set("Content-Type", or(c.sends, wholeType))
	}
	return request, nil
}

func or(text, fallback string) string {
	if text == "" {
		return fallback
	}
	return text
}

// maxShown bounds the server's text in a message, in bytes.
const maxShown = 300

// manifest is the file, named in messages, that sets up the namespace and the
// permissions.
const manifest = "deploy/kubernetes/store.yaml"

// A status is the API server's error message
// (https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/).
type status struct {
	Kind    string `json:"kind"`
	Message string `json:"message"`
	Reason  string `json:"reason"`
	Details struct {
		Name   string `json:"name"`
		Kind   string `json:"kind"`
		Causes []struct {
			Reason string `json:"reason"`
			Field  string `json:"field"`
		} `json:"causes"`
	} `json:"details"`
}

// Status reasons that callers branch on.
const (
	alreadyExists = "AlreadyExists"
	conflict      = "Conflict"
	expired       = "Expired"
	notFound      = "NotFound"
)

// A refusal is an answer that reports a failure. Its text is for people.
type refusal struct {
	code int
	status
	line error
}

func (r *refusal) Error() string { return r.line.Error() }

// is reports whether the server refused for that reason. A server that is not an API
// server gives no reason.
func is(err error, reason string) bool {
	r, ok := errors.AsType[*refusal](err)
	return ok && r.Reason == reason
}

// isAbsent reports that there is no such object. If the call would have made the object,
// the namespace is missing.
func isAbsent(err error, c call) bool {
	r, ok := errors.AsType[*refusal](err)
	return ok && r.Reason == notFound && c.object != "" && r.Details.Kind == c.kind.resource && r.Details.Name == c.object
}

func isUnknown(err error) bool {
	r, ok := errors.AsType[*refusal](err)
	return ok && r.code == http.StatusUnauthorized
}

// refused turns an answer that reports a failure into an error. If the next call may
// succeed, the error is a [*httpclient.TransientError].
func (l *link) refused(c call, response *http.Response, body []byte) error {
	r := &refusal{code: response.StatusCode, status: decodeStatus(body)}
	r.line = l.line(c, r)
	if r.code != http.StatusTooManyRequests && r.code < 500 {
		return r
	}
	after := httpclient.RetryAfter(response.Header)
	do := "try again in a moment"
	if after > 0 {
		do = "try again in " + after.Round(time.Second).String()
	}
	return &httpclient.TransientError{Err: usererr.New(c.what, fmt.Sprintf("the API server cannot answer now (%d)%s", r.code, r.shown()), do), After: after}
}

// decodeStatus returns the zero status for a body that is not a status.
func decodeStatus(body []byte) status {
	var s status
	if json.Unmarshal(body, &s) != nil || s.Kind != "Status" {
		return status{}
	}
	return s
}

// shown is what the server said, fit for a message: after a colon, without
// tokens; "" when it said nothing.
func (s status) shown() string {
	text := redact.Text(strings.Join(strings.Fields(s.Message), " "), maxShown)
	if text == "" {
		return ""
	}
	return ": " + text
}

// line explains a refusal and what to do.
func (l *link) line(c call, r *refusal) error {
	line := func(why, do string) error { return usererr.New(c.what, why, do) }
	switch {
	case r.code/100 == 3:
		return line("the API server's address redirects to another address, which gatepass does not follow", "write that address in the kubeconfig")
	case r.Kind == "":
		return line(fmt.Sprintf("%s (%d)", errNoObject, r.code), "check the address of the API server and the proxies in front of it")
	case r.code == http.StatusUnauthorized:
		return line("the API server does not accept the credentials", "renew the credentials of "+l.source)
	case r.code == http.StatusForbidden:
		return line("the API server forbids it"+r.shown(), r.right(c))
	case r.Reason == notFound && r.Details.Kind == "namespaces":
		return line("there is no namespace "+c.namespace, "create it: kubectl apply -f "+manifest)
	case r.code == http.StatusRequestEntityTooLarge || r.code == http.StatusUnprocessableEntity:
		// The server's text may repeat what was sent, so it is left out.
		return line(fmt.Sprintf("the API server does not accept the object (%d)%s", r.code, r.fields()), "check the quotas and admission policies of namespace "+c.namespace+", and whether the object is immutable")
	}
	return line(fmt.Sprintf("the API server refuses (%d)%s", r.code, r.shown()), "")
}

// right returns what to do about a verb that is forbidden: by a missing Role, a quota,
// or an admission policy.
func (r *refusal) right(c call) string {
	if !strings.Contains(r.Message, " cannot "+c.verb+" resource ") {
		return "check the quotas and admission policies of namespace " + c.namespace
	}
	return "allow " + c.verb + " on " + c.kind.resource + " in a Role in namespace " + c.namespace + ", as " + manifest + " does"
}

// fields returns the parts of the object that the server named.
func (s status) fields() string {
	var parts []string
	for _, cause := range s.Details.Causes {
		parts = append(parts, cause.Field+" "+cause.Reason)
	}
	if len(parts) == 0 {
		return ""
	}
	return ": " + redact.Text(strings.Join(parts, ", "), maxShown)
}

// connectionError turns a failed connection into one line. The error is final only if waiting
// cannot help.
func (l *link) connectionError(ctx context.Context, c call, err error) error {
	const do = "check that the API server can be reached from here"
	if ctx.Err() != nil {
		why := "the API server did not answer in time"
		if errors.Is(ctx.Err(), context.Canceled) {
			why = "the request was cancelled"
		}
		return &usererr.Error{Op: c.what, Reason: why, Hint: do, Err: ctx.Err()}
	}
	if urlErr, ok := errors.AsType[*url.Error](err); ok {
		err = urlErr.Err // the message names the address already
	}
	text := redact.Text(err.Error(), maxShown)
	switch {
	case httpclient.IsCertificate(err):
		return &distrust{usererr.New(c.what, "its certificate is not trusted: "+text, "set certificate-authority to the authority of the cluster in the kubeconfig")}
	case httpclient.IsHandshake(err):
		return usererr.New(c.what, "no TLS connection: "+text, "check the address of the API server")
	case httpclient.IsUnknownHost(err):
		return usererr.New(c.what, "there is no such host", "check the address of the API server")
	case strings.HasPrefix(text, "getting credentials:"), strings.Contains(text, "token file"): // client-go's exec plugins and files
		return usererr.New(c.what, "the credentials cannot be read: "+text, "renew the credentials of "+l.source)
	case errors.Is(err, context.DeadlineExceeded):
		text = "it did not answer in time"
	}
	return &httpclient.TransientError{Err: usererr.New(c.what, "the API server cannot be reached: "+text, do)}
}

// distrust is an untrusted certificate: the authorities may have been replaced.
type distrust struct{ error }

func (d *distrust) Unwrap() error { return d.error }
