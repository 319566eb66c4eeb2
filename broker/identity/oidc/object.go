package oidc

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"unicode/utf8"
)

// maxDepth is how deep a token's objects and lists may be in each other.
const maxDepth = 16

var (
	errNoObject = errors.New("it is no JSON object")
	errTwice    = errors.New("it names a claim twice")
	errDeep     = errors.New("it is nested too deep")
	errText     = errors.New("it has a text that is no Unicode")
)

// decodeObject reads one JSON object and nothing after it. It refuses what
// readers of JSON differ about: names given twice, and texts with what is no
// character (encoding/json makes one replacement character of all those, and so
// the same text of different ones). Numbers are json.Number.
func decodeObject(data []byte) (map[string]any, error) {
	if !utf8.Valid(data) {
		return nil, errText
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	v, err := decodeValue(dec, 0)
	if err != nil {
		return nil, err
	}
	object, ok := v.(map[string]any)
	if _, err := dec.Token(); !ok || !errors.Is(err, io.EOF) {
		return nil, errNoObject
	}
	return object, nil
}

func decodeValue(dec *json.Decoder, depth int) (any, error) {
	token, err := dec.Token()
	if err != nil {
		return nil, errNoObject
	}
	switch token := token.(type) {
	case json.Delim:
		if depth == maxDepth {
			return nil, errDeep
		}
		if token == '{' {
			return decodeMembers(dec, depth+1)
		}
		return decodeElements(dec, depth+1)
	case string:
		if strings.ContainsRune(token, utf8.RuneError) {
			return nil, errText
		}
	}
	return token, nil
}

func decodeMembers(dec *json.Decoder, depth int) (any, error) {
	object := map[string]any{}
	for dec.More() {
		name, err := decodeValue(dec, depth)
		if err != nil {
			return nil, err
		}
		text, ok := name.(string)
		if !ok {
			return nil, errNoObject
		}
		if _, isThere := object[text]; isThere {
			return nil, errTwice
		}
		if object[text], err = decodeValue(dec, depth); err != nil {
			return nil, err
		}
	}
	return object, closed(dec)
}

func decodeElements(dec *json.Decoder, depth int) (any, error) {
	list := []any{}
	for dec.More() {
		v, err := decodeValue(dec, depth)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, closed(dec)
}

// closed reads the end of an object or a list.
func closed(dec *json.Decoder) error {
	if _, err := dec.Token(); err != nil {
		return errNoObject
	}
	return nil
}
