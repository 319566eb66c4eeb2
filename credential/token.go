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

// A Token is a short-lived secret and the moment it stops working. The zero
// Token is no token.
//
// A Token never prints itself: fmt, slog, JSON and text encodings show its Hash. [Token.Secret] is the one way to the bytes.
type Token struct {
	secret secret.Text

	Expiry   time.Time // never zero for a token of a Source
	Username string    // empty means DefaultUsername

	// What the issuer said the token opens, for people to read. Nil when the
	// source does not know.
	Repositories  []string
	RepositoryIDs []int64 // of Repositories, in their order
	Permissions   map[string]string
	App           string // client ID of the GitHub App that it was minted by
	// Refs are what the workspace may push, where the token is a session of the gateway.
	// They are texts for people, as the profile writes them.
	Refs []string
	// Author is who commits of the workspace are by ("NAME <EMAIL>"), where the token is a
	// session of the gateway and the broker says so.
	Author string

	cached bool
}

// NewToken holds text until expiry. It does not check the text; one from outside
// goes through [ParseToken].
func NewToken(text string, expiry time.Time) Token {
	return Token{secret: secret.New(text), Expiry: expiry.Round(0)}
}

// Secret returns the token itself, and "" for the zero Token.
func (t Token) Secret() string { return t.secret.Reveal() }

// IsZero reports whether t is no token.
func (t Token) IsZero() bool { return t.Secret() == "" }

// Hash returns base64(sha256(token)), the form of hashed_token in GitHub's
// audit log, so that a token can be traced without being known.
func (t Token) Hash() string {
	sum := sha256.Sum256([]byte(t.Secret()))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// An ID tells tokens from each other in names of a store: 64 bits of the SHA-256.
type ID [8]byte

// String returns the ID in hex.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// ID returns the token's.
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

// GoString is String, for %#v.
func (t Token) GoString() string { return "credential.Token(" + t.String() + ")" }

// MarshalText writes what String returns; JSON and slog use it too.
func (t Token) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// Login returns the user name that goes with the token.
func (t Token) Login() string {
	if t.Username == "" {
		return DefaultUsername
	}
	return t.Username
}

// Cached reports whether the token came out of a cache rather than fresh from
// its source: only such a token may be stale without anybody's fault.
func (t Token) Cached() bool { return t.cached }

// AsCached returns t as one that was kept since an earlier request.
func (t Token) AsCached() Token {
	t.cached = true
	return t
}
