package hooks

import (
	"net/url"
	"strings"
)

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
