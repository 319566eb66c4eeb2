package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"unicode/utf8"
)

var errNotJSON = errors.New("it is not JSON")

// decodeStrict reads one JSON object into a struct. encoding/json takes keys in any
// case, and the last of those that are given twice: what a person reads in a request,
// or what a filter before the broker let through, would not be what is done. Here each
// key of the struct is written as it is described, and no object has a key twice, in
// another case either.
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

// keysOf are the keys of a struct that has a tag for each.
func keysOf(t reflect.Type) map[string]bool {
	keys := map[string]bool{}
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		keys[name] = true
	}
	return keys
}

// CheckJSON returns an error unless data is one JSON value in UTF-8 in which no object
// has a key twice. With fold, keys that differ in case alone are the same.
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
		return errors.New("something follows it")
	}
	return nil
}

// maxDepth bounds how deep objects and lists are in each other.
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
		same = strings.ToLower(strings.ToUpper(key)) // as encoding/json does: K and \u212a are one letter
	}
	if seen[same] {
		return fmt.Errorf("key %.*q is given twice", shownKey, key)
	}
	seen[same] = true
	return nil
}
