package mint

import (
	"context"
	"errors"
	"net/http"
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
