package mint

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

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
