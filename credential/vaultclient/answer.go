package vaultclient

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"time"
)

// maxLifetime limits the lifetimes that Vault states, so that sums with them do not
// overflow.
const maxLifetime = 10 * 365 * 24 * time.Hour

// An Answer is Vault's answer to a read or a login.
type Answer struct {
	Leased   bool          // the data has a lease
	Lifetime time.Duration // of the lease, from when the request was sent
	Data     map[string]json.RawMessage
	Ahead    time.Duration // how far our clock is ahead of Vault's

	auth *auth
}

// auth is the Vault token of a login or a renewal.
type auth struct {
	ClientToken   string  `json:"client_token"`
	LeaseDuration seconds `json:"lease_duration"`
	Renewable     bool    `json:"renewable"`
}

// seconds is a lifetime in Vault's format.
type seconds int64

func (s seconds) duration() time.Duration {
	return time.Duration(min(max(int64(s), 0), int64(maxLifetime/time.Second))) * time.Second
}

// envelope is the outer form of all of Vault's answers.
type envelope struct {
	LeaseID       string                     `json:"lease_id"`
	LeaseDuration seconds                    `json:"lease_duration"`
	Data          map[string]json.RawMessage `json:"data"`
	Auth          *auth                      `json:"auth"`
	Errors        []string                   `json:"errors"`
	Warnings      []string                   `json:"warnings"`
}

// decodeEnvelope reads one JSON object. Its errors do not repeat the text, which may
// hold a secret.
func decodeEnvelope(body []byte) (envelope, error) {
	var e envelope
	dec := json.NewDecoder(bytes.NewReader(body))
	if err := dec.Decode(&e); err != nil || dec.More() {
		return envelope{}, errors.New("its answer is not JSON of Vault")
	}
	return e, nil
}

func decodeAnswer(body []byte) (*Answer, error) {
	if len(bytes.TrimSpace(body)) == 0 { // 204, and answers without content
		return &Answer{}, nil
	}
	e, err := decodeEnvelope(body)
	if err != nil {
		return nil, err
	}
	leased := e.LeaseID != "" && e.LeaseDuration > 0
	return &Answer{Leased: leased, Lifetime: e.LeaseDuration.duration(), Data: e.Data, auth: e.Auth}, nil
}

// A Refusal is an error answer of Vault.
type Refusal struct {
	Status   int
	Messages string                     // Vault's errors and warnings, unchanged
	Data     map[string]json.RawMessage // for a secret that was deleted
}

func (r *Refusal) Error() string { return "Vault refuses" }

func decodeRefusal(status int, body []byte) *Refusal {
	e, err := decodeEnvelope(body)
	if err != nil {
		return &Refusal{Status: status}
	}
	return &Refusal{Status: status, Messages: strings.Join(append(e.Errors, e.Warnings...), "; "), Data: e.Data}
}
