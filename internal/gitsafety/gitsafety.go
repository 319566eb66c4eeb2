// Package gitsafety finds settings in git's configuration and environment that weaken
// the connection to a host: disabled TLS verification, other authorities, proxies, and
// rewritten URLs.
//
// git sends a token to the server that answers as the host. A setting in a repository's
// own configuration, or on a command line, can choose that server.
package gitsafety

import (
	"fmt"
	"strings"

	"github.com/gatepass/gatepass/internal/gitconfig"
	"github.com/gatepass/gatepass/internal/redact"
)

// A Kind is the effect of a hazard on the connection.
type Kind string

// The kinds of hazard.
const (
	TLSOff    Kind = "turns TLS verification off"
	Authority Kind = "changes which certificates are trusted"
	Proxy     Kind = "sends the connection through a proxy"
	Address   Kind = "connects to another address"
	Rewrite   Kind = "rewrites URLs"
)

// EnvironmentScope is the scope of hazards from environment variables.
const EnvironmentScope = "environment"

// A Hazard is one setting in effect, or one environment variable.
type Hazard struct {
	Kind    Kind
	Setting gitconfig.Setting // for an environment variable, Key is its name

	machine bool // it names a file that only root can change
}

// Trusted reports whether the hazard was set for the machine or the user, and
// not by a repository, one command or the environment.
func (h Hazard) Trusted() bool { return h.machine || h.Setting.Trusted() }

// String returns the setting with its scope, without passwords in URLs:
// "http.proxy=http://x (local scope)".
func (h Hazard) String() string {
	if h.Setting.Scope == EnvironmentScope {
		if h.Kind == Authority {
			return h.Setting.Key + "=" + h.value() + " (environment)"
		}
		return h.Setting.Key + " (environment)"
	}
	s := redact.Text(h.Setting.Key, 200)
	if !h.Setting.NoValue {
		s += "=" + h.value()
	}
	return fmt.Sprintf("%s (%s scope)", s, h.Setting.Scope)
}

// value returns the value without a proxy's password, even if it has no scheme.
func (h Hazard) value() string {
	v := h.Setting.Value
	if i := strings.LastIndexByte(v, '@'); h.Kind == Proxy && i >= 0 && !strings.Contains(v, "://") {
		v = v[i+1:]
	}
	return redact.Text(v, 200)
}

// A Target is the purpose of a token. Host is canonical; Path is "" if it is not known,
// and then matches any path.
type Target struct{ Host, Path string }

// Hazards returns the settings that affect the connection to t, in order. Of a variable
// with a single value, only the last one under the same key counts; whether a more
// specific key overrides it is not checked.
func (t Target) Hazards(list []gitconfig.Setting) []Hazard {
	var found []Hazard
	for i, s := range list {
		kind := t.kind(s)
		if kind == "" || single(s) && gitconfig.Last(list[i+1:], s.Key) != nil {
			continue
		}
		found = append(found, Hazard{Kind: kind, Setting: s})
	}
	return found
}

// single reports whether a later setting of the same key replaces this one.
func single(s gitconfig.Setting) bool {
	section, _, name := s.Parts()
	return section != "url" && name != "curloptresolve"
}

// kind returns the effect of a setting on the connection to t; "" for none.
func (t Target) kind(s gitconfig.Setting) Kind {
	section, subsection, name := s.Parts()
	switch {
	case section == "http" && (subsection == "" || gitconfig.Matches(subsection, t.Host, t.Path)):
		return httpKind(name, s)
	case section == "remote" && name == "proxy" && s.Value != "":
		return Proxy
	case section == "url" && (name == "insteadof" || name == "pushinsteadof") && t.rewritten(subsection, s.Value):
		return Rewrite
	}
	return ""
}

// httpKind classifies one http.* variable. An empty value resets what a wider scope
// set, and so is harmless. http.sslCert and http.sslKey identify the client and not
// the server.
func httpKind(name string, s gitconfig.Setting) Kind {
	switch name {
	case "sslverify":
		if !s.True() {
			return TLSOff
		}
	case "sslcainfo", "sslcapath":
		if s.Value != "" {
			return Authority
		}
	case "proxy":
		if s.Value != "" {
			return Proxy
		}
	case "curloptresolve":
		if s.Value != "" {
			return Address
		}
	}
	return ""
}

// rewritten reports whether url.<base>.insteadOf=<value> rewrites URLs of the target to
// another place, or other URLs to the target. A rewrite that only changes the protocol
// (git@github.com: to https://github.com/) does neither.
func (t Target) rewritten(base, value string) bool {
	to, from := Split(base), Split(value)
	if to == from {
		return false
	}
	return to.overlaps(t) || from.overlaps(t)
}

