package lfs

import (
	"encoding/json"
	"net/http"
	"net/url"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/gateway/access"
)

const (
	maxLockCall = 16 << 10 // bytes of a request
	maxLockPath = 4 << 10  // bytes of a path, a cursor or a ref
	maxPage     = 100      // locks in one answer
)

// A lock is a lock at GitHub. All workspaces lock as the App, so its bot is the owner.
type lock struct {
	ID       string `json:"id"`
	Path     string `json:"path"`
	LockedAt string `json:"locked_at,omitempty"`
	Owner    *owner `json:"owner,omitempty"`
}

type owner struct {
	Name string `json:"name"`
}

// lockCall is any request about locks. Each kind uses some of the keys.
type lockCall struct {
	Path   string `json:"path,omitempty"`
	Ref    *ref   `json:"ref,omitempty"`
	Cursor string `json:"cursor,omitempty"`
	Limit  int    `json:"limit,omitempty"`
	Force  bool   `json:"force,omitempty"`
}

// lockAnswer is any answer about locks.
type lockAnswer struct {
	Lock   *lock  `json:"lock,omitempty"`
	Locks  []lock `json:"locks,omitzero"` // omitted if nil, not if empty
	Ours   []lock `json:"ours,omitzero"`
	Theirs []lock `json:"theirs,omitzero"`
	Next   string `json:"next_cursor,omitempty"`
	// Message and RequestID are about a lock that exists already.
	Message   string `json:"message,omitempty"`
	RequestID string `json:"request_id,omitempty"`
}

// locks forwards a request about locks. A workspace that may not push gets 501, so that
// git-lfs goes on without locks.
func (c *call) locks() error {
	if err := c.checkPush(); err != nil {
		return refusal(http.StatusNotImplemented, broker.ReasonPermission, "only workspaces that may push can lock: "+broker.RefusalOf(err).Detail)
	}
	body, query, err := c.lockCall()
	if err != nil {
		return err
	}
	g, err := c.Access.Token(c.r.Context(), c.Caller, c.target.Repo, access.Write)
	e := c.entry(c.lockOperation())
	if err != nil {
		return c.recordRefusal(e, err)
	}
	describe(&e, &g)
	if err := c.record(e, false); err != nil {
		return err
	}
	got, err := c.callGitHub(c.r.Context(), &g, c.r.Method, c.target.Path, query, body)
	c.recordOutcome(e, got.status, err)
	if err != nil {
		return err
	}
	return c.answerLocks(got)
}

// lockOperation returns the operation's name in the audit log.
func (c *call) lockOperation() string {
	switch {
	case c.route.endpoint == unlockEndpoint:
		return "unlock"
	case c.route.endpoint == locksEndpoint && c.r.Method == http.MethodPost:
		return "lock"
	}
	return "locks"
}

// lockCall reads the request, and rewrites it as a body or a query.
func (c *call) lockCall() (body []byte, query string, err error) {
	if c.r.Method == http.MethodGet {
		query, err = lockQuery(c.r.URL.RawQuery)
		return nil, query, err
	}
	var in lockCall
	if err := c.readJSON(maxLockCall, &in); err != nil {
		return nil, "", err
	}
	if !in.Ref.isPlain() || len(in.Path) > maxLockPath || len(in.Cursor) > maxLockPath {
		return nil, "", broker.BadRequest("the lock request has a malformed ref, path or cursor")
	}
	if in.Force {
		return nil, "", refusal(http.StatusForbidden, broker.ReasonPermission, "a forced unlock could take another workspace's lock; ask its owner")
	}
	in.Limit = max(0, min(in.Limit, maxPage))
	body, err = json.Marshal(in)
	return body, "", err
}

// lockKeys are the keys of a query for locks.
var lockKeys = []string{"path", "id", "cursor", "limit", "refspec"}

func lockQuery(raw string) (string, error) {
	given, err := url.ParseQuery(raw)
	if err != nil {
		return "", broker.BadRequest("the query is malformed")
	}
	kept := url.Values{}
	for _, key := range lockKeys {
		values := given[key]
		if len(values) > 1 || len(values) == 1 && len(values[0]) > maxLockPath {
			return "", broker.BadRequest("the query's " + key + " is given twice or too long")
		}
		if len(values) == 1 {
			kept.Set(key, values[0])
		}
	}
	return kept.Encode(), nil
}

// answerLocks parses GitHub's answer and writes it again.
func (c *call) answerLocks(got reply) error {
	var said lockAnswer
	isAnswer := got.status == http.StatusOK || got.status == http.StatusCreated || got.status == http.StatusConflict
	if !isAnswer {
		return c.pass(got, true)
	}
	if err := got.decode(&said); err != nil {
		return err
	}
	said.Message, said.RequestID = shown(said.Message), shown(said.RequestID)
	write(c.w, got.status, said)
	return nil
}
