package lfs

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/gateway/access"
	"github.com/gatepass/gatepass/hooks/refs"
)

const (
	maxObjects = 1000      // of one batch; git-lfs sends 100
	maxBatch   = 256 << 10 // bytes of the request
	maxSize    = 1 << 50   // bytes of an object; GitHub's own limit is far lower
)

// The operations of a batch.
const (
	download = "download"
	upload   = "upload"
)

// A request asks where to transfer objects. What GitHub gets is written from these
// fields alone.
type request struct {
	Operation string   `json:"operation"`
	Transfers []string `json:"transfers,omitempty"`
	Ref       *ref     `json:"ref,omitempty"`
	Objects   []object `json:"objects"`
	HashAlgo  string   `json:"hash_algo,omitempty"`
}

// A ref is the ref that the objects are for, according to the client.
type ref struct {
	Name string `json:"name"`
}

// An object is one object that a client asks for.
type object struct {
	OID  string `json:"oid"`
	Size int64  `json:"size"`
}

// checked returns the request to send to GitHub, or an error.
func (q request) checked() (request, error) {
	switch {
	case q.Operation != download && q.Operation != upload:
		return q, refusal(http.StatusUnprocessableEntity, broker.ReasonRequest, `the operation must be "download" or "upload"`)
	case len(q.Transfers) > 0 && !slices.Contains(q.Transfers, "basic"):
		return q, refusal(http.StatusUnprocessableEntity, broker.ReasonRequest, `the transfer adapter must be "basic"`)
	case q.HashAlgo != "" && q.HashAlgo != "sha256":
		return q, refusal(http.StatusConflict, broker.ReasonRequest, `the hash algorithm must be "sha256"`)
	case len(q.Objects) == 0:
		return q, refusal(http.StatusUnprocessableEntity, broker.ReasonRequest, "the batch has no objects")
	case len(q.Objects) > maxObjects:
		return q, refusal(http.StatusRequestEntityTooLarge, broker.ReasonRequest, fmt.Sprintf("a batch must have at most %d objects", maxObjects))
	case !q.Ref.isPlain():
		return q, refusal(http.StatusUnprocessableEntity, broker.ReasonRequest, "the ref of the batch is malformed")
	}
	for _, o := range q.Objects {
		if !isOID(o.OID) || o.Size < 0 || o.Size > maxSize {
			return q, refusal(http.StatusUnprocessableEntity, broker.ReasonRequest, "an object of the batch has no SHA-256, or no size")
		}
	}
	q.Transfers, q.HashAlgo = []string{"basic"}, "sha256"
	return q, nil
}

// isPlain reports whether the ref is safe to send to GitHub. git-lfs also sends short
// names.
func (r *ref) isPlain() bool {
	return r == nil || r.Name == "" || refs.CheckRef(r.Name) == nil || refs.CheckRef("refs/heads/"+r.Name) == nil
}

// size returns the total size of the objects, in bytes.
func (q request) size() (bytes int64) {
	for _, o := range q.Objects {
		bytes += o.Size
	}
	return bytes
}

// batch asks GitHub where to transfer objects, and answers with the gateway's
// addresses.
func (c *call) batch() error {
	var q request
	if err := c.readJSON(maxBatch, &q); err != nil {
		return err
	}
	q, err := q.checked()
	if err != nil {
		return err
	}
	e := c.entry(q.Operation)
	e.Objects, e.Bytes = len(q.Objects), q.size()
	g, err := c.token(q.Operation)
	if err != nil {
		return c.recordRefusal(e, err)
	}
	describe(&e, g)
	if err := c.record(e, q.Operation == upload); err != nil {
		return err
	}
	got, o, err := c.requestBatch(g, q)
	c.recordOutcome(e, got.status, err)
	if err != nil {
		return err
	}
	if got.status != http.StatusOK {
		return c.pass(got, g != nil)
	}
	return c.answerBatch(o, q.Operation, e.RepositoryID)
}

// token returns the token for a batch operation. It is nil for a public repository that
// the profile only reads.
func (c *call) token(operation string) (*broker.Grant, error) {
	use := access.Read
	switch {
	case operation == download && c.ReadsPublic(c.target.Repo):
		return nil, nil //nolint:nilnil // no token is an answer
	case operation == upload:
		if err := c.checkPush(); err != nil {
			r := *broker.RefusalOf(err)
			r.Detail = "upload denied: " + r.Detail
			return nil, &r
		}
		use = access.Write
	}
	g, err := c.Access.Token(c.r.Context(), c.Caller, c.target.Repo, use)
	return &g, err
}

// requestBatch asks GitHub. If the status is 200, the offer fits the request.
func (c *call) requestBatch(g *broker.Grant, q request) (reply, offer, error) {
	var o offer
	body, err := json.Marshal(q)
	if err != nil {
		return reply{}, o, err
	}
	got, err := c.callGitHub(c.r.Context(), g, http.MethodPost, "objects/batch", "", body)
	if err != nil || got.status != http.StatusOK {
		return got, o, err
	}
	if err := got.decode(&o); err != nil {
		return got, o, err
	}
	if err := o.check(q); err != nil {
		return got, o, unreachable(err)
	}
	return got, o, nil
}

func (c *call) answerBatch(o offer, operation string, repositoryID int64) error {
	like := transfer{Workspace: c.ID, Repository: c.target.Repo.String(), RepositoryID: repositoryID}
	out, err := c.rewritten(c.r.Context(), o, operation, like)
	if r, is := errors.AsType[*broker.Refusal](err); is {
		return r
	}
	if err != nil {
		return unreachable(err)
	}
	write(c.w, http.StatusOK, out)
	return nil
}
