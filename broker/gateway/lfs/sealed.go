package lfs

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/gateway/access"
	"github.com/gatepass/gatepass/broker/identity"
)

const (
	// maxLife is the longest time that the address of a transfer is valid. git-lfs asks
	// for another batch when it has expired.
	maxLife = 15 * time.Minute

	purpose   = "lfs transfer"
	maxSealed = 16 << 10 // bytes of an encrypted transfer

	// queryKey is the query key with the encrypted transfer in an address. For
	// verifications it is in a header instead, so that all have the same address:
	// git-lfs writes each address that asked for an identity into the repository's
	// configuration.
	queryKey  = "action"
	headerKey = "Gatepass-Action"
)

// A transfer is the data of a gateway action. The action contains it, encrypted.
type transfer struct {
	Kind         string            `json:"k"` // download, upload or verify
	Workspace    string            `json:"w"`
	Repository   string            `json:"n"` // owner/name
	RepositoryID int64             `json:"i,omitempty"`
	OID          string            `json:"o"`
	Size         int64             `json:"s"`
	Href         string            `json:"u"` // address at GitHub's storage
	Header       map[string]string `json:"h,omitempty"`
	Expires      int64             `json:"e"` // Unix time
}

// verify is the kind of transfer that tells GitHub that an upload is complete.
const verify = "verify"

// action returns the gateway's action for a transfer.
func (c *call) action(ctx context.Context, t transfer) (action, error) {
	payload, err := json.Marshal(t)
	if err != nil {
		return action{}, err
	}
	text, err := c.Access.Sessions.Keys.Encrypt(ctx, purpose, payload)
	if err != nil {
		return action{}, noKeys(err)
	}
	a := action{Href: c.base + "/objects/" + t.OID + "?" + queryKey + "=" + text, ExpiresAt: time.Unix(t.Expires, 0).UTC()}
	if t.Kind == verify {
		a.Href, a.Header = c.base+"/objects/verify", map[string]string{headerKey: text}
	}
	return a, nil
}

// baseOf returns the URL of the LFS server as the client wrote it: the request's URL
// without target.Path.
func baseOf(r *http.Request, target Target) (string, error) {
	origin, ok := access.Origin(r)
	base, hasPath := strings.CutSuffix(r.URL.EscapedPath(), target.Path)
	if !ok || !hasPath || !strings.HasSuffix(base, "/info/lfs") {
		return "", broker.BadRequest("the request has no Host, or its path is malformed")
	}
	return origin + base, nil
}

// open decrypts the transfer in the request.
func (c *call) open() (t transfer, err error) {
	text, ok := strings.CutPrefix(c.r.URL.RawQuery, queryKey+"=")
	if c.route.endpoint == verifyEndpoint {
		values := c.r.Header.Values(headerKey)
		if ok = len(values) == 1; ok {
			text = values[0]
		}
	}
	if !ok || len(text) > maxSealed {
		return t, refusal(http.StatusForbidden, broker.ReasonRequest, "the gateway did not give this address")
	}
	payload, err := c.Access.Sessions.Keys.Decrypt(c.r.Context(), purpose, text)
	switch {
	case errors.Is(err, identity.ErrForged):
		return t, refusal(http.StatusForbidden, broker.ReasonRequest, "the address has expired, or belongs to another broker; request the batch again")
	case err != nil:
		return t, noKeys(err)
	}
	if err := json.Unmarshal(payload, &t); err != nil {
		return transfer{}, err
	}
	return t, nil
}

func noKeys(err error) error {
	return &broker.Refusal{Status: http.StatusServiceUnavailable, Reason: broker.ReasonStore, RetryAfter: broker.RetryAfter, Detail: "the broker cannot read its session keys", Err: err}
}

// checkFor refuses a transfer that is for another request, or has expired.
func (t transfer) checkFor(c *call) error {
	kinds := map[string]string{http.MethodGet: download, http.MethodPut: upload, http.MethodPost: verify}
	switch {
	case t.Workspace != c.ID:
		return refusal(http.StatusForbidden, broker.ReasonIdentity, "this address was given to another workspace")
	case t.Repository != c.target.Repo.String() || c.route.oid != "" && t.OID != c.route.oid || t.Kind != kinds[c.r.Method]:
		return refusal(http.StatusForbidden, broker.ReasonRequest, "this address is for another operation")
	case !c.Access.Broker.Now().Before(time.Unix(t.Expires, 0)):
		return refusal(http.StatusForbidden, broker.ReasonRequest, "the address has expired; request the batch again")
	}
	return nil
}

// parseStorage parses an address of GitHub's storage. It must be https, with a host and
// without a user.
func parseStorage(href string) (*url.URL, error) {
	u, err := url.Parse(href)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" {
		return nil, errors.New("an address of the storage must be an https URL")
	}
	return u, nil
}
