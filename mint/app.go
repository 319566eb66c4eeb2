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

	// DefaultGitHub is the address of github.com for people.
	DefaultGitHub = "https://github.com"

	apiVersion  = "2022-11-28"
	userAgent   = "gatepass"
	callTimeout = 30 * time.Second // of one request
)

// An App calls GitHub as one GitHub App. ID and Signer must be set.
type App struct {
	ID     string       // client ID (recommended) or App ID
	Signer Signer       // the App's key
	URL    string       // of the REST API, from APIURL; empty means DefaultURL
	Client *http.Client // nil means a default client; its redirects are not followed

	// Now is the clock; nil means time.Now.
	Now func() time.Time

	// Once limits each call to one attempt, for a caller with its own queue: instead of
	// waiting, the call returns an [*Error] at once, with RetryAfter if GitHub said how
	// long to wait. A JWT that GitHub refused for its time is still signed anew and
	// sent once more. See [App.TakeBack] for tokens that are not wanted.
	Once bool

	state   state
	revoked revokedTokens
	pending pendingRevokes
}

// defaultClient is not http.DefaultClient, which has no timeout and is shared by the
// whole program.
var defaultClient = &http.Client{Timeout: callTimeout, CheckRedirect: refuseRedirect}

// refuseRedirect keeps JWTs and tokens at the host for which they were made. GitHub
// redirects renamed repositories; here the id identifies a repository.
func refuseRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

func (a *App) now() time.Time {
	if a.Now == nil {
		return time.Now()
	}
	return a.Now()
}

// APIURL returns the REST API for a GitHub's address for people: github.com, a data
// residency host (https://SUB.ghe.com), or an Enterprise Server (https://HOST/api/v3).
// For the address of the API itself, the error says what to write instead.
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

// webHost returns the host of a GitHub's web pages for an API's address; "" if there is
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

// A Registration is GitHub's data about the App.
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

// Self returns the App that GitHub has under the App's ID. An answer proves that the
// signer's key belongs to that App. An [*Error] of kind [BadKey] means that it does not
// or, with status 404, that there is no such App.
func (a *App) Self(ctx context.Context) (Registration, error) {
	const doing = "ask GitHub which App this is"
	got, err := a.rest().do(ctx, read(doing, "/app"))
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

// IsPublic reports whether accounts other than its owner may install the App. GitHub
// does not say so, but it shows a public App to everyone, so IsPublic asks once without
// the App's key. An error leaves the question open: an Enterprise Server may show
// nothing to anonymous requests, and their number per hour is small.
func (a *App) IsPublic(ctx context.Context, self Registration) (bool, error) {
	const doing = "ask GitHub whether the App is public"
	got, err := a.rest().attempt(ctx, anonymous(doing, "/apps/"+url.PathEscape(self.Slug)))
	failure, ok := errors.AsType[*Error](err)
	isKnownOwner := self.Owner.Type == "Organization" || self.Owner.Type == "User" // an enterprise's App is shown only within the enterprise
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

// Reach returns an error of kind [Unavailable] if GitHub's API does not answer, for
// example because the network or its certificate is wrong. Every answer counts as
// success: an Enterprise Server may refuse anonymous requests. The request does not
// count against a rate limit, and needs neither ID nor Signer of a.
func (a *App) Reach(ctx context.Context) error {
	rest := a.rest()
	_, err := rest.attempt(ctx, anonymous("reach GitHub's API at "+rest.base, "/rate_limit"))
	if e, ok := errors.AsType[*Error](err); ok && e.Status != 0 && e.Kind != Unavailable {
		return nil
	}
	return err
}
