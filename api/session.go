package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"
)

// SessionPath is where a workspace requests a session at the broker's git gateway.
const SessionPath = "/v1/session"

// A SessionRequest asks for a session at the git gateway.
type SessionRequest struct {
	// Repo limits the session to one repository. The zero Repo asks for every
	// repository that the workspace's profile allows.
	Repo Repo
}

// EncodeSessionRequest returns r as JSON.
func EncodeSessionRequest(r SessionRequest) ([]byte, error) {
	if !r.Repo.IsValid() {
		return []byte(`{}`), nil
	}
	return json.Marshal(struct {
		Repo Repo `json:"repo"`
	}{r.Repo})
}

var errNotSessionRequest = errors.New(`the request is not the JSON object {} or {"repo"}`)

// DecodeSessionRequest reads a request. It is as strict as [DecodeRequest]. A malformed
// repository is an error; it never means "every repository".
func DecodeSessionRequest(data []byte) (SessionRequest, error) {
	var r SessionRequest
	err := decodeObject(data, MaxRequest, errNotSessionRequest, func(key string, dec *json.Decoder) (err error) {
		if key != "repo" {
			return unknownKey(key)
		}
		r.Repo, err = decodeRepo(key, dec)
		if err == nil && !r.Repo.IsValid() {
			err = errors.New(`"repo" must be owner/name; leave it out for every repository of the profile`)
		}
		return err
	})
	if err != nil {
		return SessionRequest{}, err
	}
	return r, nil
}

// A GatewaySession is a bearer identity for the gateway. SessionPath also accepts it,
// for its renewal; every other call refuses it.
type GatewaySession struct {
	Session   Secret
	ExpiresAt time.Time
	Workspace string
	// Refs are the refs that the workspace may push, as its profile writes them
	// ("agent/**", "refs/tags/v*"), with {workspace} filled in. They are nil if the
	// broker does not say. They are for people: the gateway decides by its own policy.
	Refs []string
	// Author is the author of the workspace's commits. It is zero if the broker does
	// not say.
	Author Author
}

// An Author is the author of a commit, such as the bot of a GitHub App.
type Author struct {
	Name  string `json:"name"`
	Email string `json:"email"`
}

// String returns the author as git writes it, "NAME <EMAIL>", and "" for the zero
// Author.
func (a Author) String() string {
	if a == (Author{}) {
		return ""
	}
	return a.Name + " <" + a.Email + ">"
}

type wireGatewaySession struct {
	Session   string    `json:"session"`
	ExpiresAt time.Time `json:"expires_at"`
	Workspace string    `json:"workspace"`
	Refs      []string  `json:"refs"`
	Author    Author    `json:"author,omitzero"`
}

// maxRefsSize is how many bytes of an answer Refs may take. The rest of MaxAnswer is
// for the other fields.
const maxRefsSize = MaxAnswer / 2

// EncodeGatewaySession returns a as JSON, session included. If not all refs fit in an
// answer, it leaves out the last ones.
func EncodeGatewaySession(a GatewaySession) ([]byte, error) {
	refs, size := []string{}, 0
	for _, ref := range a.Refs {
		text, err := json.Marshal(ref)
		if err != nil {
			return nil, err
		}
		if size += len(text) + 1; size > maxRefsSize {
			break
		}
		refs = append(refs, ref)
	}
	return json.Marshal(wireGatewaySession{a.Session.Reveal(), a.ExpiresAt.UTC(), a.Workspace, refs, a.Author})
}

// WriteGatewaySession answers 200 with a, and forbids caches to store it.
func WriteGatewaySession(w http.ResponseWriter, a GatewaySession) error {
	body, err := EncodeGatewaySession(a)
	if err != nil {
		return err
	}
	return write(w, http.StatusOK, MediaType, body)
}

// DecodeGatewaySession reads an answer. It ignores unknown keys, so that later brokers
// can add some. It returns an error if the session or its expiry is missing, or if
// another text has control characters. Errors never repeat the text.
func DecodeGatewaySession(data []byte) (GatewaySession, error) {
	var w wireGatewaySession
	if len(data) > MaxAnswer || json.Unmarshal(data, &w) != nil {
		return GatewaySession{}, errors.New("the answer is not the JSON of a gateway session")
	}
	if w.Session == "" || w.ExpiresAt.IsZero() {
		return GatewaySession{}, errors.New("the answer has no session or no expires_at")
	}
	for _, ref := range w.Refs {
		if !isText(ref) {
			return GatewaySession{}, errors.New("the answer has a ref with control characters")
		}
	}
	if !isText(w.Workspace) {
		return GatewaySession{}, errors.New("the answer has a workspace with control characters")
	}
	if !isText(w.Author.Name) || !isText(w.Author.Email) {
		return GatewaySession{}, errors.New("the answer has an author with control characters")
	}
	return GatewaySession{NewSecret(w.Session), w.ExpiresAt, w.Workspace, w.Refs, w.Author}, nil
}
