package credential

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"

	"github.com/gatepass/gatepass/internal/usererr"
)

const (
	// MaxToken is the longest token, in bytes. GitHub's stateless form has about 520.
	MaxToken = 8 << 10
	// MaxStored is the longest stored token with its JSON wrapping, in bytes.
	MaxStored = MaxToken + 1<<10
	// Lifetime is how long GitHub's installation access tokens live. A token of unknown
	// expiry expires so long after it was stored.
	Lifetime = time.Hour
)

// ParseToken reads a stored token: a bare token, with at most one newline at the end,
// or a JSON object {"token","expires_at"}. stored is when it was written; a token
// without a stated expiry expires Lifetime later.
//
// Text that is not a token (empty, "null", control characters, blanks, an HTML page,
// other JSON, over MaxToken) is an error that does not repeat the text.
func ParseToken(data []byte, stored time.Time) (Token, error) {
	if len(data) > MaxStored {
		return Token{}, notToken("it is longer than 8 KiB")
	}
	text := strings.TrimSuffix(string(data), "\n")
	if strings.HasPrefix(text, "{") {
		return parseStored([]byte(text), stored)
	}
	if err := CheckSecret(text); err != nil {
		return Token{}, err
	}
	return NewToken(text, stored.Add(Lifetime)), nil
}

// storedToken is the JSON form; other keys are ignored.
type storedToken struct {
	Token     string    `json:"token"`
	ExpiresAt time.Time `json:"expires_at"`
}

func parseStored(data []byte, stored time.Time) (Token, error) {
	var s storedToken
	dec := json.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(&s); err != nil || dec.More() {
		return Token{}, notToken(`it is not the JSON object {"token","expires_at"}`)
	}
	if err := CheckSecret(s.Token); err != nil {
		return Token{}, err
	}
	if s.ExpiresAt.IsZero() {
		s.ExpiresAt = stored.Add(Lifetime)
	}
	return NewToken(s.Token, s.ExpiresAt), nil
}

// CheckSecret returns an error if s cannot be a token. The error never contains s.
func CheckSecret(s string) error {
	switch strings.ToLower(s) {
	case "":
		return notToken("it is empty")
	case "null", "none", "nil", "undefined": // what shells and SDKs print for an empty value
		return notToken("it is a word for an empty value, such as null")
	}
	if len(s) > MaxToken {
		return notToken("it is longer than 8 KiB")
	}
	switch s[0] {
	case '<':
		return notToken("it is a web page")
	case '"', '[':
		return notToken("it is JSON, but not the object {\"token\",\"expires_at\"}")
	}
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] > '~' {
			return notToken("it has spaces, control characters or characters outside ASCII")
		}
	}
	return nil
}

func notToken(why string) error {
	return usererr.New("the source's answer is not a token", why, "check the value that is stored there")
}
