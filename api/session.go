package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"
)

// SessionPath is where a workspace asks for a session at the broker's git gateway.
const SessionPath = "/v1/session"

// A SessionRequest asks for a session at the gateway.
type SessionRequest struct {
	// Repo is the only repository that the session is for. The zero Repo asks for
	// every repository that the workspace's profile allows.
	Repo Repo
}

// EncodeSessionRequest writes r for the wire.
func EncodeSessionRequest(r SessionRequest) ([]byte, error) {
	if !r.Repo.IsValid() {
		return []byte(`{}`), nil
	}
	return json.Marshal(struct {
		Repo Repo `json:"repo"`
	}{r.Repo})
}

var errNotSessionRequest = errors.New(`the request is not the JSON object {} or {"repo"}`)

// DecodeSessionRequest reads a request as strictly as [DecodeRequest] does. A repository
// that is no owner/name is an error: it is never read as "every repository".
func DecodeSessionRequest(data []byte) (SessionRequest, error) {
	var r SessionRequest
	err := decodeObject(data, MaxRequest, errNotSessionRequest, func(key string, dec *json.Decoder) (err error) {
		if key != "repo" {
			return unknownKey(key)
		}
		r.Repo, err = decodeRepo(key, dec)
		if err == nil && !r.Repo.IsValid() {
			err = errors.New(`"repo" is owner/name; leave it out for every repository of the profile`)
		}
		return err
	})
	if err != nil {
		return SessionRequest{}, err
	}
	return r, nil
}

// A GatewaySession is a bearer identity for the gateway and, by the same call, for its
// own renewal. Every other call refuses it.
type GatewaySession struct {
	Session   Secret
	ExpiresAt time.Time
	Workspace string
	// Refs are the refs that the workspace may push, as its profile writes them
	// ("agent/**", "refs/tags/v*"), with {workspace} filled in. Where the broker says
	// nothing they are nil. They are for people: the gateway decides by its own policy.
	Refs []string
	// Author is who commits of the workspace are by. It is zero where the broker does not say.
	Author Author
}

// An Author is who a commit is by, such as the bot of a GitHub App.
type Author struct {
	Name  string `json:"name"`
	Email string `json:"email"`
}

// String is the author as git writes it: "NAME <EMAIL>", and "" for the zero Author.
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

// maxRefsSize is what Refs may add to an answer, in bytes; the rest of MaxAnswer is left
// for what stands beside them.
const maxRefsSize = MaxAnswer / 2

// EncodeGatewaySession writes a for the wire, session included. It leaves out the last
// refs where all of them would not fit in an answer.
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

// WriteGatewaySession answers 200 with a, and forbids every cache on the way to keep it.
func WriteGatewaySession(w http.ResponseWriter, a GatewaySession) error {
	body, err := EncodeGatewaySession(a)
	if err != nil {
		return err
	}
	return write(w, http.StatusOK, MediaType, body)
}

// DecodeGatewaySession reads an answer. It ignores keys it does not know, so that a broker
// may say more one day. An answer without session or expiry, and control characters in any
// other text, are errors. Errors never repeat the text.
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
