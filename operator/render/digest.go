package render

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	v1 "github.com/gatepass/gatepass/operator/api/v1"
)

// Digest returns 32 hex digits that change when the shape does. An absent field and an
// empty one are the same. It is the same in every process, and in every version that
// knows all fields of the shape: the order in which Go declares them does not count.
func Digest(shape v1.SecretShape) string {
	sum := sha256.Sum256(sorted(shape))
	return hex.EncodeToString(sum[:16])
}

// sorted returns the shape in JSON, its fields in alphabetical order.
func sorted(shape v1.SecretShape) []byte {
	text, err := json.Marshal(shape)
	if err != nil {
		panic("render: a shape of strings, maps and a bool has no JSON: " + err.Error())
	}
	var fields map[string]any
	if err := json.Unmarshal(text, &fields); err != nil {
		panic("render: JSON of our own is not read: " + err.Error())
	}
	text, err = json.Marshal(fields)
	if err != nil {
		panic("render: a map of JSON values has no JSON: " + err.Error())
	}
	return text
}
