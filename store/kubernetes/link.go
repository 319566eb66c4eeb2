package kubernetes

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"

	"github.com/gatepass/gatepass/internal/httpclient"
	"github.com/gatepass/gatepass/internal/usererr"
)

// maxAnswer bounds an answer, in bytes: a page of the longest entries, or the
// metadata of one, is a fraction of it.
const maxAnswer = 16 << 20

// A link is a way to one API server, with what proves who asks.
type link struct {
	base   *url.URL
	client *http.Client
	source string // of the credentials, for messages
}

// newLink follows no redirects: what is written, and credentials of a kind, would
// go along.
func newLink(base *url.URL, client *http.Client, source string) *link {
	own := *client
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &link{base: base, client: &own, source: source}
}

func (l *link) where() string { return "Kubernetes at " + l.base.Scheme + "://" + l.base.Host }

// A call is one request for objects of one kind.
type call struct {
	what      string // begins the errors, up to the name of the cluster
	verb      string // as Roles name it
	method    string
	namespace string
	kind      kind
	object    string // "" for all, or a new one
	query     url.Values
	accept    string // "" means the whole object
	sends     string // content type; "" means JSON
	body      any    // as JSON; nil for none
}

// do asks until there is an answer that stays. What is no success is an error
// for people, or a [*refusal].
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
		return nil, l.lost(ctx, c, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, l.lost(ctx, c, err)
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
