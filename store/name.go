package store

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// The folders of the layout.
const (
	configFolder        = "config/github"
	installationsFolder = configFolder + "/installations"
	workspacesFolder    = "sandbox"
	tokensFolder        = "github-tokens"
	tokenName           = "github-token"
	recordName          = "workspace"
	lockName            = "lock"
	keyMarkName         = "key-being-made"
	supersededFolder    = "superseded"
	vendedFolder        = "vended"
	brokerFolder        = "broker"
	blockedFolder       = brokerFolder + "/barred"
	blockedWorkspaces   = blockedFolder + "/workspaces"
	blockedOwners       = blockedFolder + "/owners"
	blockedApp          = blockedFolder + "/app"
	blockedTokens       = blockedFolder + "/tokens"
	deliveriesFolder    = brokerFolder + "/deliveries"
	joinFolder          = brokerFolder + "/join"
	redeemedFolder      = brokerFolder + "/redeemed"
	usedProofsFolder    = brokerFolder + "/spent"
	sessionKeysFolder   = brokerFolder + "/session-key"
	quarantineFolder    = brokerFolder + "/quarantine"
)

// maxSegment is the longest part of a name between slashes, in bytes. It is
// below what file systems take.
const maxSegment = 128

// A Name names an entry, below the store's own prefix. Only the functions of this
// package make Names, so that a Name cannot leave its folder or mean another entry.
// Every store refuses the zero Name.
type Name struct{ path string }

// String returns the name with slashes, as in "config/github/app-client-id".
func (n Name) String() string { return n.path }

// IsZero reports whether n names nothing.
func (n Name) IsZero() bool { return n.path == "" }

// AppClientID names the entry of the App's client ID.
func AppClientID() Name { return Name{configFolder + "/app-client-id"} }

// PrivateKey names the entry of the App's private key, in PEM.
func PrivateKey() Name { return Name{configFolder + "/private-key"} }

// Signer names the entry with the URL of the KMS key that signs for the App.
func Signer() Name { return Name{configFolder + "/signer"} }

// GitHubURL names the entry with the address of the App's GitHub, unless that is
// github.com.
func GitHubURL() Name { return Name{configFolder + "/github-url"} }

// Probe names an entry that a command writes and deletes to check that the store
// accepts writes, before it does something that cannot be undone.
func Probe() Name { return Name{configFolder + "/probe"} }

// LegacyInstallation names the entry in which the first system kept its one installation.
func LegacyInstallation() Name { return Name{configFolder + "/installation-id"} }

// Installation names the entry with the id of the installation on an account. Logins
// that differ only in case are one account.
func Installation(login string) (Name, error) {
	owner, err := checkLogin(login)
	return name(err, installationsFolder, owner)
}

// Token names the entry from which a workspace reads its token for owner's repositories.
func Token(workspace, owner string) (Name, error) {
	if err := CheckWorkspace(workspace); err != nil {
		return Name{}, err
	}
	login, err := checkLogin(owner)
	return name(err, workspacesFolder, workspace, tokensFolder, login)
}

// OnlyToken names the entry from which a workspace reads its token if all its
// repositories have one owner.
func OnlyToken(workspace string) (Name, error) {
	return name(CheckWorkspace(workspace), workspacesFolder, workspace, tokenName)
}

// Record names a workspace's ledger record, which holds no secrets.
func Record(workspace string) (Name, error) {
	return name(CheckWorkspace(workspace), workspacesFolder, workspace, recordName)
}

// Lock names the entry by which a run locks a workspace.
func Lock(workspace string) (Name, error) {
	return name(CheckWorkspace(workspace), workspacesFolder, workspace, lockName)
}

// Superseded names the entry of a token that another has superseded, until a run
// revokes it. id is the token's.
func Superseded(workspace string, id [8]byte) (Name, error) {
	return name(CheckWorkspace(workspace), workspacesFolder, workspace, supersededFolder, hex.EncodeToString(id[:]))
}

// Blocked names the entry that blocks a workspace: it gets no token.
func Blocked(workspace string) (Name, error) {
	return name(CheckWorkspace(workspace), blockedWorkspaces, workspace)
}

// BlockedOwner names the entry that blocks an account: no workspace gets a token for it.
func BlockedOwner(login string) (Name, error) {
	owner, err := checkLogin(login)
	return name(err, blockedOwners, owner)
}

// BlockedApp names the entry that blocks the App: no workspace gets a token.
func BlockedApp() Name { return Name{blockedApp + "/all"} }

