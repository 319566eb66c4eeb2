package hooks

import (
	"errors"
	"net/url"
	"slices"
	"strings"

	"github.com/gatepass/gatepass/internal/gitname"
)

// A Target is the destination of a push, from the URL that git gives to a pre-push
// hook. The zero value is an unknown destination.
type Target struct {
	// Path reports whether git takes the URL as a path on this machine.
	Path bool
	// Host is the canonical host, with its port if that is not the scheme's default; ""
	// for a path and for an unknown host.
	Host string
	// anyPort reports that the port is not for https. The ports of a workspace file's
	// hosts are for https.
	anyPort bool
}

// TargetOf parses a URL by git's rules (git-push(1), "GIT URLS", and git's
// url_is_local_not_ssh).
func TargetOf(remote string) Target {
	scheme := remote[:len(remote)-len(strings.TrimLeft(remote, schemeLetters))]
	rest := remote[len(scheme):]
	switch {
	case strings.HasPrefix(rest, "::"): // a remote helper, which may push anywhere
		return Target{}
	case scheme != "" && strings.HasPrefix(rest, "://"):
		return targetOfURL(scheme, remote)
	case strings.Contains(remote, "://"): // git accepts no such URL
		return Target{}
	}
	colon, slash := strings.IndexByte(remote, ':'), strings.IndexByte(remote, '/')
	if remote != "" && (colon < 0 || 0 <= slash && slash < colon) {
		return Target{Path: true}
	}
	return Target{Host: hostOfSSH(remote), anyPort: true}
}

// Git does not treat a scheme in capitals as its own, and asks a remote helper of that
// name instead. The letters are those of git's is_urlschemechar.
const schemeLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+.-"

// targetOfURL returns no host for a URL that browsers, curl and git may parse in
// different ways.
func targetOfURL(scheme, remote string) Target {
	if scheme == "file" { // its host is ignored
		return Target{Path: true}
	}
	u, err := url.Parse(remote)
	if err != nil || strings.ContainsAny(remote, "\\ \t\r\n") {
		return Target{}
	}
	host, ok := gitname.Host(u.Host)
	if !ok {
		return Target{}
	}
	return Target{Host: host, anyPort: scheme != "https"}
}

// hostOfSSH parses [USER@]HOST:PATH, in which brackets may contain [USER@]HOST:PORT or
// an IPv6 address.
func hostOfSSH(remote string) string {
	host, _, _ := strings.Cut(remote, ":")
	if open := strings.IndexByte(host, '['); open >= 0 {
		inside, _, closed := strings.Cut(remote[open+1:], "]")
		if !closed {
			return ""
		}
		if strings.Count(inside, ":") > 1 {
			inside = "[" + inside + "]"
		}
		host = inside
	}
	host, ok := gitname.Host(host[strings.LastIndexByte(host, '@')+1:])
	if !ok {
		return ""
	}
	return host
}

// In reports whether the target is one of the hosts of a workspace file. If the port is
// not for https, only the name is compared.
func (t Target) In(hosts []string) bool {
	for _, host := range hosts {
		if t.Host != "" && (host == t.Host || t.anyPort && withoutPort(host) == withoutPort(t.Host)) {
			return true
		}
	}
	return false
}

func withoutPort(host string) string {
	if colon := strings.LastIndexByte(host, ':'); colon > strings.LastIndexByte(host, ']') {
		return host[:colon]
	}
	return host
}

// ErrMirror refuses a mirror push. Such a push deletes every remote ref that does not
// exist locally, and git does not report these deletions to the hook.
var ErrMirror = errors.New("a mirror push deletes refs that git does not show to hooks")

// Mirrors returns an error that wraps [ErrMirror] if the push that called this program
// is a mirror push, according to its arguments, which are visible only on Linux, or to
// the remote's settings.
func (r *Repository) Mirrors(remote string) error {
	if args, ok := pusher(r.above); ok && asksForMirror(args) {
		return mirrorError{"push the refs you mean by name, without --mirror"}
	}
	if slices.Contains(r.mirrors, remote) {
		return mirrorError{"unset remote." + RedactURL(remote) + ".mirror and push the refs you mean by name"}
	}
	return nil
}

// mirrorError adds what the user can do.
type mirrorError struct{ do string }

func (e mirrorError) Error() string { return ErrMirror.Error() + "; " + e.do }
func (e mirrorError) Unwrap() error { return ErrMirror }

// RedactURL returns a remote's name or URL without parts that may be secret: user,
// password, query and fragment. Of a URL that it cannot parse with certainty, it
// returns only the scheme.
func RedactURL(s string) string {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return redactShort(s)
	}
	u, err := url.Parse(s)
	if err != nil || strings.Contains(u.Path, "@") || strings.Contains(scheme, "@") || u.User == nil && strings.Contains(rest, "@") {
		return strings.TrimRight(scheme[strings.LastIndexByte(scheme, '@')+1:], ":") + "://…"
	}
	if u.User == nil && u.RawQuery == "" && u.Fragment == "" {
		return scheme + "://" + rest
	}
	u.User, u.RawQuery, u.Fragment, u.RawFragment = nil, "", "", ""
	return u.String()
}

// redactShort redacts names, paths and host:path, in which only a leading
// "user:password@" can be secret; "git@host:path" has none.
func redactShort(s string) string {
	user, host, ok := strings.Cut(s, "@")
	if ok && strings.Contains(user, ":") {
		return host[strings.LastIndexByte(host, '@')+1:]
	}
	return s
}
