package vaultstore

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/credential/vaultclient"
)

// unknownAge is how long a token is valid if the time of writing is unknown. It is
// longer than a cache's margin, so that the token is used at all, and short, so that a
// replaced token is noticed.
const unknownAge = 10 * time.Minute

// expiryField is the name of the expiry in secrets of the issuing side and of engines
// for GitHub Apps.
const expiryField = "expires_at"

// maxFields is the largest number of fields that an error names.
const maxFields = 10

// missingError reports a secret without the field.
type missingError struct{ fields []string } // the fields that it has instead

func (e *missingError) Error() string { return "the field is missing" }

// decode makes a Token from a secret's answer, with its expiry by this machine's clock.
// Its errors do not repeat values.
func decode(answer *vaultclient.Answer, v version, field string, asked time.Time) (credential.Token, error) {
	fields, end := answer.Data, asked.Add(unknownAge).Round(0)
	if answer.Leased {
		end = asked.Add(answer.Lifetime).Round(0)
	}
	if v == versioned {
		var written time.Time
		var err error
		if fields, written, err = decodeVersion(answer.Data); err != nil {
			return credential.Token{}, err
		}
		end = written.Add(credential.Lifetime + answer.Ahead)
	}
	var text string
	raw, ok := fields[field]
	if !ok {
		return credential.Token{}, &missingError{names(fields)}
	}
	if json.Unmarshal(raw, &text) != nil {
		return credential.Token{}, errors.New("the field " + field + " is not a string")
	}
	return withEnd(text, fields[expiryField], answer, end)
}

// withEnd reads the token, which may be stored in one text with its expiry. The token
// expires at end, or else at the stated time, but never after its lease. end is by this
// machine's clock, and a stored expiry by Vault's and GitHub's.
func withEnd(text string, stated json.RawMessage, answer *vaultclient.Answer, end time.Time) (credential.Token, error) {
	token, err := credential.ParseToken([]byte(text), end.Add(-credential.Lifetime-answer.Ahead))
	if err != nil {
		return credential.Token{}, err
	}
	token.Expiry = token.Expiry.Add(answer.Ahead)
	at, ok, err := decodeExpiry(stated)
	if err != nil {
		return credential.Token{}, err
	}
	if ok {
		token.Expiry = at.Add(answer.Ahead)
	}
	if answer.Leased && end.Before(token.Expiry) {
		token.Expiry = end
	}
	return token, nil
}

// decodeVersion unwraps the answer of KV version 2.
func decodeVersion(data map[string]json.RawMessage) (fields map[string]json.RawMessage, written time.Time, err error) {
	var meta struct {
		CreatedTime time.Time `json:"created_time"`
	}
	if json.Unmarshal(data["data"], &fields) != nil || fields == nil ||
		json.Unmarshal(data["metadata"], &meta) != nil || meta.CreatedTime.IsZero() {
		return nil, time.Time{}, errors.New("it is not an answer of a KV engine of version 2")
	}
	return fields, meta.CreatedTime, nil
}

// decodeExpiry reads a time as RFC 3339 or in seconds since 1970. If it is absent, null
// or empty, stated is false.
func decodeExpiry(raw json.RawMessage) (at time.Time, stated bool, err error) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || bytes.Equal(raw, []byte("null")) || bytes.Equal(raw, []byte(`""`)) {
		return time.Time{}, false, nil
	}
	var seconds int64
	if json.Unmarshal(raw, &seconds) == nil {
		if seconds <= 0 || seconds > maxSeconds {
			return time.Time{}, false, errExpiry
		}
		return time.Unix(seconds, 0), true, nil
	}
	if json.Unmarshal(raw, &at) != nil {
		return time.Time{}, false, errExpiry
	}
	return at, true, nil
}

// maxSeconds is the end of the year 9999.
const maxSeconds = 253402300799

var errExpiry = errors.New("its field " + expiryField + " must be a time such as 2026-01-02T15:04:05Z or seconds since 1970")

// names returns the fields that a person may have meant, in order.
func names(fields map[string]json.RawMessage) []string {
	list := slices.Sorted(maps.Keys(fields))
	if len(list) > maxFields {
		list = append(list[:maxFields], "...")
	}
	for i, name := range list {
		if len(name) > 64 {
			list[i] = name[:64] + "..."
		}
	}
	return list
}
