// Package protocol parses what git sends: the git-credential request on standard input
// and the askpass prompt on the command line.
//
// It is the strict edge of gatepass. A request that passes has an exact https host and
// values without control characters; everything else is an error and gets an empty
// answer. The package uses only the smallest parts of the standard library, because the
// credential helper starts in every git operation.
package protocol

import (
	"errors"
	"strings"

	"github.com/gatepass/gatepass/internal/gitname"
)

const (
	// MaxLine is the longest line that git sends, in bytes, line feed included
	// (git-credential(1)).
	MaxLine = 65535
	// MaxRequest is the longest request, in bytes. git's own are a few hundred bytes;
	// wwwauth[] lines of a hostile server can make them longer.
	MaxRequest = 1 << 20
)

// ErrMalformed reports a request or prompt that is not exactly what git sends.
var ErrMalformed = errors.New("malformed request")

// A Request is what git wants to access. Values are as git sent them, except that the
// host is in lower case and without the default port.
type Request struct {
	Protocol string // "https", or "http" for a gateway at a loopback address; other protocols get no answer
	Host     string // "github.com", "git.example:8443", "[::1]:8443"
	Path     string // "owner/repo.git"; empty unless credential.useHttpPath is set

	Username    string
	HasUsername bool // git sends an empty user name after an empty askpass answer

	// Secret is the secret of store and erase: a password or, if Scheme is set, the
	// encoded credential of that scheme. Never log a Request.
	Secret    string
	Scheme    string
	HasSecret bool

	AuthType bool     // git announced capability[]=authtype (2.46)
	Multi    bool     // git announced capability[]=state (2.46)
	State    []string // the values of state[], including other helpers'

	// Operation is what git is about to do, OperationRead or OperationWrite; an empty
	// one is treated as a write. git does not send it: the agent finds it out, and
	// ParseRequest leaves it empty.
	Operation string
}

// The operations of a Request.
const (
	OperationRead  = "read"
	OperationWrite = "write"
	// OperationAPI is for a program that calls GitHub's API through the gateway.
	OperationAPI = "api"
)

// fields holds a request before its values are checked, with each key at most once.
type fields struct {
	one          map[string]string
	state        []string
	capabilities []string
}

// ParseRequest reads one request: lines of key=value up to a blank line or the end. It
// returns ErrMalformed for repeated keys, lines without "=", control characters, an
// empty protocol or host, and hosts with unusual characters. It ignores unknown keys,
// as git-credential(1) asks.
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
			return nil // wwwauth[] and unknown keys: text from the server, never used
		}
		if _, twice := f.one[key]; twice {
			return ErrMalformed // an injected line looks like a second host= (CVE-2020-5260)
		}
		f.one[key] = value
	}
	return nil
}

// appendOrReset adds a value to a multi-valued key; an empty value clears the list.
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
		return Request{}, ErrMalformed // Host removed a port that is not http's default
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

// secret reads the password or the encoded credential. It refuses a request with both,
// because it is unclear which one is meant.
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

// mergeURL parses a url= line. git itself never sends one to a helper, but scripts do.
// It refuses a URL that contradicts the other keys, since readers differ on which of
// the two wins.
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

// cutLast splits s at the last sep; without one, after is all of s.
func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return "", s, false
	}
	return s[:i], s[i+len(sep):], true
}

func has(m map[string]string, key string) bool { _, ok := m[key]; return ok }

// hasControl reports whether s has control characters, including carriage return and
// NUL: some readers take them as the end of a line (CVE-2024-50338, CVE-2024-52006).
func hasControl(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < 0x20 && s[i] != '\t' || s[i] == 0x7f {
			return true
		}
	}
	return false
}

// Repository returns the owner and name in the path, in lower case; see [gitname.Path].
func (r Request) Repository() (owner, name string, ok bool) { return gitname.Path(r.Path) }
