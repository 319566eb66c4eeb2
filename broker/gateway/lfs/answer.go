package lfs

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/gateway/access"
	"github.com/gatepass/gatepass/internal/redact"
	"github.com/gatepass/gatepass/internal/usererr"
)

// maxAnswer is the maximum size of GitHub's answer to a batch, in bytes.
const maxAnswer = 8 << 20

// An offer is GitHub's answer to a batch.
type offer struct {
	Transfer string        `json:"transfer"`
	Objects  []offerObject `json:"objects"`
	HashAlgo string        `json:"hash_algo"`
}

type offerObject struct {
	OID     string            `json:"oid"`
	Size    int64             `json:"size"`
	Actions map[string]action `json:"actions,omitempty"`
	Error   *objectError      `json:"error,omitempty"`
}

// An action says where and how to transfer or verify an object.
type action struct {
	Href      string            `json:"href"`
	Header    map[string]string `json:"header,omitempty"`
	ExpiresIn int64             `json:"expires_in,omitempty"` // seconds
	ExpiresAt time.Time         `json:"expires_at,omitzero"`
}

type objectError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

// check returns an error unless the answer fits the request.
func (o offer) check(q request) error {
	switch {
	case o.Transfer != "" && o.Transfer != "basic":
		return errors.New("GitHub answered with another transfer adapter")
	case o.HashAlgo != "" && o.HashAlgo != "sha256":
		return errors.New("GitHub answered with another hash algorithm")
	}
	asked := map[object]bool{}
	for _, one := range q.Objects {
		asked[one] = true
	}
	for _, one := range o.Objects {
		if !asked[object{one.OID, one.Size}] {
			return errors.New("GitHub answered with an object that was not requested, or with one twice")
		}
		delete(asked, object{one.OID, one.Size})
	}
	return nil
}

// kindsOf returns the kinds of actions that an operation has.
func kindsOf(operation string) []string {
	if operation == upload {
		return []string{upload, verify}
	}
	return []string{download}
}

// rewritten returns the answer with the gateway's addresses instead of GitHub's. like
// has what all its transfers have in common.
func (c *call) rewritten(ctx context.Context, o offer, operation string, like transfer) (offer, error) {
	out := offer{Transfer: "basic", HashAlgo: "sha256", Objects: []offerObject{}}
	for _, from := range o.Objects {
		to := offerObject{OID: from.OID, Size: from.Size}
		if from.Error != nil {
			to.Error = &objectError{Code: from.Error.Code, Message: shown(from.Error.Message)}
		}
		for _, kind := range kindsOf(operation) {
			a, ok := from.Actions[kind]
			if !ok || from.Error != nil {
				continue
			}
			one := like
			one.Kind, one.OID, one.Size = kind, from.OID, from.Size
			rewritten, err := c.replace(ctx, a, one)
			if err != nil {
				return offer{}, err
			}
			if to.Actions == nil {
				to.Actions = map[string]action{}
			}
			to.Actions[kind] = rewritten
		}
		out.Objects = append(out.Objects, to)
	}
	return out, nil
}

// replace turns an action of GitHub's into one of the gateway's.
func (c *call) replace(ctx context.Context, a action, t transfer) (action, error) {
	u, err := parseStorage(a.Href)
	if err != nil {
		return action{}, err
	}
	if t.Header, err = checkedHeader(a.Header); err != nil {
		return action{}, err
	}
	now := c.Access.Broker.Now()
	expires := now.Add(a.life(now)).Truncate(time.Second)
	t.Href, t.Expires = u.String(), expires.Unix()
	ours, err := c.action(ctx, t)
	ours.ExpiresIn = max(1, int64(expires.Sub(now)/time.Second))
	return ours, err
}

// life returns how long the gateway's own action is valid: at most as long as GitHub's.
func (a action) life(now time.Time) time.Duration {
	left := maxLife
	switch {
	case a.ExpiresIn != 0 && a.ExpiresIn < int64(maxLife/time.Second):
		left = time.Duration(a.ExpiresIn) * time.Second
	case a.ExpiresIn == 0 && !a.ExpiresAt.IsZero():
		left = a.ExpiresAt.Sub(now)
	}
	return max(0, min(left, maxLife))
}

