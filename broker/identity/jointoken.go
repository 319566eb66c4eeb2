package identity

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
	"time"
	"unicode"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/internal/secret"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/store"
)

const (
	// JoinTokenPrefix is the prefix of every join token, so that people and secret
	// scanners recognize one.
	JoinTokenPrefix = "gpj_"

	// MaxJoinTTL is the longest lifetime of a join token.
	MaxJoinTTL = 10 * time.Minute

	tokenSize = 32 // random bytes
	sumSize   = 4  // bytes of the checksum after them
	maxRule   = 128
)

// ErrTypo reports text that cannot be a join token: it was truncated or mistyped.
var ErrTypo = errors.New("this is not a complete join token; copy it again")

var letters = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// A JoinToken can be exchanged once for a session. It does not print itself.
type JoinToken struct{ secret.Text }

// NewJoinToken makes a random token.
func NewJoinToken() JoinToken {
	data := make([]byte, tokenSize, tokenSize+sumSize)
	rand.Read(data) // never fails
	return JoinToken{secret.New(spell(data))}
}

// spell adds a checksum. The checksum tells a typing error from an unknown token; it gives no
// security.
func spell(data []byte) string {
	return JoinTokenPrefix + letters.EncodeToString(binary.BigEndian.AppendUint32(data, crc32.ChecksumIEEE(data)))
}

// ParseJoinToken parses a token in its one spelling, or returns ErrTypo.
func ParseJoinToken(text string) (JoinToken, error) {
	rest, ok := strings.CutPrefix(text, JoinTokenPrefix)
	data, err := letters.DecodeString(rest)
	if !ok || err != nil || len(data) != tokenSize+sumSize || spell(data[:tokenSize:tokenSize]) != text {
		return JoinToken{}, ErrTypo
	}
	return JoinToken{secret.New(text)}, nil
}

// Hash is what the store knows of the token.
func (t JoinToken) Hash() [32]byte { return sha256.Sum256([]byte(t.Reveal())) }

// record is the store's entry for a token's hash.
type record struct {
	Workspace string    `json:"workspace"`
	Rule      string    `json:"rule"`
	Expires   time.Time `json:"expires_at"`
}

// IssueJoinToken makes a token for a session of the workspace, by the rule of that name. It
// can be used once within ttl. Tokens that expired long ago are deleted from the store.
func IssueJoinToken(ctx context.Context, s store.Store, now time.Time, workspace, rule string, ttl time.Duration) (JoinToken, error) {
	what := "create a join token for workspace " + workspace
	if err := CheckJoinRule(rule); err != nil {
		return JoinToken{}, usererr.Wrap(what, err, "")
	}
	if err := store.CheckWorkspace(workspace); err != nil {
		return JoinToken{}, usererr.Wrap("create a join token", err, "")
	}
	if ttl <= 0 || ttl > MaxJoinTTL {
		return JoinToken{}, usererr.New(what, fmt.Sprintf("its lifetime must be above 0 and at most %v", MaxJoinTTL), "create it just before it is used")
	}
	text, err := json.Marshal(record{workspace, rule, now.Add(ttl).UTC()})
	if err != nil {
		return JoinToken{}, usererr.Wrap(what, err, "")
	}
	t := NewJoinToken()
	if err := s.Put(ctx, store.JoinToken(t.Hash()), store.NewSecret(string(text)), store.CreateOnly); err != nil {
		return JoinToken{}, usererr.Wrap(what, err, "")
	}
	sweep(ctx, s, now)
	return t, nil
}

// CheckJoinRule returns an error unless name is a valid name of a rule for join tokens.
func CheckJoinRule(name string) error {
	if name == "" || len(name) > maxRule || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return fmt.Errorf("a rule for join tokens must have a name of up to %d printable bytes", maxRule)
	}
	return nil
}

const (
	keptFor  = time.Hour // after expiry: a late token is told from an unknown one
	maxSwept = 200       // tokens read in one sweep
)

// sweep deletes expired tokens. It deletes the entry that marks a token as used last, so that
// the token cannot be used again in between. After an error of the store, a later sweep
// continues.
func sweep(ctx context.Context, s store.Store, now time.Time) {
	var hashes [][32]byte
	for name, err := range s.List(ctx, store.JoinTokens()) {
		if err != nil || len(hashes) == maxSwept {
			break
		}
		if hash, ok := name.JoinToken(); ok {
			hashes = append(hashes, hash)
		}
	}
	for _, hash := range hashes {
		r, err := load(ctx, s, hash)
		if err != nil || now.Sub(r.Expires) < keptFor {
			continue
		}
		if s.Delete(ctx, store.JoinToken(hash)) == nil {
			_ = s.Delete(ctx, store.Redeemed(hash))
		}
	}
}

func load(ctx context.Context, s store.Store, hash [32]byte) (record, error) {
	name := store.JoinToken(hash)
	entry, err := s.Get(ctx, name)
	if err != nil {
		return record{}, err
	}
	var r record
	if err := json.Unmarshal([]byte(entry.Value.Reveal()), &r); err != nil || store.CheckWorkspace(r.Workspace) != nil || CheckJoinRule(r.Rule) != nil {
		return record{}, usererr.New("read "+name.String(), "it is not a record of a join token", "create another join token")
	}
	return r, nil
}

// JoinMethod is the method name of callers with a session.
const JoinMethod = "session"

const retryAfter = 3 * time.Second

// MaxSleep is the longest that a rule may let workspaces sleep. A [Keyset] keeps the key that
// signed a session for as long.
const MaxSleep = 24 * time.Hour

// JoinSettings are those of a rule for join tokens. The token names the rule and the
// workspace.
type JoinSettings struct {
	// Sleep is how long after its expiry a session can be renewed once, by a workspace that
	// was suspended; 0 disables it.
	Sleep time.Duration `yaml:"sleep" json:",omitzero"`
}

// Check returns an error unless Sleep is from 0 to MaxSleep.
func (s JoinSettings) Check() error {
	if s.Sleep < 0 || s.Sleep > MaxSleep {
		return errors.New("join: sleep must be from 0 to " + MaxSleep.String())
	}
	return nil
}

// Match returns the matcher of the rule with that name.
func (JoinSettings) Match(rule string) broker.Exactly { return broker.Exactly{"rule": rule} }
