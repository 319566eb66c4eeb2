package mint

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/gatepass/gatepass/internal/gitname"
)

// WhyNot looks for what of g, which names its owner, GitHub does not grant: the answer
// to a mint says no more than that something was not. It returns nil when there is
// nothing to find out. It asks GitHub up to four times, and once more for each
// repository that is not there.
func (a *App) WhyNot(ctx context.Context, g Grant) error {
	found, err := a.Installation(ctx, g.Installation)
	if err != nil {
		return nil // the first answer says more than that this one failed
	}
	if !isSame(found.Account.Login, g.Owner) {
		return renamedAccount(g.Owner, found.Account.Login)
	}
	if lacking := Lacking(g.Permissions.levels, found.Permissions); len(lacking) > 0 {
		return a.notApproved(ctx, found, lacking)
	}
	if len(g.Repositories.named()) == 0 {
		return nil
	}
	var why error
	err = a.withReader(ctx, g.Installation, func(r reader) error {
		why = r.explainAll(ctx, g)
		return nil
	})
	if err != nil {
		return nil
	}
	return why
}

// notApproved names the permissions that an installation lacks, what it grants, and
// who can change that where.
func (a *App) notApproved(ctx context.Context, i Installation, lacking map[string]string) error {
	var texts []string
	for _, name := range slices.Sorted(maps.Keys(lacking)) {
		granted := i.Permissions[name]
		if granted == "" {
			granted = "none"
		}
		texts = append(texts, fmt.Sprintf("%s: %s (granted: %s)", name, lacking[name], granted))
	}
	owner := "an owner of the organization " + i.Account.Login
	if i.Account.Type == "User" || i.TargetType == "User" {
		owner = "the user " + i.Account.Login
	}
	do := "have " + owner + " approve it: " + i.HTMLURL
	if self, err := a.Self(ctx); err == nil && len(Lacking(lacking, self.Permissions)) > 0 {
		do = "the App does not ask for it: add it to the permissions of the App " + self.Name + ", then " + do
	}
	return &Error{
		Kind: NotGranted, Doing: "ask for the permissions", do: do,
		Err: fmt.Errorf("the installation on %s lacks %s", i.Account.Login, strings.Join(texts, ", ")),
	}
}

// isSame reports whether two logins are of one account.
func isSame(one, other string) bool { return gitname.Fold(one) == gitname.Fold(other) }

func renamedAccount(was, now string) error {
	return &Error{
		Kind: Renamed, Doing: "find the account " + was, Err: fmt.Errorf("it is called %s now", now),
		do: "write " + now + " in the profile, and run gatepass app discover",
	}
}

// RenamedTo returns what the owner of the token's repositories is called, where that
// is not owner, and "" where it is.
func (m Minted) RenamedTo(owner string) string {
	for _, full := range m.Token.Repositories {
		if login, _, _ := strings.Cut(full, "/"); !isSame(login, owner) {
			return login
		}
	}
	return ""
}

// Renamed returns an [*Error] of kind [Renamed] where an account that GitHub does not
// know has another name by now, and nil where that cannot be told. For a former name
// of an account GitHub answers as if there were none; an installation that was on it,
// and the repositories that patterns name, lead to today's.
func (a *App) Renamed(ctx context.Context, owner string, installation int64, patterns []Pattern) error {
	if installation != 0 {
		if found, err := a.Installation(ctx, installation); err == nil && !isSame(found.Account.Login, owner) {
			return renamedAccount(owner, found.Account.Login)
		}
	}
	for _, p := range patterns {
		if p.star || p.owner != gitname.Fold(owner) {
			continue
		}
		_, err := a.InstallationFor(ctx, owner, p.name)
		if e, ok := errors.AsType[*Error](err); ok && e.Kind == Renamed {
			return e
		}
		return nil
	}
	return nil
}

// InstallationForID returns the installation that reaches the repository with that id, as
// GitHub itself redirects to it from a former name.
func (a *App) InstallationForID(ctx context.Context, id int64) (Installation, error) {
	return a.find(ctx, fmt.Sprintf("find the installation for repository %d", id), fmt.Sprintf("/repositories/%d/installation", id))
}

// InstallationFor returns the installation that reaches a repository. One that has
// another name by now is an [*Error] of kind [Renamed]: GitHub redirects to its id, not
// to its name. The error names the owner where that is another one.
func (a *App) InstallationFor(ctx context.Context, owner, name string) (Installation, error) {
	doing := "find the installation for " + owner + "/" + name
	found, movedTo, err := a.findMoved(ctx, doing, repositoryPath(owner, name)+"/installation")
	if err != nil || movedTo == "" {
		return found, err
	}
	e := &Error{Kind: Renamed, Doing: doing, Status: http.StatusMovedPermanently, Message: "it has another name by now"}
	if now, _, err := a.findAt(ctx, doing, movedTo); err == nil && now.ID > 0 && !isSame(now.Account.Login, owner) {
		e.Message = "it belongs to " + now.Account.Login + " now: the account was renamed, or the repository transferred"
		e.do = "write " + now.Account.Login + "/" + name + " in the profile, and in the remotes of clones"
	}
	return Installation{}, e
}
