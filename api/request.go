package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"strings"
	"unicode/utf8"
)

// EncodeRequest returns r as JSON.
func EncodeRequest(r TokenRequest) ([]byte, error) { return json.Marshal(r) }

// DecodeRequest reads and checks a request. It is stricter than encoding/json: it wants
// each key exactly once, in exact case, no unknown key, and nothing after the object.
func DecodeRequest(data []byte) (TokenRequest, error) {
	var r TokenRequest
	if err := decodeObject(data, MaxRequest, errNotObject, r.set); err != nil {
		return TokenRequest{}, err
	}
	return r, r.Check()
}

var errNotObject = errors.New(`the request is not the JSON object {"host","repo","operation"}`)

// decodeObject reads one object of up to limit bytes that is the whole request. It
// calls set to read the value of each key.
func decodeObject(data []byte, limit int, isNone error, set func(key string, dec *json.Decoder) error) error {
	if len(data) > limit {
		return fmt.Errorf("the request is over %d bytes", limit)
	}
	if !utf8.Valid(data) {
		return errors.New("the request is not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if err := decodeKeys(dec, isNone, set); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("the request has text after its JSON")
	}
	return nil
}

// decodeKeys reads the next object. It calls set to read the value of each key.
func decodeKeys(dec *json.Decoder, isNone error, set func(key string, dec *json.Decoder) error) error {
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return isNone
	}
	seen := map[string]bool{}
	for dec.More() {
		k, err := dec.Token()
		key, ok := k.(string)
		if err != nil || !ok {
			return isNone
		}
		if seen[key] {
			return fmt.Errorf("key %.*q is given twice", shownKey, key)
		}
		seen[key] = true
		if err := set(key, dec); err != nil {
			return err
		}
	}
	if _, err := dec.Token(); err != nil {
		return isNone
	}
	return nil
}

// set reads the value of a key.
func (r *TokenRequest) set(key string, dec *json.Decoder) (err error) {
	switch key {
	case "host":
		r.Host, err = decodeString(key, dec)
	case "repo":
		r.Repo, err = decodeRepo(key, dec)
	case "operation":
		r.Operation, err = decodeString(key, dec)
	case "permissions":
		r.Permissions, err = decodeLevels(key, dec)
	case "repository_id":
		r.RepositoryID, err = decodeID(key, dec)
	case "min_ttl":
		r.MinTTL, err = decodeSeconds(key, dec)
	default:
		return unknownKey(key)
	}
	return err
}

func decodeString(key string, dec *json.Decoder) (string, error) {
	v, err := dec.Token()
	if err != nil {
		return "", errNotObject
	}
	value, ok := v.(string)
	if !ok {
		return "", fmt.Errorf("the value of %.*q is not a string", shownKey, key)
	}
	return value, nil
}

// decodeRepo reads the name of a repository. A malformed name becomes the zero Repo,
// which Check refuses.
func decodeRepo(key string, dec *json.Decoder) (Repo, error) {
	text, err := decodeString(key, dec)
	r, _ := ParseRepo(text)
	return r, err
}

// decodeID reads a whole number above zero.
func decodeID(key string, dec *json.Decoder) (int64, error) {
	v, err := dec.Token()
	if err != nil {
		return 0, errNotObject
	}
	id, ok := v.(float64)
	if !ok || id != math.Trunc(id) || id < 1 || id > maxID {
		return 0, fmt.Errorf("the value of %q is not an ID", key)
	}
	return int64(id), nil
}

func decodeSeconds(key string, dec *json.Decoder) (int, error) {
	v, err := dec.Token()
	if err != nil {
		return 0, errNotObject
	}
	seconds, ok := v.(float64)
	if !ok || seconds != math.Trunc(seconds) || math.Abs(seconds) > MaxMinTTL {
		return 0, fmt.Errorf("the value of %q must be a number of seconds up to %d", key, MaxMinTTL)
	}
	return int(seconds), nil
}

// decodeLevels reads an object of strings, each key once.
func decodeLevels(key string, dec *json.Decoder) (map[string]string, error) {
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, fmt.Errorf("the value of %q is not an object", key)
	}
	levels := map[string]string{}
	for dec.More() {
		k, err := dec.Token()
		name, ok := k.(string)
		if err != nil || !ok {
			return nil, errNotObject
		}
		level, err := decodeString(name, dec)
		if err != nil {
			return nil, err
		}
		if _, twice := levels[name]; twice {
			return nil, fmt.Errorf("permission %.*q is given twice", shownKey, name)
		}
		levels[name] = level
	}
	if _, err := dec.Token(); err != nil {
		return nil, errNotObject
	}
	return levels, nil
}

var errNotJSON = errors.New("it is not JSON")

// decodeStrict reads one JSON object into a struct. encoding/json ignores the case of
// keys, and takes the last of repeated keys. So it could read a request differently
// from a person, or from a filter in front of the broker. Therefore each key must be
// written as the struct's tag, and no object may repeat a key, even in another case.
func decodeStrict(data []byte, into any) error {
	if err := CheckJSON(data, true); err != nil {
		return err
	}
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(data, &keys); err != nil || keys == nil {
		return errNotJSON
	}
	known := keysOf(reflect.TypeOf(into).Elem())
	for key := range keys {
		if !known[key] {
			return unknownKey(key)
		}
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	dec.UseNumber()
	return dec.Decode(into)
}

// keysOf returns the JSON keys of a struct that has a tag for each field.
func keysOf(t reflect.Type) map[string]bool {
	keys := map[string]bool{}
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		keys[name] = true
	}
	return keys
}

// CheckJSON returns an error unless data is one JSON value in UTF-8 in which no object
// repeats a key. With fold, keys that differ only in case count as repeated.
func CheckJSON(data []byte, fold bool) error {
	if !utf8.Valid(data) {
		return errors.New("it is not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if err := checkValue(dec, fold, 0); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("it has text after its JSON")
	}
	return nil
}

// maxDepth is how deep objects and lists may be nested.
const maxDepth = 100

func checkValue(dec *json.Decoder, fold bool, depth int) error {
	token, err := dec.Token()
	if err != nil {
		return errNotJSON
	}
	begin, isNested := token.(json.Delim)
	if !isNested {
		return nil
	}
	if depth == maxDepth {
		return errors.New("it is nested too deep")
	}
	seen := map[string]bool{}
	for dec.More() {
		if begin == '{' {
			if err := checkKey(dec, fold, seen); err != nil {
				return err
			}
		}
		if err := checkValue(dec, fold, depth+1); err != nil {
			return err
		}
	}
	if _, err := dec.Token(); err != nil {
		return errNotJSON
	}
	return nil
}

func checkKey(dec *json.Decoder, fold bool, seen map[string]bool) error {
	token, err := dec.Token()
	key, ok := token.(string)
	if err != nil || !ok {
		return errNotJSON
	}
	same := key
	if fold {
		same = strings.ToLower(strings.ToUpper(key)) // as encoding/json does: K and \u212a are the same letter
	}
	if seen[same] {
		return fmt.Errorf("key %.*q is given twice", shownKey, key)
	}
	seen[same] = true
	return nil
}
