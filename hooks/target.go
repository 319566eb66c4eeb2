package hooks

import (
	"net/url"
	"strings"

	"github.com/gatepass/gatepass/internal/gitname"
)

// A Target is where a push goes, by the URL that git gives a pre-push hook.
// The zero value is a place that cannot be told.
type Target struct {
	// Path reports whether git takes the URL for a path on this machine.
	Path bool
	// Host is the canonical host, with its port where that is not the scheme's
	// own; "" for a path and where none can be told.
	Host string
	// anyPort is set where the port is not one of https, which is what the
	// ports of a workspace file's hosts are.
	anyPort bool
}

// TargetOf reads a URL by git's rules (git-push(1), "GIT URLS", and git's
// url_is_local_not_ssh).
func TargetOf(remote string) Target {
	scheme := remote[:len(remote)-len(strings.TrimLeft(remote, schemeLetters))]
	rest := remote[len(scheme):]
	switch {
	case strings.HasPrefix(rest, "::"): // a remote helper, which may go anywhere
		return Target{}
	case scheme != "" && strings.HasPrefix(rest, "://"):
		return targetOfURL(scheme, remote)
	case strings.Contains(remote, "://"): // git takes no such thing
		return Target{}
	}
	colon, slash := strings.IndexByte(remote, ':'), strings.IndexByte(remote, '/')
	if remote != "" && (colon < 0 || 0 <= slash && slash < colon) {
		return Target{Path: true}
	}
	return Target{Host: hostOfSSH(remote), anyPort: true}
}

// Git takes no scheme in capitals for its own, and asks a remote helper of that
// name instead. The letters are those of git's is_urlschemechar.
const schemeLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+.-"

// targetOfURL takes what browsers, curl and git may read in different ways for
// no host at all.
func targetOfURL(scheme, remote string) Target {
	if scheme == "file" { // the host in it counts for nothing
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

// hostOfSSH reads [USER@]HOST:PATH, where brackets may hold [USER@]HOST:PORT or
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

// In reports whether the target is one of the hosts of a workspace file. Where
// the port is not one of https, the name decides.
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