func (s Target) overlaps(t Target) bool {
	return s.Host == t.Host && (t.Path == "" || strings.HasPrefix(t.Path, s.Path) || strings.HasPrefix(s.Path, t.Path))
}

// OwnHeader returns the setting that makes git send its own Authorization header to t,
// as actions/checkout writes it, or nil. Its value is a secret.
func (t Target) OwnHeader(list []gitconfig.Setting) *gitconfig.Setting {
	var found *gitconfig.Setting
	for i, s := range list {
		section, subsection, name := s.Parts()
		if section != "http" || name != "extraheader" || subsection != "" && !gitconfig.Matches(subsection, t.Host, t.Path) {
			continue
		}
		header, _, _ := strings.Cut(s.Value, ":")
		switch {
		case s.Value == "": // resets the headers before it
			found = nil
		case strings.EqualFold(strings.TrimSpace(header), "Authorization"):
			found = &list[i]
		}
	}
	return found
}

// Helpers returns the credential helpers that a repository, one command or the
// environment adds for t. git passes each of them a token that worked.
func (t Target) Helpers(list []gitconfig.Setting) []gitconfig.Setting {
	var found []gitconfig.Setting
	for _, s := range list {
		section, subsection, name := s.Parts()
		switch {
		case section != "credential" || name != "helper" || subsection != "" && !gitconfig.Matches(subsection, t.Host, t.Path):
		case s.Value == "": // resets the helpers before it
			found = nil
		case !s.Trusted():
			found = append(found, s)
		}
	}
	return found
}

// Split parses a URL of any scheme or of the form user@host:path, or the start of one.
// It omits the default ports of https and ssh.
func Split(url string) Target {
	scheme, rest, found := strings.Cut(url, "://")
	if !found {
		host, path, _ := strings.Cut(url, ":")
		return Target{Host: withoutUser(host), Path: strings.TrimPrefix(path, "/")}
	}
	host, path, _ := strings.Cut(rest, "/")
	host = withoutUser(host)
	switch scheme {
	case "https":
		host = strings.TrimSuffix(host, ":443")
	case "ssh":
		host = strings.TrimSuffix(host, ":22")
	}
	return Target{Host: host, Path: path}
}

func withoutUser(host string) string {
	return strings.ToLower(host[strings.LastIndexByte(host, '@')+1:])
}

// Environment returns the variables that weaken TLS. Git takes any value of
// GIT_SSL_NO_VERIFY, even an empty one, as true. Authorities in files that only root
// can change count as the machine's: images add those of their network that way.
//
// The proxies of the environment (https_proxy, ALL_PROXY) do not count: images set them
// for all programs alike, and a proxy cannot read verified TLS.
func Environment(environ []string) []Hazard {
	var found []Hazard
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		switch {
		case name == "GIT_SSL_NO_VERIFY":
			found = append(found, variable(TLSOff, name, value))
		case (name == "GIT_SSL_CAINFO" || name == "GIT_SSL_CAPATH") && value != "":
			h := variable(Authority, name, value)
			h.machine = onlyRoots(value)
			found = append(found, h)
		}
	}
	return found
}

func variable(kind Kind, name, value string) Hazard {
	return Hazard{Kind: kind, Setting: gitconfig.Setting{Scope: EnvironmentScope, Key: name, Value: value}}
}

// Rewritten returns the URL that git uses for a remote's URL, by url.*.insteadOf and,
// for a push, url.*.pushInsteadOf, and the setting that rewrites it; nil if none does.
// Of the matching prefixes, git takes the longest, and among equally long ones the one
// whose base it read first.
func Rewritten(list []gitconfig.Setting, url string, push bool) (string, *gitconfig.Setting) {
	if push { // the result of pushInsteadOf is not rewritten again
		if to, by := rewrittenBy(list, url, "pushinsteadof"); by != nil && to != url {
			return to, by
		}
	}
	return rewrittenBy(list, url, "insteadof")
}

func rewrittenBy(list []gitconfig.Setting, url, variable string) (string, *gitconfig.Setting) {
	order := map[string]int{} // order of the bases, as they are read
	best, to := -1, url
	for i, s := range list {
		section, base, name := s.Parts()
		if section != "url" || name != variable || s.NoValue {
			continue
		}
		if _, known := order[base]; !known {
			order[base] = len(order)
		}
		if !strings.HasPrefix(url, s.Value) {
			continue
		}
		if best >= 0 {
			_, bestBase, _ := list[best].Parts()
			if n := len(list[best].Value); len(s.Value) < n || len(s.Value) == n && order[base] >= order[bestBase] {
				continue
			}
		}
		best, to = i, base+url[len(s.Value):]
	}
	if best < 0 {
		return url, nil
	}
	return to, &list[best]
}
