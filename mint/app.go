package mint

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
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

// A Registration is the App as GitHub has it registered.
type Registration struct {
	ID            int64             `json:"id"`
	ClientID      string            `json:"client_id"`
	Slug          string            `json:"slug"` // its bot is SLUG[bot]
	Name          string            `json:"name"`
	Owner         Account           `json:"owner"`
	HTMLURL       string            `json:"html_url"` // its public page
	Permissions   map[string]string `json:"permissions"`
	CreatedAt     time.Time         `json:"created_at"`
	Installations int               `json:"installations_count"`
}

// Self returns what GitHub has registered under the App's ID. An answer proves
// that the signer's key is one of that App's; an [*Error] of kind [BadKey] says
// that it is not, or with status 404 that there is no such App.
func (a *App) Self(ctx context.Context) (Registration, error) {
	const doing = "ask GitHub which App this is"
	got, err := a.do(ctx, call{doing: doing, method: http.MethodGet, want: http.StatusOK, url: a.base() + "/app"})
	if err != nil {
		return Registration{}, err
	}
	var self Registration
	if err := decode(doing, got.body, &self); err != nil {
		return Registration{}, err
	}
	if self.ID <= 0 || a.ID != self.ClientID && a.ID != strconv.FormatInt(self.ID, 10) {
		return Registration{}, &Error{Kind: Unavailable, Doing: doing, Err: errors.New("the answer is not about this App")}
	}
	return self, nil
}

// IsPublic reports whether accounts other than its owner's may install the App.
// GitHub does not say so; but it shows a public App to everybody, so that it is
// asked once without the App's key. An error leaves it open: an Enterprise Server
// may show nothing at all to strangers, and strangers have few requests an hour.
func (a *App) IsPublic(ctx context.Context, self Registration) (bool, error) {
	const doing = "ask GitHub whether the App is public"
	got, err := a.attempt(ctx, call{doing: doing, method: http.MethodGet, want: http.StatusOK, open: true, url: a.base() + "/apps/" + url.PathEscape(self.Slug)})
	failure, ok := errors.AsType[*Error](err)
	isKnownOwner := self.Owner.Type == "Organization" || self.Owner.Type == "User" // an enterprise's is shown within it
	if ok && failure.Status == http.StatusNotFound && isKnownOwner {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var shown Registration
	if err := decode(doing, got.body, &shown); err != nil {
		return false, err
	}
	if shown.ID != self.ID {
		return false, &Error{Kind: Unavailable, Doing: doing, Err: errors.New("the answer is not about this App")}
	}
	return true, nil
}

// Reach returns an error of kind [Unavailable] where GitHub's API gives no
// answer, say for want of a way there or of trust in its certificate. Any answer
// will do: an Enterprise Server need not tell strangers anything. The question does
// not count against a rate limit, and needs neither ID nor Signer of a.
func (a *App) Reach(ctx context.Context) error {
	_, err := a.attempt(ctx, call{doing: "reach GitHub's API at " + a.base(), method: http.MethodGet, want: http.StatusOK, open: true, url: a.base() + "/rate_limit"})
	if e, ok := errors.AsType[*Error](err); ok && e.Status != 0 && e.Kind != Unavailable {
		return nil
	}
	return err
}