// Delivery names the entry by which one broker claims a webhook delivery. hash is of what
// was delivered.
func Delivery(hash [32]byte) Name {
	return Name{deliveriesFolder + "/" + hex.EncodeToString(hash[:])}
}

// JoinToken names the entry of a join token, which a workspace may use once, by its hash.
func JoinToken(hash [32]byte) Name {
	return Name{joinFolder + "/" + hex.EncodeToString(hash[:])}
}

// Redeemed names the entry that says that a join token was used. The caller that creates
// the entry is the one that used it.
func Redeemed(hash [32]byte) Name {
	return Name{redeemedFolder + "/" + hex.EncodeToString(hash[:])}
}

// UsedProof names the entry that says that a single-use proof was used, by its hash.
func UsedProof(hash [32]byte) Name {
	return Name{usedProofsFolder + "/" + hex.EncodeToString(hash[:])}
}

// SessionKey names the entry of the key with which brokers sign sessions on a day. day
// counts from 1970-01-01.
func SessionKey(day int64) Name {
	return Name{sessionKeysFolder + "/" + strconv.FormatInt(day, 10)}
}

// Quarantine names the entry that says that a push through the git gateway has temporary
// refs at GitHub, by the push's request ID.
func Quarantine(requestID string) (Name, error) {
	if !isSegment(requestID) {
		return Name{}, fmt.Errorf("%q is not a request ID", requestID)
	}
	return Name{quarantineFolder + "/" + requestID}, nil
}

func name(err error, segments ...string) (Name, error) {
	if err != nil {
		return Name{}, err
	}
	return Name{strings.Join(segments, "/")}, nil
}

// ParseName reads what String returns. It takes any name of one or more
// segments, each of letters, digits, dots, hyphens and underscores that begins
// with a letter or digit.
func ParseName(text string) (Name, error) {
	for segment := range strings.SplitSeq(text, "/") {
		if !isSegment(segment) {
			return Name{}, fmt.Errorf("%q is not a name of a store entry", text)
		}
	}
	return Name{text}, nil
}

// A Prefix is a folder of names. The zero Prefix contains all names.
type Prefix struct{ path string }

// Everything is the Prefix of all names.
func Everything() Prefix { return Prefix{} }

// Installations is the folder of installation ids.
func Installations() Prefix { return Prefix{installationsFolder} }

// Workspaces is the folder of all workspaces.
func Workspaces() Prefix { return Prefix{workspacesFolder} }

// Workspace is the folder of one workspace.
func Workspace(id string) (Prefix, error) {
	n, err := name(CheckWorkspace(id), workspacesFolder, id)
	return Prefix(n), err
}

// AllBlocks is the folder of the block list.
func AllBlocks() Prefix { return Prefix{blockedFolder} }

// Deliveries is the folder of the names that Delivery makes.
func Deliveries() Prefix { return Prefix{deliveriesFolder} }

// JoinTokens is the folder of the names that JoinToken makes.
func JoinTokens() Prefix { return Prefix{joinFolder} }

// UsedProofs is the folder of the names that UsedProof makes.
func UsedProofs() Prefix { return Prefix{usedProofsFolder} }

// SessionKeys is the folder of the names that SessionKey makes.
func SessionKeys() Prefix { return Prefix{sessionKeysFolder} }

// Quarantines is the folder of the names that Quarantine makes.
func Quarantines() Prefix { return Prefix{quarantineFolder} }

// String returns the folder without a slash at its end; "" for everything.
func (p Prefix) String() string { return p.path }

// Has reports whether n is below p.
func (p Prefix) Has(n Name) bool {
	return p.path == "" || strings.HasPrefix(n.path, p.path+"/")
}

// CheckWorkspace returns an error unless id is fit for a workspace: letters,
// digits, dots, hyphens and underscores, beginning with a letter or digit.
func CheckWorkspace(id string) error {
	const form = "letters, digits, dots, hyphens and underscores, and begin with a letter or digit"
	if len(id) > maxSegment {
		return fmt.Errorf("workspace %.40q…: an ID of %d bytes is too long; it must have up to %d %s", id, len(id), maxSegment, form)
	}
	if !isSegment(id) {
		return fmt.Errorf("workspace %q: an ID must have up to %d %s", id, maxSegment, form)
	}
	return nil
}

// checkLogin returns login in lower case, and an error unless it can be a GitHub account:
// letters, digits and hyphens, and the underscore of enterprise-managed users.
func checkLogin(login string) (string, error) {
	if !isSegment(login) || len(login) > 39 || strings.Contains(login, ".") {
		return "", fmt.Errorf("%q is not a name of a GitHub account", login)
	}
	return strings.ToLower(login), nil
}

