package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"
)

const (
	// ExchangePath is where a caller exchanges a join token, or a session that is about
	// to expire, for a new session.
	ExchangePath = "/v1/exchange"
	// NoncePath is where a caller gets a nonce, for proofs that need one.
	NoncePath = "/v1/nonce"
)

// An ExchangeRequest asks for a session. It exchanges the join token, or without one
// the session that authenticates the call.
type ExchangeRequest struct{ JoinToken Secret }

// EncodeExchange returns r as JSON, token included.
func EncodeExchange(r ExchangeRequest) ([]byte, error) {
	return json.Marshal(struct {
		JoinToken string `json:"join_token,omitempty"`
	}{r.JoinToken.Reveal()})
}

var errNotExchange = errors.New(`the request is not the JSON object {"join_token"}`)

// DecodeExchange reads a request as strictly as DecodeRequest does. Errors never
// repeat the token.
func DecodeExchange(data []byte) (ExchangeRequest, error) {
	var r ExchangeRequest
	err := decodeObject(data, MaxRequest, errNotExchange, func(key string, dec *json.Decoder) error {
		if key != "join_token" {
			return unknownKey(key)
		}
		text, err := decodeString(key, dec)
		if err == nil && text == "" {
			err = errors.New(`"join_token" must not be empty; leave it out to renew a session`)
		}
		r.JoinToken = NewSecret(text)
		return err
	})
	if err != nil {
		return ExchangeRequest{}, err
	}
	return r, nil
}

// A SessionAnswer is a bearer identity of a workspace. It is valid until it expires or
// is exchanged again.
type SessionAnswer struct {
	Session   Secret
	ExpiresAt time.Time
	Workspace string
}

type wireSession struct {
	Session   string    `json:"session"`
	ExpiresAt time.Time `json:"expires_at"`
	Workspace string    `json:"workspace"`
}

// WriteSession answers 200 with a, and forbids caches to store it.
func WriteSession(w http.ResponseWriter, a SessionAnswer) error {
	body, err := json.Marshal(wireSession{a.Session.Reveal(), a.ExpiresAt.UTC(), a.Workspace})
	if err != nil {
		return err
	}
	return write(w, http.StatusOK, MediaType, body)
}

// DecodeSession reads an answer. It ignores unknown keys. Errors never repeat the text.
func DecodeSession(data []byte) (SessionAnswer, error) {
	var w wireSession
	if len(data) > MaxAnswer || json.Unmarshal(data, &w) != nil {
		return SessionAnswer{}, errors.New("the answer is not the JSON of a session")
	}
	if w.Session == "" || w.ExpiresAt.IsZero() {
		return SessionAnswer{}, errors.New("the answer has no session or no expires_at")
	}
	return SessionAnswer{NewSecret(w.Session), w.ExpiresAt, w.Workspace}, nil
}

// A NonceAnswer is a text that a proof must contain. It is not secret. It is valid for
// one proof.
type NonceAnswer struct {
	Nonce     string    `json:"nonce"`
	ExpiresAt time.Time `json:"expires_at"`
}

// WriteNonce answers 200 with a.
func WriteNonce(w http.ResponseWriter, a NonceAnswer) error {
	a.ExpiresAt = a.ExpiresAt.UTC()
	body, err := json.Marshal(a)
	if err != nil {
		return err
	}
	return write(w, http.StatusOK, MediaType, body)
}

// DecodeNonce reads an answer. It returns an error if the nonce is missing or
// malformed.
func DecodeNonce(data []byte) (NonceAnswer, error) {
	var a NonceAnswer
	if len(data) > MaxAnswer || json.Unmarshal(data, &a) != nil || !isPlain(a.Nonce, MaxNonce) {
		return NonceAnswer{}, errors.New("the answer is not the JSON of a nonce")
	}
	return a, nil
}

// MaxNonce is the maximum length of a nonce, in bytes.
const MaxNonce = 256

// isPlain reports whether s has 1 to n bytes and is safe in a header: letters, digits,
// dots, hyphens and underscores only.
func isPlain(s string, n int) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		isAlnum := '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !isAlnum && c != '.' && c != '-' && c != '_' {
			return false
		}
	}
	return s != "" && len(s) <= n
}
