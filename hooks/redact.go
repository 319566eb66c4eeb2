package hooks

import (
	"net/url"
	"strings"
)

// RedactURL returns a remote's name or URL without what may be secret in it:
// user, password, query and fragment. An URL that cannot be taken apart with
// certainty is shown by its scheme alone.
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

// redactShort is for names, paths and host:path, where only a "user:password@"
// in front can be secret; "git@host:path" has none.
func redactShort(s string) string {
	user, host, ok := strings.Cut(s, "@")
	if ok && strings.Contains(user, ":") {
		return host[strings.LastIndexByte(host, '@')+1:]
	}
	return s
}
