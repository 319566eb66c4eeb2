package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"
)

// The paths for operators, relative to the broker's base URL.
const (
	WorkspacesPath = "/v1/workspaces"   // GET; POST to …/{id}/revoke, DELETE of …/{id}/block
	KillPath       = "/v1/kill"         // POST with a Target
	UnblockPath    = "/v1/unblock"      // POST with a Target
	ExplainPath    = "/v1/explain"      // GET explains the caller itself, POST another caller
	OpenAPIPath    = "/v1/openapi.json" // GET
)

// AdmitPath is the former name of UnblockPath, as …/{id}/bar is of …/{id}/block. The next
// version will not serve them.
const AdmitPath = "/v1/admit"

// MaxPage is the most workspaces that one answer lists.
const MaxPage = 500

// A Target says what an operator revokes and blocks. Exactly one field is set.
type Target struct {
	Workspace string `json:"workspace,omitempty"`
	Owner     string `json:"owner,omitempty"` // a GitHub account
	App       bool   `json:"app,omitempty"`   // all
}

// A Revocation is the result of revoking and blocking a target. The target is blocked
// even if revocations are pending.
type Revocation struct {
	Target
	Revoked []string `json:"revoked"` // base64(sha256(token)), as in GitHub's audit log
	Pending int      `json:"pending"` // revocations that failed; the broker retries them
	// Workspaces had one of the revoked or pending tokens: the target's workspaces, and
	// others that share tokens with it, as far as they were found within two seconds.
	Workspaces []string `json:"workspaces"`
	// AsOf is when the list was read in which the other workspaces were looked up; zero
	// if none could be read in that time. The audit log later has a line for each of
	// them.
	AsOf time.Time `json:"as_of,omitzero"`
}

// A WorkspacePage lists workspaces by id.
type WorkspacePage struct {
	Workspaces []WorkspaceState `json:"workspaces"`
	Next       string           `json:"next,omitempty"` // the value for "after" in the next request; "" on the last page
	// AsOf is when the list was made. A large store is not listed again for every
	// request.
	AsOf time.Time `json:"as_of"`
}

// A WorkspaceState is a workspace and its live tokens.
type WorkspaceState struct {
	ID       string       `json:"id"`
	Blocked  bool         `json:"blocked"`
	Barred   bool         `json:"barred"` // Deprecated: same as Blocked, under its earlier name.
	Rule     string       `json:"rule,omitempty"`
	Profile  string       `json:"profile,omitempty"`
	LastSeen time.Time    `json:"last_seen,omitzero"` // by the replica that answers; zero if never
	Tokens   []TokenState `json:"tokens"`             // alive
}

// The kinds of tokens.
const (
	Vended    = "vended"    // in a broker's answer
	Delivered = "delivered" // written to where the workspace reads it
)

// A TokenState is a token without its text.
type TokenState struct {
	Hash         string            `json:"hashed_token"` // base64(sha256(token)), as in GitHub's audit log
	Kind         string            `json:"kind"`         // Vended or Delivered
	ExpiresAt    time.Time         `json:"expires_at"`
	Repositories []string          `json:"repositories,omitempty"`
	Permissions  map[string]string `json:"permissions,omitempty"`
}

// An ExplainRequest asks what a caller with this method and these claims would get.
type ExplainRequest struct {
	Host         string            `json:"host"`
	Repo         string            `json:"repo"`
	Operation    string            `json:"operation"`
	RepositoryID int64             `json:"repository_id,omitempty"` // as in a TokenRequest
	Permissions  map[string]string `json:"permissions,omitempty"`
	Method       string            `json:"method,omitempty"` // "socket", "oidc", …; "" means any
	Claims       map[string]any    `json:"claims"`
}

// An Explanation says why a caller would or would not get a token. No token is minted.
type Explanation struct {
	Granted   bool   `json:"granted"`          // by the policy and, as far as the broker can tell, by GitHub
	Reason    string `json:"reason,omitempty"` // why it would be refused, in one word
	Detail    string `json:"detail"`
	Policy    string `json:"policy"` // the hash of the policy in force
	Rule      string `json:"rule,omitempty"`
	Workspace string `json:"workspace,omitempty"`
	Profile   string `json:"profile,omitempty"`

	Repository   string            `json:"repository,omitempty"`
	RepositoryID int64             `json:"repository_id,omitempty"` // the id that it must have; 0 means any
	Permissions  map[string]string `json:"permissions,omitempty"`   // those that the token would have

	Rules  []RuleResult `json:"rules,omitempty"`  // up to the rule that decides
	GitHub *GitHubView  `json:"github,omitempty"` // nil if the policy refuses
	Untold []string     `json:"untold,omitempty"` // what only a real request would show
}

// A RuleResult says whether one rule matches the caller.
type RuleResult struct {
	Rule    string `json:"rule"`
	Matches bool   `json:"matches"`
	Note    string `json:"note,omitempty"`
}

// A GitHubView is what GitHub says about the repository. Reading it mints no token.
type GitHubView struct {
	Installation int64             `json:"installation,omitempty"` // 0 if there is none
	Account      string            `json:"account,omitempty"`
	Reaches      bool              `json:"reaches"` // whether the installation covers the repository
	Suspended    bool              `json:"suspended"`
	Lacking      map[string]string `json:"lacking,omitempty"` // permissions that the installation was not granted
}

// ReadJSON reads the body of an operator's request: one JSON object of at most maxBytes
// bytes, without unknown or repeated keys. Its error is a [Problem].
func ReadJSON(w http.ResponseWriter, r *http.Request, maxBytes int64, into any) error {
	if !isMedia(r.Header.Get("Content-Type"), MediaType) {
		return NewProblem(http.StatusUnsupportedMediaType, "the request's Content-Type must be "+MediaType)
	}
	body, err := ReadBody(w, r, maxBytes)
	if err != nil {
		return err
	}
	if err := decodeStrict(body, into); err != nil {
		return NewProblem(http.StatusBadRequest, "the request is not the JSON object that this call takes: "+describe(err))
	}
	return nil
}

// describe says what is wrong with a request, in plainer words than those of
// encoding/json.
func describe(err error) string {
	if _, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return "a value has the wrong type"
	}
	return err.Error()
}

// WriteJSON answers with v, and forbids caches to store it.
func WriteJSON(w http.ResponseWriter, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return write(w, status, MediaType, body)
}
