package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"
)

// The paths of operators, below the broker's base.
const (
	WorkspacesPath = "/v1/workspaces"   // GET; …/{id}/revoke is POST, …/{id}/block is DELETE
	KillPath       = "/v1/kill"         // POST a Target
	UnblockPath    = "/v1/unblock"      // POST a Target
	ExplainPath    = "/v1/explain"      // GET for oneself, POST for another caller
	OpenAPIPath    = "/v1/openapi.json" // GET
)

// AdmitPath is UnblockPath as earlier versions called it, beside …/{id}/bar for …/{id}/block.
//
// Deprecated: use UnblockPath. It will be gone in the next version.
const AdmitPath = "/v1/admit"

// MaxPage is the most workspaces that one answer lists.
const MaxPage = 500

// A Target is what everything is taken from: exactly one of these.
type Target struct {
	Workspace string `json:"workspace,omitempty"`
	Owner     string `json:"owner,omitempty"` // an account of GitHub
	App       bool   `json:"app,omitempty"`   // all
}

// A Revocation is what came of taking everything from a target. It is blocked
// whatever Pending says.
type Revocation struct {
	Target
	Revoked []string `json:"revoked"` // base64(sha256(token)), as in GitHub's audit log
	Pending int      `json:"pending"` // what could not be done yet and is tried again
	// Workspaces had one of the tokens, or have it while it is pending: the target's,
	// and others that share tokens with it, as far as they were found in two seconds.
	Workspaces []string `json:"workspaces"`
	// AsOf is of when the list is that the others were looked for in; zero where none
	// could be read in that time. The audit log has a line for each of them later.
	AsOf time.Time `json:"as_of,omitzero"`
}

// A WorkspacePage lists workspaces by id.
type WorkspacePage struct {
	Workspaces []WorkspaceState `json:"workspaces"`
	Next       string           `json:"next,omitempty"` // to be sent as "after"; "" at the end
	// AsOf is of when the list is: a large store takes long to make another.
	AsOf time.Time `json:"as_of"`
}

// A WorkspaceState is what a workspace has been given.
type WorkspaceState struct {
	ID       string       `json:"id"`
	Blocked  bool         `json:"blocked"`
	Barred   bool         `json:"barred"` // Deprecated: the same as Blocked, which earlier versions called so.
	Rule     string       `json:"rule,omitempty"`
	Profile  string       `json:"profile,omitempty"`
	LastSeen time.Time    `json:"last_seen,omitzero"` // by the replica that answers
	Tokens   []TokenState `json:"tokens"`             // alive
}

// The kinds of tokens.
const (
	Vended    = "vended"    // answered by a broker
	Delivered = "delivered" // put where the workspace reads it
)

// A TokenState is a token without its text.
type TokenState struct {
	Hash         string            `json:"hashed_token"` // base64(sha256(token)), as in GitHub's audit log
	Kind         string            `json:"kind"`         // Vended or Delivered
	ExpiresAt    time.Time         `json:"expires_at"`
	Repositories []string          `json:"repositories,omitempty"`
	Permissions  map[string]string `json:"permissions,omitempty"`
}

// An ExplainRequest asks what a caller of that method with those claims would
// get.
type ExplainRequest struct {
	Host         string            `json:"host"`
	Repo         string            `json:"repo"`
	Operation    string            `json:"operation"`
	RepositoryID int64             `json:"repository_id,omitempty"` // as in a TokenRequest
	Permissions  map[string]string `json:"permissions,omitempty"`
	Method       string            `json:"method,omitempty"` // "socket", "oidc", …; "" is any
	Claims       map[string]any    `json:"claims"`
}

// An Explanation is why a caller would or would not get a token. Nothing is
// minted for it.
type Explanation struct {
	Granted   bool   `json:"granted"`          // by the policy and, as far as can be told, by GitHub
	Reason    string `json:"reason,omitempty"` // of the refusal, in one word
	Detail    string `json:"detail"`
	Policy    string `json:"policy"` // the hash of the generation in force
	Rule      string `json:"rule,omitempty"`
	Workspace string `json:"workspace,omitempty"`
	Profile   string `json:"profile,omitempty"`

	Repository   string            `json:"repository,omitempty"`
	RepositoryID int64             `json:"repository_id,omitempty"` // that it has to have; 0 is any
	Permissions  map[string]string `json:"permissions,omitempty"`   // that the token would have

	Rules  []RuleVerdict `json:"rules,omitempty"`  // up to the one that decides
	GitHub *GitHubView   `json:"github,omitempty"` // nil where the policy refuses
	Untold []string      `json:"untold,omitempty"` // what nobody can tell without trying
}

// A RuleVerdict is what one rule said.
type RuleVerdict struct {
	Rule    string `json:"rule"`
	Matches bool   `json:"matches"`
	Note    string `json:"note,omitempty"`
}

// A GitHubView is what GitHub says without being asked for a token.
type GitHubView struct {
	Installation int64             `json:"installation,omitempty"` // 0 where there is none
	Account      string            `json:"account,omitempty"`
	Reaches      bool              `json:"reaches"` // the repository
	Suspended    bool              `json:"suspended"`
	Lacking      map[string]string `json:"lacking,omitempty"` // permissions that the installation was not granted
}

// ReadJSON reads the body of an operator's request: one JSON object of at most
// max bytes without unknown or repeated keys. The error is a [Problem].
func ReadJSON(w http.ResponseWriter, r *http.Request, maxBytes int64, into any) error {
	if !isMedia(r.Header.Get("Content-Type"), MediaType) {
		return NewProblem(http.StatusUnsupportedMediaType, "the request's Content-Type is "+MediaType)
	}
	body, err := ReadBody(w, r, maxBytes)
	if err != nil {
		return err
	}
	if err := decodeStrict(body, into); err != nil {
		return NewProblem(http.StatusBadRequest, "the request is not the JSON object that is wanted here: "+describe(err))
	}
	return nil
}

// describe says what is wrong with a request, without the words of encoding/json.
func describe(err error) string {
	if _, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return "a value is of another type"
	}
	return err.Error()
}

// WriteJSON answers with v. Nothing on the way may keep it.
func WriteJSON(w http.ResponseWriter, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return write(w, status, MediaType, body)
}
