// Package protocol reads what git asks: the git-credential request on standard
// input and the askpass prompt on the command line.
//
// It is the strict edge of gatepass. What it lets through has an exact https
// host and values without control characters; everything else is an error and
// is answered with silence. The package links nothing but the smallest parts of
// the standard library, because the credential helper starts at every git
// operation.
package protocol

import (
	"errors"
	"strings"

	"github.com/gatepass/gatepass/internal/gitname"
)

const (
	// MaxLine is the longest line git sends, line feed included (git-credential(1)).
	MaxLine = 65535
	// MaxRequest bounds a whole request. git's own are a few hundred bytes;
	// wwwauth[] lines of a hostile server are what makes them longer.
	MaxRequest = 1 << 20
)

// ErrMalformed reports a request or prompt that is not exactly what git sends.
var ErrMalformed = errors.New("malformed request")

// A Request is what git says it wants to reach. Values are as git sent them,
// but for the host, which is lower-case and without the default port.
type Request struct {
	Protocol string // "https", or "http" for a gateway at a loopback address; others are not worth answering
	Host     string // "github.com", "git.example:8443", "[::1]:8443"
	Path     string // "owner/repo.git"; empty unless credential.useHttpPath is set

	Username    string
	HasUsername bool // git sends an empty user name after an empty askpass answer

	// Secret is what came with store and erase: a password, or where Scheme is
	// set the pre-encoded credential of that scheme. Never log a Request.
	Secret    string
	Scheme    string
	HasSecret bool

	AuthType bool     // git announced capability[]=authtype (2.46)
	Multi    bool     // git announced capability[]=state (2.46)
	State    []string // the values of state[], foreign ones included

	// Operation is what git is about to do, OperationRead or OperationWrite;
	// empty is treated as a write. git does not send it: the agent finds it out,
	// and ParseRequest leaves it empty.
	Operation string
}

// The operations of a Request.
const (
	OperationRead  = "read"
	OperationWrite = "write"
	// OperationAPI is for a program that calls GitHub's API through the gateway.
	OperationAPI = "api"
)

// fields is a request before its meaning is checked: each key once.
type fields struct {
	one          map[string]string
	state        []string
	capabilities []string
}

// ParseRequest reads one request: lines of key=value up to a blank line or the
// end. Keys given twice, lines without "=", control characters, an empty
// protocol or host, and hosts of unusual letters are ErrMalformed. Keys it does
// not know are ignored, as git-credential(1) asks.
func ParseRequest(data []byte) (Request, error) {
	f, err := splitFields(data)
	if err != nil {
		return Request{}, err
	}
	return f.request()
}

func splitFields(data []byte) (fields, error) {
	f := fields{one: make(map[string]string, 8)}
	if len(data) > MaxRequest {
		return f, ErrMalformed
	}
	rest := string(data)
	for rest != "" {
		line, after, _ := strings.Cut(rest, "\n")
		if line == "" {
			break
		}
		if err := f.add(line); err != nil {
			return f, err
		}
		rest = after
	}
	return f, nil
}

func (f *fields) add(line string) error {
	key, value, ok := strings.Cut(line, "=")
	if !ok || key == "" || len(line) >= MaxLine || hasControl(line) {
		return ErrMalformed
	}
	switch key {
	case "state[]":
		f.state = appendOrReset(f.state, value)
	case "capability[]":
		f.capabilities = appendOrReset(f.capabilities, value)
	default:
		if strings.HasSuffix(key, "[]") {
			return nil // wwwauth[] and whatever comes: server text, never used
		}
		if _, twice := f.one[key]; twice {
			return ErrMalformed // a second host= is what an injected line looks like (CVE-2020-5260)
		}
		f.one[key] = value
	}
	return nil
}

// appendOrReset adds a value to a multi-valued key; an empty one clears it.
func appendOrReset(list []string, value string) []string {
	if value == "" {
		return nil
	}
	return append(list, value)
}

func (f *fields) request() (Request, error) {
	if err := f.mergeURL(); err != nil {
		return Request{}, err
	}
	host, ok := gitname.Host(f.one["host"])
	if !ok || f.one["protocol"] == "" {
		return Request{}, ErrMalformed
	}
	if f.one["protocol"] == "http" && strings.HasSuffix(f.one["host"], ":443") {
		return Request{}, ErrMalformed // Host took off a port that is not http's own
	}
	r := Request{Protocol: f.one["protocol"], Host: host, Path: f.one["path"], State: f.state}
	r.Username, r.HasUsername = f.one["username"], has(f.one, "username")
	if err := f.secret(&r); err != nil {
		return Request{}, err
	}
	for _, c := range f.capabilities {
		r.AuthType = r.AuthType || c == "authtype"
		r.Multi = r.Multi || c == "state"
	}
	return r, nil
}

// secret takes the password or the pre-encoded credential; a request with both
// leaves open which one is meant.
func (f *fields) secret(r *Request) error {
	password, isPassword := f.one["password"]
	encoded, isEncoded := f.one["credential"]
	switch {
	case isPassword && isEncoded:
		return ErrMalformed
	case isPassword:
		r.Secret, r.HasSecret = password, true
	case isEncoded:
		r.Secret, r.Scheme, r.HasSecret = encoded, f.one["authtype"], true
	}
	return nil
}

// mergeURL takes a url= line apart. git itself never sends one to a helper, but
// scripts do; one that disagrees with the other keys is refused, since readers
// differ on which of the two wins.
func (f *fields) mergeURL() error {
	raw, ok := f.one["url"]
	if !ok {
		return nil
	}
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok || strings.ContainsAny(rest, "%?#\\") {
		return ErrMalformed
	}
	authority, path, _ := strings.Cut(rest, "/")
	user, host, hasUser := cutLast(authority, "@")
	if strings.ContainsAny(user, "@:") {
		return ErrMalformed
	}
	for key, value := range map[string]string{"protocol": scheme, "host": host, "path": strings.Trim(path, "/")} {
		if have, given := f.one[key]; given && have != value {
			return ErrMalformed
		}
		f.one[key] = value
	}
	if have, given := f.one["username"]; hasUser && given && have != user {
		return ErrMalformed
	} else if hasUser {
		f.one["username"] = user
	}
	return nil
}

// cutLast splits s at the last sep; without one all of s is after it.
func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return "", s, false
	}
	return s[:i], s[i+len(sep):], true
}

func has(m map[string]string, key string) bool { _, ok := m[key]; return ok }

// hasControl reports control characters, carriage return and NUL among them: to
// some readers they end a line (CVE-2024-50338, CVE-2024-52006).
func hasControl(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < 0x20 && s[i] != '\t' || s[i] == 0x7f {
			return true
		}
	}
	return false
}

// Repository returns the owner and name that the path means, in lower case; see
// [gitname.Path].
func (r Request) Repository() (owner, name string, ok bool) { return gitname.Path(r.Path) }
