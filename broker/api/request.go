package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// EncodeRequest writes r for the wire.
func EncodeRequest(r TokenRequest) ([]byte, error) { return json.Marshal(r) }

// DecodeRequest reads and checks a request. It is strict where encoding/json is
// not: each key exactly once and letter for letter, no other key, nothing
// behind the object.
func DecodeRequest(data []byte) (TokenRequest, error) {
	if len(data) > MaxRequest {
		return TokenRequest{}, fmt.Errorf("the request is over %d bytes", MaxRequest)
	}
	if !utf8.Valid(data) {
		return TokenRequest{}, errors.New("the request is not UTF-8")
	}
	r, err := decodeObject(json.NewDecoder(bytes.NewReader(data)))
	if err != nil {
		return TokenRequest{}, err
	}
	return r, r.Check()
}

var errNotObject = errors.New(`the request is not the JSON object {"host","repo","operation"}`)

func decodeObject(dec *json.Decoder) (TokenRequest, error) {
	var r TokenRequest
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return r, errNotObject
	}
	seen := make(map[string]bool, 3)
	for dec.More() {
		key, value, err := decodeMember(dec)
		if err != nil {
			return r, err
		}
		if seen[key] {
			return r, fmt.Errorf("key %q is given twice", key)
		}
		seen[key] = true
		if err := r.set(key, value); err != nil {
			return r, err
		}
	}
	if _, err := dec.Token(); err != nil {
		return r, errNotObject
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return r, errors.New("something follows the request")
	}
	return r, nil
}

func decodeMember(dec *json.Decoder) (key, value string, err error) {
	k, err := dec.Token()
	if err != nil {
		return "", "", errNotObject
	}
	key, _ = k.(string)
	v, err := dec.Token()
	if err != nil {
		return "", "", errNotObject
	}
	value, ok := v.(string)
	if !ok {
		return "", "", fmt.Errorf("the value of %q is no string", key)
	}
	return key, value, nil
}

func (r *TokenRequest) set(key, value string) error {
	switch key {
	case "host":
		r.Host = value
	case "repo":
		r.Repo = value
	case "operation":
		r.Operation = value
	default:
		return fmt.Errorf("unknown key %q", key)
	}
	return nil
}
