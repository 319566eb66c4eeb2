package store

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"time"
)

// TokenGrace is how long after a token expires its entries stay in the store, so that a
// clock that is slightly wrong deletes no entry of a live token.
const TokenGrace = time.Minute

// Vended names the entry of a token that a broker has vended to a workspace, so that
// any replica can revoke it until it expires. The name includes the expiry, ends, in
// whole seconds, so that a reader need not read the entry. The zero time is omitted, as
// in names of earlier brokers.
func Vended(workspace string, id [8]byte, ends time.Time) (Name, error) {
	return name(CheckWorkspace(workspace), workspacesFolder, workspace, vendedFolder, endingName(id[:], ends))
}

// BlockedToken names the entry that marks a token as revoked until it would have
// expired, so that no replica vends it from its cache. ends is as in [Vended].
func BlockedToken(id [8]byte, ends time.Time) Name {
	return Name{blockedTokens + "/" + endingName(id[:], ends)}
}

func endingName(id []byte, ends time.Time) string {
	text := hex.EncodeToString(id)
	if ends.IsZero() {
		return text
	}
	return text + "-" + strconv.FormatInt(ends.Add(time.Second-1).Unix(), 10)
}

// Ends returns when the token of a name made by Vended, BlockedToken or Shared expires.
// ok is false if the name does not say, and for all other names.
func (n Name) Ends() (ends time.Time, ok bool) {
	if !n.IsVended() && !n.IsBlockedToken() && !n.IsShared() {
		return time.Time{}, false
	}
	_, text, ok := strings.Cut(n.last(), "-")
	seconds, err := strconv.ParseInt(text, 10, 64)
	if !ok || err != nil {
		return time.Time{}, false
	}
	return time.Unix(seconds, 0), true
}

// TokenID returns the ID of the token that a name made by Vended is for, in hex; ""
// for others.
func (n Name) TokenID() string {
	if !n.IsVended() {
		return ""
	}
	return idIn(n.last())
}

// idIn returns the token's ID from the last segment of a name.
func idIn(last string) string {
	id, _, _ := strings.Cut(last, "-")
	return id
}

func (n Name) last() string { return n.path[strings.LastIndexByte(n.path, '/')+1:] }

// sharedFolder holds the tokens that the replicas of a broker share, by account.
const sharedFolder = brokerFolder + "/shared"

// Shared names the entry in which the replicas of a broker share a token for a
// repository, or announce that one of them is minting it. id distinguishes tokens of
// one repository. ends is as in [Vended]; no token of the entry lives longer.
func Shared(owner, repository string, id [16]byte, ends time.Time) (Name, error) {
	login, err := checkLogin(owner)
	return name(err, sharedFolder, login, RepositoryKey(repository)+"."+endingName(id[:], ends))
}

// RepositoryKey encodes the name of a repository, which may begin with a dot. Names that
// differ only in case are one repository.
func RepositoryKey(repository string) string {
	sum := sha256.Sum256([]byte(strings.ToLower(repository)))
	return hex.EncodeToString(sum[:8])
}

// Unshared names the entry that says, until ends, that workspaces get tokens of the
// account that Shared does not name.
func Unshared(owner string, ends time.Time) (Name, error) {
	login, err := checkLogin(owner)
	return name(err, sharedFolder, login, unsharedName+strconv.FormatInt(ends.Unix(), 10))
}

const unsharedName = "unshared-"

// IsUnshared reports whether n was made by Unshared.
func (n Name) IsUnshared() bool { return n.IsShared() && strings.HasPrefix(n.last(), unsharedName) }

// AllShared is the folder of the names that Shared and Unshared make.
func AllShared() Prefix { return Prefix{sharedFolder} }

// SharedOf is the folder of the names that Shared and Unshared make for an account.
func SharedOf(owner string) (Prefix, error) {
	login, err := checkLogin(owner)
	n, err := name(err, sharedFolder, login)
	return Prefix(n), err
}

// IsShared reports whether n was made by Shared or Unshared.
func (n Name) IsShared() bool { return AllShared().Has(n) }

// SharedKey returns the RepositoryKey of the repository that a name made by Shared is for;
// "" for other names.
func (n Name) SharedKey() string {
	if !n.IsShared() {
		return ""
	}
	key, _, _ := strings.Cut(n.last(), ".")
	return key
}
