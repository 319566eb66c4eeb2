package credential

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"time"

	"github.com/gatepass/gatepass/internal/secret"
)

// DefaultUsername is the user name GitHub documents for installation access
// tokens over https.
const DefaultUsername = "x-access-token"

// A Token is a short-lived secret and its expiry. The zero Token holds no token.
//
// A Token never prints itself: fmt, slog, JSON and text encodings show its Hash. Only
// [Token.Secret] returns the bytes.
type Token struct {
	secret secret.Text

	Expiry   time.Time // never zero for a Source's token
	Username string    // empty means DefaultUsername

	// The issuer's description of what the token opens, for display. Nil if the source
	// does not know.
	Repositories  []string
	RepositoryIDs []int64 // of Repositories, in the same order
	Permissions   map[string]string
	App           string // client ID of the GitHub App that minted it
	// Refs are the refs that the workspace may push, if the token is a session of the
	// gateway. They are texts for people, as the profile writes them.
	Refs []string
	// Author is the author of the workspace's commits ("NAME <EMAIL>"), if the token is
	// a session of the gateway and the broker says so.
	Author string

	cached bool
}

// NewToken returns a Token with text and expiry. It does not check the text; use
// [ParseToken] for text from outside.
func NewToken(text string, expiry time.Time) Token {
	return Token{secret: secret.New(text), Expiry: expiry.Round(0)}
}

// Secret returns the token itself, and "" for the zero Token.
func (t Token) Secret() string { return t.secret.Reveal() }

// IsZero reports whether t is the zero Token.
func (t Token) IsZero() bool { return t.Secret() == "" }

// Hash returns base64(sha256(token)), the form of hashed_token in GitHub's audit log,
// to trace a token without revealing it.
func (t Token) Hash() string {
	sum := sha256.Sum256([]byte(t.Secret()))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// An ID distinguishes tokens in the names of a store: 64 bits of the SHA-256.
type ID [8]byte

// String returns the ID in hex.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// ID returns the token's ID.
func (t Token) ID() ID {
	sum := sha256.Sum256([]byte(t.Secret()))
	return ID(sum[:8])
}

// String returns "sha256:" and the Hash; "none" for the zero Token.
func (t Token) String() string {
	if t.IsZero() {
		return "none"
	}
	return "sha256:" + t.Hash()
}

// GoString is like String, for %#v.
func (t Token) GoString() string { return "credential.Token(" + t.String() + ")" }

// MarshalText returns the text of String; JSON and slog use it too.
func (t Token) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// Login returns the user name for the token.
func (t Token) Login() string {
	if t.Username == "" {
		return DefaultUsername
	}
	return t.Username
}

// Cached reports whether the token came from a cache and not fresh from its source.
// Only a cached token can be stale without an error of the source.
func (t Token) Cached() bool { return t.cached }

// AsCached returns t marked as cached.
func (t Token) AsCached() Token {
	t.cached = true
	return t
}
