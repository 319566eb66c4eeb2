package rest

import (
	"net/url"
	"slices"
	"strings"

	"github.com/gatepass/gatepass/internal/gitname"
)

// DefaultStorage returns the hosts to which an API redirects downloads, according to
// GitHub's documentation. "*.NAME" means every host below NAME, and "*" every host: an
// Enterprise Server stores logs and artifacts where its administrator chooses.
func DefaultStorage(api *url.URL) []string {
	host, _ := gitname.Host(api.Host)
	if host == "api.github.com" {
		return []string{
			"codeload.github.com", "objects.githubusercontent.com", "objects-origin.githubusercontent.com", "release-assets.githubusercontent.com",
			"github-releases.githubusercontent.com", "*.actions.githubusercontent.com", resultsStorage,
		}
	}
	if tenant, isTenant := strings.CutPrefix(host, "api."); isTenant && strings.HasSuffix(tenant, ".ghe.com") {
		return []string{tenant, "*." + tenant, resultsStorage}
	}
	return []string{anyHost}
}

const anyHost = "*"

// resultsStorage are the Azure accounts in which GitHub Actions stores logs and
// artifacts: productionresultssa0 to 19, and prodREGIONresultssaN with data residency.
const resultsStorage = "prod*resultssa*.blob.core.windows.net"

// isStorage reports whether a redirect to u is followed.
func isStorage(u *url.URL, hosts []string) bool {
	host, ok := gitname.Host(u.Host)
	return ok && u.Scheme == "https" && u.User == nil && u.Opaque == "" && slices.ContainsFunc(hosts, func(h string) bool { return isHost(host, h) })
}

func isHost(host, pattern string) bool {
	switch pattern {
	case anyHost:
		return true
	case resultsStorage:
		return isResults(host)
	}
	if parent, ok := strings.CutPrefix(pattern, "*."); ok {
		return strings.HasSuffix(host, "."+parent) && parent != ""
	}
	return host == pattern && host != ""
}

func isResults(host string) bool {
	account, ok := strings.CutSuffix(host, ".blob.core.windows.net")
	region, number, isAccount := strings.Cut(account, "resultssa")
	isOurs := strings.HasPrefix(region, "prod")
	return ok && isAccount && isOurs && strings.Trim(region, "abcdefghijklmnopqrstuvwxyz0123456789") == "" && number != "" && len(number) <= 3 && strings.Trim(number, "0123456789") == ""
}
