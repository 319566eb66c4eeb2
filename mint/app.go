package mint

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gatepass/gatepass/internal/redact"
)

const (
	// DefaultURL is the REST API of github.com.
	DefaultURL = "https://api.github.com"

	// DefaultGitHub is what people call it.
	DefaultGitHub = "https://github.com"

	apiVersion = "2022-11-28"
	userAgent  = "gatepass"
	callWait   = 30 * time.Second // of one request
)

// An App speaks to GitHub as one GitHub App. ID and Signer must be set.
type App struct {
	ID     string       // client ID (recommended) or App ID
	Signer Signer       // the App's key
	URL    string       // of the REST API, as APIURL returns it; empty means DefaultURL
	Client *http.Client // nil means one of our own; its redirects are not followed

	// Now is the clock; nil means time.Now.
	Now func() time.Time

	// Once makes each call one attempt, for a caller with a queue of its own: what
	// would be waited for is returned at once as an [*Error], with RetryAfter where
	// GitHub said how long. A JWT that GitHub refused for its time is still signed anew
	// and sent once more. See [App.TakeBack] for tokens that are not wanted.
	Once bool

	passport jwtCache
	rate     rate
	ended    ended
	clock    githubClock
	gate     gate
	owed     owed
}

// defaultClient is ours alone: http.DefaultClient has no time limit and belongs
// to everybody.
var defaultClient = &http.Client{Timeout: callWait, CheckRedirect: refuseRedirect}

// refuseRedirect keeps JWTs and tokens at the host they were made for. GitHub
// redirects what was renamed; here identity is the id.
func refuseRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

func (a *App) client() *http.Client {
	if a.Client == nil {
		return defaultClient
	}
	own := *a.Client
	own.CheckRedirect = refuseRedirect
	return &own
}

func (a *App) now() time.Time {
	if a.Now == nil {
		return time.Now()
	}
	return a.Now()
}

func (a *App) base() string {
	if a.URL == "" {
		return DefaultURL
	}
	return strings.TrimSuffix(a.URL, "/")
}

// APIURL returns the REST API that belongs to what people call their GitHub:
// github.com, a data residency host (https://SUB.ghe.com), or an Enterprise
// Server (https://HOST/api/v3). The address of the API itself is an error that says
// what to write instead.
func APIURL(github string) (string, error) {
	u, err := url.Parse(github)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", errors.New("want https://HOST, as in https://github.com")
	}
	host, path := strings.ToLower(u.Host), strings.Trim(u.Path, "/")
	if web := webHost(host, path); web != "" {
		return "", fmt.Errorf("%s is the address of the API; write https://%s", redact.Text(github, maxShown), web)
	}
	if path != "" {
		return "", errors.New("want https://HOST without a path, as in https://github.com")
	}
	switch {
	case host == "github.com" || host == "www.github.com":
		return DefaultURL, nil
	case strings.HasSuffix(host, ".ghe.com"):
		return "https://api." + host, nil
	}
	return "https://" + host + "/api/v3", nil
}

// webHost returns where people find the GitHub of an API's address; "" where it is
// none.
func webHost(host, path string) string {
	sub, isSub := strings.CutPrefix(host, "api.")
	switch {
	case isSub && (sub == "github.com" || strings.HasSuffix(sub, ".ghe.com")):
		return sub
	case path == "api/v3" || path == "api" || path == "api/graphql":
		return host
	}
	return ""
}
