package store

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"time"
)

// sharedFolder has the tokens that the replicas of a broker share, by account.
const sharedFolder = brokerFolder + "/shared"

// Shared is where the replicas of a broker share a token for a repository, or where it
// stands that one of them makes it. id tells it from others of the repository. ends is as
// in [Vended]: no token there lasts longer.
func Shared(owner, repository string, id [16]byte, ends time.Time) (Name, error) {
	login, err := checkLogin(owner)
	return name(err, sharedFolder, login, RepositoryKey(repository)+"."+endingName(id[:], ends))
}

// RepositoryKey stands for the name of a repository, which may begin with a dot. Names
// that differ in case only are one repository.
func RepositoryKey(repository string) string {
	sum := sha256.Sum256([]byte(strings.ToLower(repository)))
	return hex.EncodeToString(sum[:8])
}

// Unshared is where it stands that workspaces are given tokens of an account that are not
// among those which Shared names, until ends.
func Unshared(owner string, ends time.Time) (Name, error) {
	login, err := checkLogin(owner)
	return name(err, sharedFolder, login, unsharedName+strconv.FormatInt(ends.Unix(), 10))
}

const unsharedName = "unshared-"

// IsUnshared reports whether n is one that Unshared made.
func (n Name) IsUnshared() bool { return n.IsShared() && strings.HasPrefix(n.last(), unsharedName) }

// AllShared is the folder of what Shared and Unshared name.
func AllShared() Prefix { return Prefix{sharedFolder} }

// SharedOf is the folder of what Shared and Unshared name for an account.
func SharedOf(owner string) (Prefix, error) {
	login, err := checkLogin(owner)
	n, err := name(err, sharedFolder, login)
	return Prefix(n), err
}

// IsShared reports whether n is one that Shared or Unshared made.
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