func isSegment(s string) bool {
	for i := 0; i < len(s); i++ {
		if !isAlnum(s[i]) && (i == 0 || strings.IndexByte("._-", s[i]) < 0) {
			return false
		}
	}
	return s != "" && len(s) <= maxSegment
}

func isAlnum(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// Owner returns the account of an installation's or token's name: the last
// segment of what Installation and Token return. ok is false for other names.
func (n Name) Owner() (login string, ok bool) {
	parts := strings.Split(n.path, "/")
	last := parts[len(parts)-1]
	isInstallation := strings.HasPrefix(n.path, installationsFolder+"/") && len(parts) == 4
	isToken := parts[0] == workspacesFolder && len(parts) == 4 && parts[2] == tokensFolder
	return last, isInstallation || isToken
}

// Workspace returns the workspace that a name belongs to. ok is false for names
// outside of the workspaces' folder.
func (n Name) Workspace() (id string, ok bool) {
	parts := strings.Split(n.path, "/")
	if parts[0] != workspacesFolder || len(parts) < 3 {
		return "", false
	}
	return parts[1], true
}

// IsToken reports whether a workspace reads a token from n.
func (n Name) IsToken() bool {
	_, ok := n.Workspace()
	_, owned := n.Owner()
	return ok && (owned || strings.HasSuffix(n.path, "/"+tokenName))
}

// IsKeyMark reports whether n was made by KeyMark.
func (n Name) IsKeyMark() bool { return n.isOwn(keyMarkName) }

// IsLock reports whether n is the lock of a workspace.
func (n Name) IsLock() bool { return n.isOwn(lockName) }

// IsSuperseded reports whether n is the entry of a token that waits to be revoked.
func (n Name) IsSuperseded() bool { return n.isIn(supersededFolder) }

// IsVended reports whether n is the entry of a token that a broker vended.
func (n Name) IsVended() bool { return n.isIn(vendedFolder) }

// isIn reports whether n is in that folder of a workspace.
func (n Name) isIn(folder string) bool {
	parts := strings.Split(n.path, "/")
	return len(parts) == 4 && parts[0] == workspacesFolder && parts[2] == folder
}

// JoinToken returns the hash of a name that JoinToken made.
func (n Name) JoinToken() (hash [32]byte, ok bool) {
	text, ok := strings.CutPrefix(n.path, joinFolder+"/")
	sum, err := hex.DecodeString(text)
	if !ok || err != nil || len(sum) != len(hash) {
		return hash, false
	}
	return [32]byte(sum), true
}

// SessionKeyDay returns the day of a name that SessionKey made.
func (n Name) SessionKeyDay() (day int64, ok bool) {
	text, ok := strings.CutPrefix(n.path, sessionKeysFolder+"/")
	day, err := strconv.ParseInt(text, 10, 64)
	return day, ok && err == nil
}

// IsBlockedToken reports whether n was made by BlockedToken.
func (n Name) IsBlockedToken() bool { return strings.HasPrefix(n.path, blockedTokens+"/") }

// IsSecret reports whether the entry holds a token of a workspace: one that the workspace
// reads, one to be revoked, or one that a broker vended.
func (n Name) IsSecret() bool { return n.IsToken() || n.IsSuperseded() || n.IsVended() }

// KeyMark names the entry that marks that a key for a workspace is being made.
func KeyMark(workspace string) (Name, error) {
	return name(CheckWorkspace(workspace), workspacesFolder, workspace, keyMarkName)
}

// IsRecord reports whether n is a ledger record.
func (n Name) IsRecord() bool { return n.isOwn(recordName) }

// isOwn reports whether n is the entry with that last segment, directly in a
// workspace's folder.
func (n Name) isOwn(last string) bool {
	parts := strings.Split(n.path, "/")
	return len(parts) == 3 && parts[0] == workspacesFolder && parts[2] == last
}

// WorkspacesAfter returns a name for Page. The page below Workspaces then begins with
// the first entry of the first workspace whose ID begins with begin and sorts after the
// workspace after. Both may be "". No entry has that name.
func WorkspacesAfter(after, begin string) (Name, error) {
	place := ""
	for id, end := range map[string]string{begin: "", after: "/~"} { // no segment begins with a tilde
		if id == "" {
			continue
		}
		if err := CheckWorkspace(id); err != nil {
			return Name{}, err
		}
		place = max(place, workspacesFolder+"/"+id+end)
	}
	return Name{place}, nil
}

// CompareWorkspaces compares IDs in the order in which pages list their entries: as if
// each ID ended with a slash.
func CompareWorkspaces(a, b string) int { return strings.Compare(a+"/", b+"/") }
