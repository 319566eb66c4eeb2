package gitconfig

import (
	"strings"

	"github.com/gatepass/gatepass/internal/gitname"
)

// Matches reports whether a subsection such as "https://*.example.com" or "example.com"
// matches https://HOST/PATH, as git matches http.<url>.* and credential.<url>.*
// (git-config(1), gitcredentials(7)). The host is canonical.
//
// It is used to find hazards, so uncertain cases match: any user name, any path if the
// request's is not known (""), and a pattern that git would have to normalize first.
func Matches(pattern, host, path string) bool { return MatchesURL(pattern, "https", host, path) }

// MatchesURL is like [Matches], for a URL of another scheme.
func MatchesURL(pattern, scheme, host, path string) bool {
	its, rest, found := strings.Cut(pattern, "://")
	if !found {
		rest = pattern
	} else if !strings.EqualFold(its, scheme) {
		return false
	}
	authority, under, _ := strings.Cut(rest, "/")
	if strings.Contains(pattern, "%") {
		return true
	}
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		authority = authority[i+1:]
	}
	return (authority == "" || matchesHost(authority, host)) && matchesPath(under, path)
}

// matchesHost compares label by label; "*" matches a whole label.
func matchesHost(pattern, host string) bool {
	wantName, wantPort := splitPort(gitname.Fold(pattern))
	haveName, havePort := splitPort(host)
	if wantPort != havePort {
		return false
	}
	want, have := strings.Split(wantName, "."), strings.Split(haveName, ".")
	if len(want) != len(have) {
		return false
	}
	for i := range want {
		if want[i] != have[i] && want[i] != "*" {
			return false
		}
	}
	return true
}

// splitPort splits off the port; "" for the default one.
func splitPort(host string) (name, port string) {
	i := strings.LastIndexByte(host, ':')
	if i < 0 || strings.HasSuffix(host, "]") {
		return host, ""
	}
	port = strings.TrimLeft(host[i+1:], "0")
	if port == "443" {
		port = ""
	}
	return host[:i], port
}

// matchesPath reports whether path is pattern or below it.
func matchesPath(pattern, path string) bool {
	pattern, path = strings.Trim(pattern, "/"), strings.Trim(path, "/")
	if pattern == "" || path == "" || strings.Contains("/"+pattern, "/.") || strings.Contains(pattern, "//") {
		return true
	}
	return path == pattern || strings.HasPrefix(path, pattern+"/")
}
