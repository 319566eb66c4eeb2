package mint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/internal/gitname"
	"github.com/gatepass/gatepass/internal/usererr"
)

// An Installation is the App on one account.
type Installation struct {
	ID          int64             `json:"id"`
	Account     Account           `json:"account"`
	TargetType  string            `json:"target_type"`          // "User" or "Organization"
	Selection   string            `json:"repository_selection"` // "all" or "selected"
	Permissions map[string]string `json:"permissions"`
	SuspendedAt time.Time         `json:"suspended_at"` // zero if it is not suspended
	SuspendedBy Account           `json:"suspended_by"` // zero if it is not suspended
	HTMLURL     string            `json:"html_url"`     // its page in the account's settings
}

// An Account is a user or an organization.
type Account struct {
	Login string `json:"login"`
	ID    int64  `json:"id"`
	Type  string `json:"type"`
}

// Suspended reports whether GitHub refuses tokens of the installation.
func (i Installation) Suspended() bool { return !i.SuspendedAt.IsZero() }

// Installations yields every installation of the App, page by page, including suspended
// ones. It ends with the first error.
func (a *App) Installations(ctx context.Context) iter.Seq2[Installation, error] {
	const doing = "list the App's installations"
	rest := a.rest()
	return func(yield func(Installation, error) bool) {
		for next := "/app/installations?per_page=100"; next != ""; {
			var page []Installation
			got, err := rest.do(ctx, read(doing, next))
			if err == nil {
				err = decode(doing, got.body, &page)
			}
			if err == nil {
				next, err = rest.nextPage(got.header)
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

// nextPage returns the next page from the Link header (RFC 8288). It refuses a page at
// another address, because the JWT is sent along.
func (cl client) nextPage(h http.Header) (string, error) {
	for link := range strings.SplitSeq(h.Get("Link"), ",") {
		target, parameters, _ := strings.Cut(strings.TrimSpace(link), ";")
		if !strings.Contains(parameters, `rel="next"`) {
			continue
		}
		next := strings.TrimSuffix(strings.TrimPrefix(target, "<"), ">")
		if !cl.isOurs(next) {
			return "", errors.New("GitHub's next page is on another host")
		}
		return next, nil
	}
	return "", nil
}

// Installation returns the installation with that id.
func (a *App) Installation(ctx context.Context, id int64) (Installation, error) {
	return a.rest().find(ctx, fmt.Sprintf("find installation %d", id), fmt.Sprintf("/app/installations/%d", id))
}

// InstallationOf returns the installation on an account, a user or an organization. It
// never falls back to another account.
func (a *App) InstallationOf(ctx context.Context, owner string) (Installation, error) {
	doing := "find the installation on " + owner
	rest := a.rest()
	found, err := rest.find(ctx, doing, "/orgs/"+url.PathEscape(owner)+"/installation")
	if e, ok := errors.AsType[*Error](err); ok && e.Kind == NotInstalled {
		found, err = rest.find(ctx, doing, "/users/"+url.PathEscape(owner)+"/installation")
	}
	if err != nil {
		return Installation{}, err
	}
	if !strings.EqualFold(found.Account.Login, owner) {
		return Installation{}, fmt.Errorf("%s: GitHub returns the installation on %s; use the account's new name", doing, found.Account.Login)
	}
	return found, nil
}

// InstallationFor returns the installation that includes a repository. For a renamed
// repository it returns an [*Error] of kind [Renamed], because GitHub redirects to its
// id. The error names the new owner if that is another one.
func (a *App) InstallationFor(ctx context.Context, owner, name string) (Installation, error) {
	doing := "find the installation for " + owner + "/" + name
	found, movedTo, err := a.rest().findMoved(ctx, doing, repositoryPath(owner, name)+"/installation")
	if err != nil || movedTo == "" {
		return found, err
	}
	e := &Error{Kind: Renamed, Op: doing, Status: http.StatusMovedPermanently, Message: "it has another name now"}
	if now, _, err := a.rest().findMoved(ctx, doing, movedTo); err == nil && now.ID > 0 && !isSame(now.Account.Login, owner) {
		e.Message = "it belongs to " + now.Account.Login + " now: the account was renamed, or the repository transferred"
		e.hint = "write " + now.Account.Login + "/" + name + " in the profile, and in the remotes of clones"
	}
	return Installation{}, e
}

// InstallationForID returns the installation that includes the repository with that id.
// GitHub itself redirects to this address from a former name.
func (a *App) InstallationForID(ctx context.Context, id int64) (Installation, error) {
	return a.rest().find(ctx, fmt.Sprintf("find the installation for repository %d", id), fmt.Sprintf("/repositories/%d/installation", id))
}

func repositoryPath(owner, name string) string {
	return "/repos/" + url.PathEscape(owner) + "/" + url.PathEscape(name)
}

func (cl client) find(ctx context.Context, doing, path string) (Installation, error) {
	found, movedTo, err := cl.findMoved(ctx, doing, path)
	if err == nil && movedTo != "" {
		err = &Error{Kind: Renamed, Op: doing, Status: http.StatusMovedPermanently, Message: "it has another name now"}
	}
	return found, err
}

// findMoved returns an installation, or the address to which GitHub redirects.
func (cl client) findMoved(ctx context.Context, doing, at string) (found Installation, movedTo string, err error) {
	got, err := cl.do(ctx, call{doing: doing, method: http.MethodGet, want: http.StatusOK, followMoved: true, url: at})
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
	case cl.isOurs(said.URL):
		return Installation{}, said.URL, nil
	}
	return Installation{}, "", &Error{Kind: Unavailable, Op: doing, Err: errors.New("the answer has no installation")}
}

// A reader has a token that can read the names of an installation's repositories and
// nothing in them.
type reader struct {
	rest  client
	token credential.Token
}

func (r reader) read(doing, url string) call {
	c := read(doing, url)
	c.token, c.minted = r.token.Secret(), mintedAt(r.token)
	return c
}

// withReader makes a reader, calls use, and revokes the reader's token.
func withReader(ctx context.Context, a *App, installation int64, use func(reader) error) error {
	m, err := a.Mint(ctx, Grant{Installation: installation, Repositories: AllRepositories(), Permissions: PermissionLevels(map[string]string{"metadata": "read"})})
	if err != nil {
		return err
	}
	err = use(reader{a.rest(), m.Token})
	if revokeErr := a.RevokeUnused(ctx, m.Token); err == nil {
		err = revokeErr
	}
	return err
}

// repositories yields all repositories of the installation, page by page.
func (r reader) repositories(ctx context.Context) iter.Seq2[repository, error] {
	const doing = "list the installation's repositories"
	return func(yield func(repository, error) bool) {
		for next := "/installation/repositories?per_page=100"; next != ""; {
			var page struct {
				Repositories []repository `json:"repositories"`
			}
			got, err := r.rest.do(ctx, r.read(doing, next))
			if err == nil {
				err = decode(doing, got.body, &page)
			}
			if err == nil {
				next, err = r.rest.nextPage(got.header)
			}
			if err != nil {
				yield(repository{}, err)
				return
			}
			for _, repo := range page.Repositories {
				if !yield(repo, nil) {
					return
				}
			}
		}
	}
}

// TokenRepositories returns the names of the repositories that a token opens, at most limit.
func (a *App) TokenRepositories(ctx context.Context, t credential.Token, limit int) ([]string, error) {
	var names []string
	for repo, err := range (reader{a.rest(), t}).repositories(ctx) {
		if err != nil {
			return nil, err
		}
		if names = append(names, repo.FullName); len(names) == limit {
			break
		}
	}
	return names, nil
}

// missing returns an error that explains why exact names were not found. A wildcard may
// match nothing.
func (r resolver) missing(ctx context.Context, installation int64, unmatched []Pattern) error {
	exact := slices.DeleteFunc(unmatched, func(p Pattern) bool { return p.star })
	if len(exact) == 0 {
		return nil
	}
	return withReader(ctx, r.app, installation, func(names reader) error {
		var bad []error
		for _, p := range exact {
			bad = append(bad, names.explain(ctx, p.text, p.id))
		}
		return usererr.Join(bad...)
	})
}

// explain returns why the installation does not include owner/name. It does not follow
// a rename, because a policy means the name that it states. A public repository can be
// read without a grant. id is the id that the repository must have; 0 means any.
func (r reader) explain(ctx context.Context, fullName string, id int64) error {
	doing := "find " + fullName
	found, err := r.lookUp(ctx, doing, fullName)
	failure, ok := errors.AsType[*Error](err)
	switch {
	case ok && failure.Status == http.StatusNotFound:
		return &Error{Kind: NotGranted, Op: doing, Err: errors.New("it does not exist, or the installation cannot reach it")}
	case err != nil:
		return err
	case gitname.Fold(found.FullName) != gitname.Fold(fullName):
		return renamed(doing, found.FullName)
	case id != 0 && found.ID != id:
		return replaced(fullName, id, found.ID)
	}
	return &Error{Kind: NotGranted, Op: doing, Err: errors.New("the installation cannot reach it")}
}

// lookUp returns the current name of a repository, following GitHub's redirect from a
// former name
// (https://docs.github.com/rest/using-the-rest-api/best-practices-for-using-the-rest-api#follow-redirects).
func (r reader) lookUp(ctx context.Context, doing, fullName string) (repository, error) {
	next := r.read(doing, "/repos/"+fullName)
	next.followMoved = true
	for range 3 {
		got, err := r.rest.do(ctx, next)
		if err != nil {
			return repository{}, err
		}
		var said struct {
			repository
			URL string `json:"url"`
		}
		if json.Unmarshal(got.body, &said) == nil && said.FullName != "" {
			return said.repository, nil
		}
		if next.url = said.URL; !r.rest.isOurs(next.url) {
			break
		}
	}
	return repository{}, &Error{Kind: Unavailable, Op: doing, Err: errors.New("the answer has no repository")}
}

// isOurs reports whether a URL is at the same host, because the token is sent along.
func (cl client) isOurs(text string) bool {
	u, err := url.Parse(text)
	base, baseErr := url.Parse(cl.base)
	return err == nil && baseErr == nil && u.Scheme == base.Scheme && u.Host == base.Host
}

// explainAll explains every name of g that the installation does not include.
func (r reader) explainAll(ctx context.Context, g Grant) error {
	reached, nameOf := map[string]int64{}, map[int64]string{}
	for repo, err := range r.repositories(ctx) {
		if err != nil {
			return nil
		}
		reached[gitname.Fold(repo.FullName)], nameOf[repo.ID] = repo.ID, repo.FullName
	}
	var bad []error
	for _, pin := range g.Repositories.named() {
		full := g.Owner + "/" + pin.Name
		id, ok := reached[gitname.Fold(full)]
		switch {
		case ok && pin.ID != 0 && pin.ID != id:
			bad = append(bad, replaced(full, pin.ID, id))
		case !ok && nameOf[pin.ID] != "":
			bad = append(bad, renamed("find "+full, nameOf[pin.ID]))
		case !ok:
			bad = append(bad, r.explain(ctx, full, pin.ID))
		}
	}
	return usererr.Join(bad...)
}
