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
	spentFolder         = brokerFolder + "/spent"
	sessionKeysFolder   = brokerFolder + "/session-key"
	quarantineFolder    = brokerFolder + "/quarantine"
)

// maxSegment is the longest part of a name between slashes, in bytes. It is
// below what file systems take.
const maxSegment = 128

// A Name says where something is kept, below the store's own prefix. It is made
// by the functions of this package only, so that none can climb out of its
// folder or mean another entry. The zero Name is refused by every store.
type Name struct{ path string }

// String returns the name with slashes, as in "config/github/app-client-id".
func (n Name) String() string { return n.path }

// IsZero reports whether n names nothing.
func (n Name) IsZero() bool { return n.path == "" }

// AppClientID is where the App's client ID is.
func AppClientID() Name { return Name{configFolder + "/app-client-id"} }

// PrivateKey is where the App's private key is, in PEM.
func PrivateKey() Name { return Name{configFolder + "/private-key"} }

// Signer is where the URL of the KMS key is that signs for the App.
func Signer() Name { return Name{configFolder + "/signer"} }

// GitHubURL is where the address of the App's GitHub is, when that is not
// github.com.
func GitHubURL() Name { return Name{configFolder + "/github-url"} }

// Probe is where a command tries, before it does what cannot be taken back,
// whether the store takes entries. Nothing stays there.
func Probe() Name { return Name{configFolder + "/probe"} }

// LegacyInstallation is where the first system kept its one installation.
func LegacyInstallation() Name { return Name{configFolder + "/installation-id"} }

// Installation is where the id of the installation on an account is. Logins
// that differ in case only are one account.
func Installation(login string) (Name, error) {
	owner, err := checkLogin(login)
	return name(err, installationsFolder, owner)
}

// Token is where a workspace's token for the repositories of owner is.
func Token(workspace, owner string) (Name, error) {
	if err := CheckWorkspace(workspace); err != nil {
		return Name{}, err
	}
	login, err := checkLogin(owner)
	return name(err, workspacesFolder, workspace, tokensFolder, login)
}

// OnlyToken is where a workspace's token is when it has repositories of one
// owner.
func OnlyToken(workspace string) (Name, error) {
	return name(CheckWorkspace(workspace), workspacesFolder, workspace, tokenName)
}

// Record is where a workspace's ledger record is. It holds no secrets.
func Record(workspace string) (Name, error) {
	return name(CheckWorkspace(workspace), workspacesFolder, workspace, recordName)
}

// Lock is where a run says that it works on a workspace.
func Lock(workspace string) (Name, error) {
	return name(CheckWorkspace(workspace), workspacesFolder, workspace, lockName)
}

// Superseded is where a token is kept that another has taken the place of, from
// then on until it is revoked. id tells it from others.
func Superseded(workspace string, id [8]byte) (Name, error) {
	return name(CheckWorkspace(workspace), workspacesFolder, workspace, supersededFolder, hex.EncodeToString(id[:]))
}

// Blocked is where it stands that a workspace is given nothing any more.
func Blocked(workspace string) (Name, error) {
	return name(CheckWorkspace(workspace), blockedWorkspaces, workspace)
}

// BlockedOwner is where it stands that nothing of an account is given any more.
func BlockedOwner(login string) (Name, error) {
	owner, err := checkLogin(login)
	return name(err, blockedOwners, owner)
}

// BlockedApp is where it stands that nothing at all is given any more.
func BlockedApp() Name { return Name{blockedApp + "/all"} }

// Delivery is where it stands that a webhook delivery is being handled, or was, by a
// hash that stands for what was delivered.
func Delivery(hash [32]byte) Name {
	return Name{deliveriesFolder + "/" + hex.EncodeToString(hash[:])}
}

// JoinToken is where a token that a workspace may show once is kept by its hash.
func JoinToken(hash [32]byte) Name {
	return Name{joinFolder + "/" + hex.EncodeToString(hash[:])}
}

// Redeemed is where it stands that a token of JoinToken was shown. Whoever
// creates the entry is the one who showed it.
func Redeemed(hash [32]byte) Name {
	return Name{redeemedFolder + "/" + hex.EncodeToString(hash[:])}
}

// Spent is where it stands that something which holds once was shown, by its hash.
func Spent(hash [32]byte) Name {
	return Name{spentFolder + "/" + hex.EncodeToString(hash[:])}
}

