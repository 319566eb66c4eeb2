// Package api defines the protocol between the broker and its clients: one call, POST
// /v1/token, its answer, and problem documents (RFC 9457) for errors.
//
// It depends only on the standard library and on small packages of this module, so that
// any client can use it.
package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gatepass/gatepass/internal/gitname"
	"github.com/gatepass/gatepass/internal/secret"
)

const (
	// TokenPath is the path of the token call, relative to the broker's base URL.
	TokenPath = "/v1/token"

	MediaType        = "application/json"         // of requests and answers
	ProblemMediaType = "application/problem+json" // of errors

	MaxRequest = 4 << 10  // bytes of a request's body
	MaxAnswer  = 64 << 10 // bytes of an answer's or a problem's body
)

// The operations of a request.
const (
	Read  = "read"
	Write = "write"
)

// A Repo is a GitHub repository, in lower case. [ParseRepo] makes one from text.
type Repo = gitname.Repo

// ParseRepo splits text, which must be exactly owner/name, in any case. For everything
// else ok is false.
func ParseRepo(text string) (r Repo, ok bool) { return gitname.Repository(text) }

// A TokenRequest asks for a token for one repository.
type TokenRequest struct {
	Host      string `json:"host"`      // "github.com", lower case, no default port
	Repo      Repo   `json:"repo"`      // "owner/name"
	Operation string `json:"operation"` // Read or Write

	// RepositoryID is the GitHub id that the repository must have; 0 means any. A name
	// can be given to another repository, an id cannot.
	RepositoryID int64 `json:"repository_id,omitempty"`
	// Permissions asks for other permissions than the operation needs, by GitHub's
	// names and levels. The workspace's profile must allow them. Nil asks for none.
	Permissions map[string]string `json:"permissions,omitempty"`
	// MinTTL is how many seconds the token must last at least. GitHub's tokens live for
	// an hour.
	MinTTL int `json:"min_ttl,omitempty"`
}

// maxID is the largest integer that all JSON readers read exactly (RFC 8259, section
// 6).
const maxID = 1<<53 - 1

// MaxMinTTL is the largest MinTTL that a request may have, in seconds.
const MaxMinTTL = 50 * 60

// Check returns an error that says what is wrong with r. Hosts must be in the form of
// [gitname.Host], repositories in that of [ParseRepo].
func (r TokenRequest) Check() error {
	if host, ok := gitname.Host(r.Host); !ok || host != r.Host {
		return errors.New(`"host" must be a lower-case host name with an optional port`)
	}
	if !r.Repo.IsValid() {
		return errors.New(`"repo" must be owner/name`)
	}
	if r.Operation != Read && r.Operation != Write {
		return errors.New(`"operation" must be "read" or "write"`)
	}
	if r.RepositoryID < 0 || r.RepositoryID > maxID {
		return errors.New(`"repository_id" must be the repository's ID at GitHub`)
	}
	if r.MinTTL < 0 || r.MinTTL > MaxMinTTL {
		return fmt.Errorf(`"min_ttl" must be from 0 to %d seconds`, MaxMinTTL)
	}
	if r.Permissions != nil && len(r.Permissions) == 0 {
		return errors.New(`"permissions" must not be empty; leave it out for what the operation needs`)
	}
	return nil
}

// A Secret is the token of an answer. It never prints itself: fmt, slog and JSON show a
// placeholder. Only [EncodeAnswer] and Reveal give its text.
type Secret struct{ secret.Text }

// NewSecret returns a Secret that holds text.
func NewSecret(text string) Secret { return Secret{secret.New(text)} }

// A TokenAnswer is a token and what it gives access to.
type TokenAnswer struct {
	Username     string
	Token        Secret
	ExpiresAt    time.Time
	Repositories []string // "owner/name"; nil when the broker does not say
	// RepositoryIDs are GitHub's ids, in the order of Repositories; nil when the broker
	// does not say.
	RepositoryIDs []int64
	Permissions   map[string]string // "contents": "write"; nil when the broker does not say
}

// wireAnswer is the answer's JSON form. Only here is the token a plain string.
type wireAnswer struct {
	Username      string            `json:"username"`
	Token         string            `json:"token"`
	ExpiresAt     time.Time         `json:"expires_at"`
	Repositories  []string          `json:"repositories,omitzero"`
	RepositoryIDs []int64           `json:"repository_ids,omitzero"`
	Permissions   map[string]string `json:"permissions,omitzero"`
}

// EncodeAnswer returns a as JSON, token included.
func EncodeAnswer(a TokenAnswer) ([]byte, error) {
	return json.Marshal(wireAnswer{
		Username: a.Username, Token: a.Token.Reveal(), ExpiresAt: a.ExpiresAt.UTC(),
		Repositories: a.Repositories, RepositoryIDs: a.RepositoryIDs, Permissions: a.Permissions,
	})
}

// DecodeAnswer reads an answer. It ignores unknown keys, so that later brokers can add
// some. A missing token or expiry is an error. Errors never repeat the text.
func DecodeAnswer(data []byte) (TokenAnswer, error) {
	if len(data) > MaxAnswer {
		return TokenAnswer{}, fmt.Errorf("the answer is over %d bytes", MaxAnswer)
	}
	var w wireAnswer
	if err := json.Unmarshal(data, &w); err != nil {
		return TokenAnswer{}, errors.New("the answer is not the JSON of a token")
	}
	if w.Token == "" || w.ExpiresAt.IsZero() {
		return TokenAnswer{}, errors.New("the answer has no token or no expires_at")
	}
	return TokenAnswer{
		Username: w.Username, Token: NewSecret(w.Token), ExpiresAt: w.ExpiresAt,
		Repositories: w.Repositories, RepositoryIDs: w.RepositoryIDs, Permissions: w.Permissions,
	}, nil
}

// Covers reports whether the answer's token gives access to repo, according to the
// broker. An answer without repositories covers everything.
func (a TokenAnswer) Covers(repo string) bool {
	if a.Repositories == nil {
		return true
	}
	for _, have := range a.Repositories {
		if gitname.Fold(have) == gitname.Fold(repo) {
			return true
		}
	}
	return false
}

// A Problem says why a call failed (RFC 9457). Detail is for people; it never contains
// a token or an identity.
type Problem struct {
	Type     string `json:"type,omitempty"` // a URI; empty is "about:blank"
	Title    string `json:"title"`
	Status   int    `json:"status"`
	Detail   string `json:"detail,omitempty"`
	Instance string `json:"instance,omitempty"`
}

func (p Problem) Error() string {
	if p.Detail == "" {
		return p.Title
	}
	return p.Title + ": " + p.Detail
}

// DecodeProblem reads a problem document. It never fails: it leaves a field empty that
// it cannot read. contentType is the answer's Content-Type header.
func DecodeProblem(contentType string, data []byte) Problem {
	var p Problem
	if !isMedia(contentType, ProblemMediaType) || len(data) > MaxAnswer {
		return p
	}
	if err := json.Unmarshal(data, &p); err != nil {
		return Problem{}
	}
	p.Title, p.Detail = strings.TrimSpace(p.Title), strings.TrimSpace(p.Detail)
	return p
}