const (
	maxHeaders     = 16
	maxHeaderBytes = 4 << 10
)

// ofConnection are headers that the gateway sets for its own connection to the storage.
var ofConnection = []string{"host", "content-length", "transfer-encoding", "connection", "te", "trailer", "upgrade", "keep-alive", "proxy-authorization", "expect", "range", "accept-encoding"}

// checkedHeader returns the headers of an action that the gateway sends: all except
// those in ofConnection.
func checkedHeader(header map[string]string) (map[string]string, error) {
	kept := maps.Clone(header)
	size := 0
	for name, value := range header {
		size += len(name) + len(value)
		if slices.Contains(ofConnection, strings.ToLower(name)) {
			delete(kept, name)
		}
	}
	if len(header) > maxHeaders || size > maxHeaderBytes {
		return nil, errors.New("GitHub's answer has too many headers for a transfer")
	}
	return kept, nil
}

// maxMessage is how many bytes of a text by GitHub are passed on.
const maxMessage = 1000

// A message is an error of the LFS API. git-lfs prints Message.
type message struct {
	Message   string `json:"message"`
	RequestID string `json:"request_id,omitempty"`
}

// Refuse answers a Git LFS request with a refusal by the gateway.
func Refuse(w http.ResponseWriter, r *broker.Refusal, requestID string) {
	h := w.Header()
	h.Set("Gatepass-Decision", "refused; rule="+r.Reason)
	if r.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int((r.RetryAfter+time.Second-1)/time.Second)))
	}
	if r.Status == http.StatusUnauthorized {
		const challenge = `Basic realm="gatepass"`
		h.Set("WWW-Authenticate", challenge)
		h.Set("LFS-Authenticate", challenge)
	}
	write(w, r.Status, message{"gatepass: " + usererr.Escape(r.Detail), requestID})
}

// logRefusal logs the cause of a refusal, for the operator.
func (c *call) logRefusal(r *broker.Refusal) {
	if r.Err == nil || errors.Is(r.Err, access.ErrNoIdentity) {
		return
	}
	c.Access.Broker.Log.WarnContext(c.r.Context(), "the gateway refused a request of Git LFS",
		"request_id", c.target.RequestID, "workspace", c.ID, "status", r.Status, "reason", r.Reason, "error", r.Err)
}

// write answers with a message of the LFS API.
func write(w http.ResponseWriter, status int, body any) {
	text, err := json.Marshal(body)
	if err != nil { // cannot happen: these are our own types
		status, text = http.StatusInternalServerError, []byte(`{"message":"gatepass: the broker could not answer"}`)
	}
	h := w.Header()
	h.Set("Content-Type", MediaType)
	h.Set("Content-Length", strconv.Itoa(len(text)))
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(text) // fails only if the client closed the connection
}

// readJSON reads a message from the client, of at most max bytes.
func (c *call) readJSON(max int64, into any) error {
	if kind := c.r.Header.Values("Content-Type"); len(kind) != 1 || !isMediaType(kind[0]) {
		return refusal(http.StatusUnsupportedMediaType, broker.ReasonRequest, "the Content-Type of this call must be "+MediaType)
	}
	if encoding := c.r.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return refusal(http.StatusUnsupportedMediaType, broker.ReasonRequest, "the body must not be compressed")
	}
	var body []byte
	err := c.bodies.Read(c.w, c.ID, max, func() (err error) {
		body, err = io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, max))
		return err
	})
	if _, isLarge := errors.AsType[*http.MaxBytesError](err); isLarge {
		return refusal(http.StatusRequestEntityTooLarge, broker.ReasonRequest, "the request is too large")
	}
	if r, is := errors.AsType[*broker.Refusal](err); is {
		return r
	}
	if err != nil || json.Unmarshal(body, into) != nil {
		return broker.BadRequest("the body is not a Git LFS message")
	}
	return nil
}

func isMediaType(text string) bool {
	return text == MediaType || text == MediaType+"; charset=utf-8"
}

// shown returns a text by GitHub that is safe to show in a terminal.
func shown(text string) string { return usererr.Escape(redact.Text(text, maxMessage)) }
