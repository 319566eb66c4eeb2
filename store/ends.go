package store

import (
	"encoding/hex"
	"strconv"
	"strings"
	"time"
)

// TokenGrace is how long after a token's end its entries stay in the store, so that a
// clock that is a little off deletes no entry of a live token.
const TokenGrace = time.Minute

// Vended is where a token is kept that a broker has given to a workspace, until it
// expires, so that any replica can revoke it. ends is when it expires: the name says it,
// in whole seconds, so that no entry is read to find out. Brokers of before left it out,
// and so does the zero time.
func Vended(workspace string, id [8]byte, ends time.Time) (Name, error) {
	return name(CheckWorkspace(workspace), workspacesFolder, workspace, vendedFolder, endingName(id[:], ends))
}

// BlockedToken is where it stands that a token was revoked, until it would have expired,
// so that no replica of a broker gives it from memory. ends is as in [Vended].
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

// Ends returns when the token of a name that Vended, BlockedToken or Shared made expires. ok is
// false where the name does not say, and for all other names.
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

// idIn is the token's ID in the last segment of a name.
func idIn(last string) string {
	id, _, _ := strings.Cut(last, "-")
	return id
}

func (n Name) last() string { return n.path[strings.LastIndexByte(n.path, '/')+1:] }
