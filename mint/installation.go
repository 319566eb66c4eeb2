package mint

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// An Installation is the App on one account.
type Installation struct {
	ID          int64             `json:"id"`
	Account     Account           `json:"account"`
	TargetType  string            `json:"target_type"`          // "User" or "Organization"
	Selection   string            `json:"repository_selection"` // "all" or "selected"
	Permissions map[string]string `json:"permissions"`
	SuspendedAt time.Time         `json:"suspended_at"` // zero when it is not
	SuspendedBy Account           `json:"suspended_by"` // zero when it is not
	HTMLURL     string            `json:"html_url"`     // its page in the account's settings
}

// An Account is a user or an organization.
type Account struct {
	Login string `json:"login"`
	ID    int64  `json:"id"`
	Type  string `json:"type"`
}

// Suspended reports whether tokens of the installation are refused.
func (i Installation) Suspended() bool { return !i.SuspendedAt.IsZero() }

// Installations yields every installation of the App, page after page,
// suspended ones included. The first error ends it.
func (a *App) Installations(ctx context.Context) iter.Seq2[Installation, error] {
	const doing = "list the App's installations"
	return func(yield func(Installation, error) bool) {
		for next := a.base() + "/app/installations?per_page=100"; next != ""; {
			var page []Installation
			got, err := a.do(ctx, call{doing: doing, method: http.MethodGet, want: http.StatusOK, url: next})
			if err == nil {
				err = decode(doing, got.body, &page)
			}
			if err == nil {
				next, err = a.nextPage(got.header)
			}
			if err != nil {
				yield(Installation{}, err)
				return
			}
			for _, i := range page {
				if !yield(i, nil) {
					return
				}
			}
		}
	}
}

// nextPage reads the Link header (RFC 8288). A page elsewhere is refused: the
// JWT goes with the request.
func (a *App) nextPage(h http.Header) (string, error) {
	for link := range strings.SplitSeq(h.Get("Link"), ",") {
		target, parameters, _ := strings.Cut(strings.TrimSpace(link), ";")
		if !strings.Contains(parameters, `rel="next"`) {
			continue
		}
		next := strings.TrimSuffix(strings.TrimPrefix(target, "<"), ">")
		if !a.isOurs(next) {
			return "", errors.New("GitHub's next page is on another host")
		}
		return next, nil
	}
	return "", nil
}

// Installation returns the one with that id.
func (a *App) Installation(ctx context.Context, id int64) (Installation, error) {
	return a.find(ctx, fmt.Sprintf("find installation %d", id), fmt.Sprintf("/app/installations/%d", id))
}

// InstallationOf returns the installation on an account, user or organization.
// There is never a fallback to another account.
func (a *App) InstallationOf(ctx context.Context, owner string) (Installation, error) {
	doing := "find the installation on " + owner
	found, err := a.find(ctx, doing, "/orgs/"+url.PathEscape(owner)+"/installation")
	if e, ok := errors.AsType[*Error](err); ok && e.Kind == NotInstalled {
		found, err = a.find(ctx, doing, "/users/"+url.PathEscape(owner)+"/installation")
	}
	if err != nil {
		return Installation{}, err
	}
	if !strings.EqualFold(found.Account.Login, owner) {
		return Installation{}, fmt.Errorf("%s: GitHub answers with the one on %s; use the account's new name", doing, found.Account.Login)
	}
	return found, nil
}

func repositoryPath(owner, name string) string {
	return "/repos/" + url.PathEscape(owner) + "/" + url.PathEscape(name)
}

func (a *App) find(ctx context.Context, doing, path string) (Installation, error) {
	found, movedTo, err := a.findMoved(ctx, doing, path)
	if err == nil && movedTo != "" {
		err = &Error{Kind: Renamed, Doing: doing, Status: http.StatusMovedPermanently, Message: "it has another name by now"}
	}
	return found, err
}

// findMoved returns an installation, or where GitHub redirects to.
func (a *App) findMoved(ctx context.Context, doing, path string) (found Installation, movedTo string, err error) {
	return a.findAt(ctx, doing, a.base()+path)
}

func (a *App) findAt(ctx context.Context, doing, at string) (found Installation, movedTo string, err error) {
	got, err := a.do(ctx, call{doing: doing, method: http.MethodGet, want: http.StatusOK, moved: true, url: at})
	if err != nil {
		return Installation{}, "", err
	}
	var said struct {
		Installation
		Message string `json:"message"`
		URL     string `json:"url"`
	}
	if err := decode(doing, got.body, &said); err != nil {
		return Installation{}, "", err
	}
	switch {
	case said.ID > 0:
		return said.Installation, "", nil
	case a.isOurs(said.URL):
		return Installation{}, said.URL, nil
	}
	return Installation{}, "", &Error{Kind: Unavailable, Doing: doing, Err: errors.New("the answer holds no installation")}
}