// SessionKey is where the key is that brokers sign sessions with on a day,
// counted from the beginning of 1970.
func SessionKey(day int64) Name {
	return Name{sessionKeysFolder + "/" + strconv.FormatInt(day, 10)}
}

// Quarantine is where it stands that a push through the git gateway uses temporary refs at
// GitHub, by the push's request ID.
func Quarantine(requestID string) (Name, error) {
	if !isSegment(requestID) {
		return Name{}, fmt.Errorf("%q is no request ID", requestID)
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
			return Name{}, fmt.Errorf("%q is no name in a store", text)
		}
	}
	return Name{text}, nil
}

// A Prefix is a folder of names. The zero Prefix is all of them.
type Prefix struct{ path string }

// Everything is all that a store has.
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

// AllBlocks is the folder of everything that is given nothing any more.
func AllBlocks() Prefix { return Prefix{blockedFolder} }

// Deliveries is the folder of what Delivery names.
func Deliveries() Prefix { return Prefix{deliveriesFolder} }

// JoinTokens is the folder of what JoinToken names.
func JoinTokens() Prefix { return Prefix{joinFolder} }

// AllSpent is the folder of what Spent names.
func AllSpent() Prefix { return Prefix{spentFolder} }

// SessionKeys is the folder of what SessionKey names.
func SessionKeys() Prefix { return Prefix{sessionKeysFolder} }

// Quarantines is the folder of what Quarantine names.
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
	const form = "letters, digits, dots, hyphens and underscores, and begins with a letter or digit"
	if len(id) > maxSegment {
		return fmt.Errorf("workspace %.40q…: an id of %d bytes is too long; it is up to %d %s", id, len(id), maxSegment, form)
	}
	if !isSegment(id) {
		return fmt.Errorf("workspace %q: an id is up to %d %s", id, maxSegment, form)
	}
	return nil
}

// checkLogin knows GitHub's account names: letters, digits and hyphens, and the
// underscore of enterprise-managed users. It returns login in lower case.
func checkLogin(login string) (string, error) {
	if !isSegment(login) || len(login) > 39 || strings.Contains(login, ".") {
		return "", fmt.Errorf("%q is no account of GitHub", login)
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

// IsToken reports whether n is where a workspace reads a token.
func (n Name) IsToken() bool {
	_, ok := n.Workspace()
	_, owned := n.Owner()
	return ok && (owned || strings.HasSuffix(n.path, "/"+tokenName))
}

// IsKeyMark reports whether n is one that KeyMark made.
func (n Name) IsKeyMark() bool { return n.isOwn(keyMarkName) }

// IsLock reports whether n is where a run says that it works on a workspace.
func (n Name) IsLock() bool { return n.isOwn(lockName) }

// IsSuperseded reports whether n is where a token waits to be revoked.
func (n Name) IsSuperseded() bool { return n.isIn(supersededFolder) }

// IsVended reports whether n is where a token is that a broker has given.
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

// IsBlockedToken reports whether n is one that BlockedToken made.
func (n Name) IsBlockedToken() bool { return strings.HasPrefix(n.path, blockedTokens+"/") }

// IsSecret reports whether n is where something of a workspace is that must not be
// read: a token, wherever it waits.
func (n Name) IsSecret() bool { return n.IsToken() || n.IsSuperseded() || n.IsVended() }

// KeyMark is where it stands that a key for a workspace is being made.
func KeyMark(workspace string) (Name, error) {
	return name(CheckWorkspace(workspace), workspacesFolder, workspace, keyMarkName)
}

// IsRecord reports whether n is where a ledger record is.
func (n Name) IsRecord() bool { return n.isOwn(recordName) }

// isOwn reports whether n is the workspace's one entry of that last segment.
func (n Name) isOwn(last string) bool {
	parts := strings.Split(n.path, "/")
	return len(parts) == 3 && parts[0] == workspacesFolder && parts[2] == last
}

// WorkspacesAfter is a place in the pages below Workspaces: before all that the store has
// of workspaces whose ids begin with begin, and after all that it has of the workspace
// after and of those before it. Both may be "". No entry has the name.
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

// CompareWorkspaces compares ids by the order in which pages have what is of them: that of
// the ids with a slash after each.
func CompareWorkspaces(a, b string) int { return strings.Compare(a+"/", b+"/") }
