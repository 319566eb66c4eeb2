// Package api is what the broker and its clients say to each other: one call,
// POST /v1/token, its answer, and problem documents (RFC 9457) for errors.
//
// Only the standard library and small leaves of this module stand behind it, so
// that any client can use it.
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
	// TokenPath is the path of the one call, below the broker's base.
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

// A Repo is a repository of GitHub's, in lower case. [ParseRepo] makes one of its text.
type Repo = gitname.Repo

// ParseRepo splits text, which is exactly owner/name, in any case. ok is false for
// everything else.
func ParseRepo(text string) (r Repo, ok bool) { return gitname.Repository(text) }

// A TokenRequest asks for a token for one repository.
type TokenRequest struct {
	Host      string `json:"host"`      // "github.com", lower case, no default port
	Repo      Repo   `json:"repo"`      // "owner/name"
	Operation string `json:"operation"` // Read or Write

	// RepositoryID is the only repository that the name may mean, by GitHub's id;
	// 0 is any. A name can be given to another one, an id never is.
	RepositoryID int64 `json:"repository_id,omitempty"`
	// Permissions ask for others than the operation needs, as GitHub's names and
	// levels; the workspace's profile has to allow them. Nil is none.
	Permissions map[string]string `json:"permissions,omitempty"`
	// MinTTL is how long the token has to last at least, in seconds. GitHub's
	// live for an hour.
	MinTTL int `json:"min_ttl,omitempty"`
}

// maxID is the largest number that JSON's readers agree on (RFC 8259, section 6).
const maxID = 1<<53 - 1

// MaxMinTTL is the longest that a token can be asked to last, in seconds.
const MaxMinTTL = 50 * 60

// Check reports what is wrong with r. Hosts are in the form of
// [gitname.Host], repositories in that of [ParseRepo].
func (r TokenRequest) Check() error {
	if host, ok := gitname.Host(r.Host); !ok || host != r.Host {
		return errors.New(`"host" is a lower-case host name with an optional port`)
	}
	if !r.Repo.IsValid() {
		return errors.New(`"repo" is owner/name`)
	}
	if r.Operation != Read && r.Operation != Write {
		return errors.New(`"operation" is "read" or "write"`)
	}
	if r.RepositoryID < 0 || r.RepositoryID > maxID {
		return errors.New(`"repository_id" is the id that GitHub gave the repository`)
	}
	if r.MinTTL < 0 || r.MinTTL > MaxMinTTL {
		return fmt.Errorf(`"min_ttl" is from 0 to %d seconds`, MaxMinTTL)
	}
	if r.Permissions != nil && len(r.Permissions) == 0 {
		return errors.New(`"permissions" is empty; leave it out for what the operation needs`)
	}
	return nil
}

// A Secret is the token of an answer. It never prints itself: fmt, slog and
// JSON show a mark. [EncodeAnswer] and Reveal are the ways to its text.
type Secret struct{ secret.Text }

// NewSecret holds text.
func NewSecret(text string) Secret { return Secret{secret.New(text)} }

// A TokenAnswer is a token and what it opens.
type TokenAnswer struct {
	Username     string
	Token        Secret
	ExpiresAt    time.Time
	Repositories []string // "owner/name"; nil when the broker does not say
	// RepositoryIDs are GitHub's, in the order of Repositories; nil when the
	// broker does not say.
	RepositoryIDs []int64
	Permissions   map[string]string // "contents": "write"; nil when the broker does not say
}

// wireAnswer is the answer as it travels, the one place where the token is a
// plain string.
type wireAnswer struct {
	Username      string            `json:"username"`
	Token         string            `json:"token"`
	ExpiresAt     time.Time         `json:"expires_at"`
	Repositories  []string          `json:"repositories,omitzero"`
	RepositoryIDs []int64           `json:"repository_ids,omitzero"`
	Permissions   map[string]string `json:"permissions,omitzero"`
}

// EncodeAnswer writes a for the wire, token included.
func EncodeAnswer(a TokenAnswer) ([]byte, error) {
	return json.Marshal(wireAnswer{
		Username: a.Username, Token: a.Token.Reveal(), ExpiresAt: a.ExpiresAt.UTC(),
		Repositories: a.Repositories, RepositoryIDs: a.RepositoryIDs, Permissions: a.Permissions,
	})
}

// DecodeAnswer reads an answer. Keys it does not know are ignored, so that a
// broker may say more one day; a missing token or expiry is an error. Errors
// never repeat the text.
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

// Covers reports whether the answer's token opens repo, going by what the
// broker says. An answer that does not say covers everything.
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

// A Problem is why a call failed (RFC 9457). Detail is for people; it never
// holds a token or an identity.
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

// DecodeProblem reads a problem document leniently: what cannot be read is
// empty. contentType is the answer's.
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
