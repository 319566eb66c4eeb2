package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// RefusedPushesPath is where a workspace reports a push that its guard refused.
const RefusedPushesPath = "/v1/refused-pushes"

// The limits of a RefusedPush: a number of updates, and sizes in bytes.
const (
	MaxRefusedPush   = 64 << 10 // of a request's body
	MaxPushUpdates   = 32
	MaxPushRef       = 1024
	MaxPushReason    = 300
	refusedPushUsage = `{"host","repo","updates":[{"ref","action","reason"}]}`
)

// PushActions are what a refused push would have done to a ref. "move" is for a tag
// that already exists; "unknown" is for what the guard did not check.
var PushActions = []string{"create", "update", "force", "delete", "move", "unknown"}

// A RefusedPush is a workspace's report of a push that its guard refused. It grants
// nothing and proves nothing.
type RefusedPush struct {
	Host    string          `json:"host"`    // as in a TokenRequest
	Repo    Repo            `json:"repo"`    // "owner/name"
	Updates []RefusedUpdate `json:"updates"` // at least one
}

// A RefusedUpdate is one ref that a refused push would have changed.
type RefusedUpdate struct {
	Ref    string `json:"ref"`    // in full, "refs/…"
	Action string `json:"action"` // one of PushActions
	Reason string `json:"reason"` // for people
}

// Check returns an error that says what is wrong with p. It refuses control characters
// in texts. Code that shows a text must escape other misleading characters.
func (p RefusedPush) Check() error {
	if err := (TokenRequest{Host: p.Host, Repo: p.Repo, Operation: Write}).Check(); err != nil {
		return err
	}
	if len(p.Updates) == 0 || len(p.Updates) > MaxPushUpdates {
		return errUpdates
	}
	for _, u := range p.Updates {
		if err := u.check(); err != nil {
			return err
		}
	}
	return nil
}

func (u RefusedUpdate) check() error {
	switch {
	case !strings.HasPrefix(u.Ref, "refs/") || len(u.Ref) > MaxPushRef || !isText(u.Ref):
		return fmt.Errorf(`"ref" must begin with refs/ and have up to %d bytes without control characters`, MaxPushRef)
	case !slices.Contains(PushActions, u.Action):
		return errors.New(`"action" must be one of ` + strings.Join(PushActions, ", "))
	case u.Reason == "" || len(u.Reason) > MaxPushReason || !isText(u.Reason):
		return fmt.Errorf(`"reason" must be a string of up to %d bytes without control characters`, MaxPushReason)
	}
	return nil
}

func isText(s string) bool { return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl) }

// EncodeRefusedPush returns p as JSON. If all updates would be longer than
// MaxRefusedPush, it leaves out the last ones.
func EncodeRefusedPush(p RefusedPush) ([]byte, error) {
	for {
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false) // an escape takes six bytes
		if err := enc.Encode(p); err != nil {
			return nil, err
		}
		if b.Len() <= MaxRefusedPush || len(p.Updates) <= 1 {
			return b.Bytes(), nil
		}
		p.Updates = p.Updates[:len(p.Updates)-1]
	}
}

var (
	errNotPush = errors.New("the request is not the JSON object " + refusedPushUsage)
	errUpdates = fmt.Errorf(`"updates" must have from 1 to %d entries`, MaxPushUpdates)
)

// DecodeRefusedPush reads and checks a report. It is as strict as DecodeRequest.
func DecodeRefusedPush(data []byte) (RefusedPush, error) {
	var p RefusedPush
	if err := decodeObject(data, MaxRefusedPush, errNotPush, p.set); err != nil {
		return RefusedPush{}, err
	}
	return p, p.Check()
}

// set reads the value of a key.
func (p *RefusedPush) set(key string, dec *json.Decoder) (err error) {
	switch key {
	case "host":
		p.Host, err = decodeString(key, dec)
	case "repo":
		p.Repo, err = decodeRepo(key, dec)
	case "updates":
		p.Updates, err = decodeUpdates(dec)
	default:
		return unknownKey(key)
	}
	return err
}

func decodeUpdates(dec *json.Decoder) ([]RefusedUpdate, error) {
	if t, err := dec.Token(); err != nil || t != json.Delim('[') {
		return nil, errors.New(`the value of "updates" is not a list`)
	}
	var updates []RefusedUpdate
	for dec.More() {
		if len(updates) == MaxPushUpdates {
			return nil, errUpdates
		}
		var u RefusedUpdate
		if err := decodeKeys(dec, errNotPush, u.set); err != nil {
			return nil, err
		}
		updates = append(updates, u)
	}
	if _, err := dec.Token(); err != nil {
		return nil, errNotPush
	}
	return updates, nil
}

// set reads the value of a key.
func (u *RefusedUpdate) set(key string, dec *json.Decoder) (err error) {
	switch key {
	case "ref":
		u.Ref, err = decodeString(key, dec)
	case "action":
		u.Action, err = decodeString(key, dec)
	case "reason":
		u.Reason, err = decodeString(key, dec)
	default:
		return unknownKey(key)
	}
	return err
}

// shownKey is how many bytes of a key an error shows. A key may be as long as the
// request.
const shownKey = 40

func unknownKey(key string) error { return fmt.Errorf("unknown key %.*q", shownKey, key) }
