// Package oskeyring stores tokens in the keyring of the user's session: the Secret
// Service on Linux, the keychain on macOS, the credential manager on Windows.
//
// [Source] reads a token that another program stored there. [Cache] stores the tokens
// of another source there, so that a new agent need not request them again. Both wait
// only briefly, and use only what already runs: they start no bus, no keyring and no
// dialog. On macOS and Windows the system itself decides whether it shows a dialog.
package oskeyring

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"time"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/internal/usererr"
)

// patience limits one access of the keyring. It is far longer than a working keyring
// needs.
const patience = 250 * time.Millisecond

// Errors of a ring. Any other error means that it cannot be used now.
var (
	errNotFound  = errors.New("the keyring has no such entry")
	errAmbiguous = errors.New("the keyring has several such entries")
	errLocked    = errors.New("the keyring is locked")
	errNoAnswer  = errors.New("the keyring does not answer")
)

// An item names one entry. go-keyring and Python's keyring use the same names, which on
// Linux become the attributes "service" and "username".
type item struct{ service, account string }

// A ring is a keyring. Each call ends with its context.
type ring interface {
	// get returns the entry and when it was written; the zero time if the keyring does
	// not say. It returns errNotFound or errAmbiguous if there is not exactly one
	// entry.
	get(ctx context.Context, it item) (value []byte, written time.Time, err error)
	// set writes the entry, or replaces one of the same name. People see label when
	// they open their keyring.
	set(ctx context.Context, it item, label string, value []byte) error
	// remove deletes all entries of that name. It is not an error if there are none.
	remove(ctx context.Context, it item) error
}

// A Source is one entry of the keyring or, with placeholders in the account, one per
// workspace, host, owner or repository.
type Source struct {
	service string
	account credential.Template
	ring    ring
}

const form = "write keyring://SERVICE/ACCOUNT"

// Open reads a URL keyring://service/account. Each call of Token reads the keyring
// anew.
func Open(u *url.URL, workspace string) (*Source, error) {
	switch {
	case u.Scheme != "keyring":
		return nil, usererr.New("source", "its scheme is not keyring", form)
	case u.Host == "" || u.Opaque != "" || len(u.Path) < 2 || u.User != nil:
		return nil, usererr.New("source keyring://"+u.Host+u.Path, "a keyring source must name a service and an account", form)
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, usererr.New("source keyring://"+u.Host+u.Path, "a keyring source must not have a query such as "+firstKey(u), "write %3F for a ? and %23 for a #")
	}
	account, err := credential.ParseTemplate(u.Path[1:], workspace)
	if err != nil {
		return nil, err
	}
	return &Source{service: u.Host, account: account, ring: system()}, nil
}

// firstKey names a part that the URL must not have, without its value.
func firstKey(u *url.URL) string {
	for key := range u.Query() {
		return key
	}
	return "? and #"
}

// Key returns the same key for requests that read the same account, which share a
// token.
func (s *Source) Key(req credential.Request) string { return s.account.Key(req) }

// Token reads the entry. A bare token expires an hour after the entry was written, or
// an hour from now if the keyring does not say when that was; a JSON object
// {"token","expires_at"} states its expiry.
func (s *Source) Token(ctx context.Context, req credential.Request) (credential.Token, error) {
	account, err := s.account.Expand(req)
	if err != nil {
		return credential.Token{}, err
	}
	what := "read keyring://" + s.service + "/" + account
	value, written, err := s.read(ctx, account)
	if err != nil && ctx.Err() != nil {
		return credential.Token{}, ctx.Err() // this says nothing about the keyring
	}
	if err != nil {
		return credential.Token{}, usererr.Wrap(what, err, remedy(err))
	}
	if written.IsZero() {
		written = time.Now()
	}
	token, err := credential.ParseToken(value, written)
	if err != nil {
		return credential.Token{}, usererr.Wrap(what, err, "")
	}
	if !token.Expiry.After(time.Now()) {
		return credential.Token{}, usererr.New(what, "the token in it expired at "+token.Expiry.UTC().Format(time.RFC3339),
			`store a fresh one, or {"token","expires_at"} for one that lives longer than an hour`)
	}
	return token, nil
}

func (s *Source) read(ctx context.Context, account string) ([]byte, time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return s.ring.get(ctx, item{s.service, account})
}

func remedy(err error) string {
	switch {
	case errors.Is(err, errNotFound):
		return storeHint
	case errors.Is(err, errAmbiguous):
		return "keep one of them"
	case errors.Is(err, errLocked):
		return "unlock it, or log in to your session"
	}
	return "check that a keyring runs in this session, or name another source in the workspace file"
}

// entry is a token as a Cache writes it. [credential.ParseToken] can read it too.
type entry struct {
	Token        string            `json:"token"`
	ExpiresAt    time.Time         `json:"expires_at"`
	Username     string            `json:"username,omitempty"`
	Repositories []string          `json:"repositories,omitempty"`
	Permissions  map[string]string `json:"permissions,omitempty"`
}

var errNotOurs = errors.New("another program wrote this entry of the keyring")

func format(t credential.Token) ([]byte, error) {
	return json.Marshal(entry{
		Token: t.Secret(), ExpiresAt: t.Expiry, Username: t.Username,
		Repositories: t.Repositories, Permissions: t.Permissions,
	})
}

// parse reads an entry. It refuses an entry without an expiry. Its errors do not repeat
// the text.
func parse(data []byte) (credential.Token, error) {
	var e entry
	if err := json.Unmarshal(data, &e); err != nil || e.ExpiresAt.IsZero() {
		return credential.Token{}, errNotOurs
	}
	if err := credential.CheckSecret(e.Token); err != nil {
		return credential.Token{}, errNotOurs
	}
	t := credential.NewToken(e.Token, e.ExpiresAt)
	t.Username, t.Repositories, t.Permissions = e.Username, e.Repositories, e.Permissions
	return t, nil
}
