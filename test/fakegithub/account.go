package fakegithub

import (
	"fmt"
	"strings"
)

// The two kinds of account an App can be installed on.
const (
	User         = "User"
	Organization = "Organization"

	bot = "Bot" // of an App, which acts as its bot
)

type account struct {
	id    int64
	login string
	kind  string // User, Organization, or "" while unknown
}

// account finds or creates an account. An empty kind matches any kind.
func (st *state) account(login, kind string) (*account, error) {
	if !validOwner(login) {
		return nil, fmt.Errorf("account name %q is not one GitHub allows", login)
	}
	if kind != "" && kind != User && kind != Organization {
		return nil, fmt.Errorf("account type %q is neither User nor Organization", kind)
	}
	a := st.accounts[fold(login)]
	if a == nil {
		a = &account{id: st.nextID(), login: login}
		st.accounts[fold(login)] = a
	}
	if kind != "" && a.kind != "" && a.kind != kind {
		return nil, fmt.Errorf("account %s is a %s", a.login, a.kind)
	}
	if a.kind == "" {
		a.kind = kind
	}
	return a, nil
}

// hasAccount reports whether a user, an organization or the bot of an App has the login.
func (st *state) hasAccount(login string) bool {
	return st.accounts[fold(login)] != nil || st.botOf(login) != nil
}

// botOf returns the App whose bot has the login, or nil.
func (st *state) botOf(login string) *App {
	for _, app := range st.apps {
		if fold(app.Slug+"[bot]") == fold(login) {
			return app
		}
	}
	return nil
}

// user finds or creates an account. A login that ends in [bot] is an App's.
func (st *state) user(login string) *account {
	a := st.accounts[fold(login)]
	if a == nil {
		a = &account{id: st.nextID(), login: login, kind: User}
		if strings.HasSuffix(login, "[bot]") {
			a.kind = bot
		}
		st.accounts[fold(login)] = a
	}
	return a
}

// getUser finds the owners of repositories and the bots of Apps
// (https://docs.github.com/rest/users/users#get-a-user). Without a token, GitHub does
// not show the bot of a private App.
func getUser(c call) answer {
	login := c.r.PathValue("login")
	app := c.s.state.botOf(login)
	if !c.s.state.hasAccount(login) || app != nil && !app.Public && c.token == nil {
		return notFound.answer()
	}
	out := c.showAccount(c.s.state.user(login))
	for _, key := range []string{"name", "company", "location", "email", "hireable", "bio"} {
		out[key] = nil
	}
	for _, key := range []string{"public_repos", "public_gists", "followers", "following"} {
		out[key] = 0
	}
	out["blog"], out["created_at"], out["updated_at"] = "", timestamp(c.s.Now()), timestamp(c.s.Now())
	return ok(out)
}

// AddAccount creates an account. Repositories and installations create their accounts
// themselves, so call it only to set an account's type.
func (s *Server) AddAccount(login, kind string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := s.state.account(login, kind)
	return err
}

// RenameAccount renames an account. Its repositories redirect from their former names.
// API requests that name the account itself do not: GitHub answers 404 for a former
// name.
func (s *Server) RenameAccount(login, newLogin string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := &s.state
	a := st.accounts[fold(login)]
	switch {
	case a == nil:
		return fmt.Errorf("rename %s: no such account", login)
	case !validOwner(newLogin) || st.accounts[fold(newLogin)] != nil:
		return fmt.Errorf("rename %s: %q is taken or not a name GitHub allows", login, newLogin)
	}
	delete(st.accounts, fold(login))
	st.accounts[fold(newLogin)], a.login = a, newLogin
	for _, repo := range st.repositories {
		if fold(repo.Owner) != fold(login) {
			continue
		}
		delete(st.names, fold(repo.FullName()))
		st.oldNames[fold(repo.FullName())] = repo.ID
		repo.Owner = newLogin
		st.names[fold(repo.FullName())] = repo.ID
	}
	return nil
}

func (a *account) shownKind() string {
	if a.kind == "" {
		return User
	}
	return a.kind
}

// fold normalizes a name as GitHub compares names. Names are ASCII, which is checked
// before.
func fold(name string) string { return strings.ToLower(name) }

func validOwner(s string) bool {
	return s != "" && len(s) <= 39 && s[0] != '-' && s[0] != '_' && onlyNameBytes(s, "-_")
}

func validRepository(s string) bool {
	return s != "" && len(s) <= 100 && s != "." && s != ".." && onlyNameBytes(s, "-_.")
}

func onlyNameBytes(s, extra string) bool {
	for i := range len(s) {
		c := s[i]
		alnum := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !alnum && strings.IndexByte(extra, c) < 0 {
			return false
		}
	}
	return true
}
