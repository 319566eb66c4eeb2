package fakegithub

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// An Installation is an App installed on one account.
type Installation struct {
	ID          int64
	AppID       int64
	Account     string // login
	AccountType string // User or Organization; empty leaves it unchanged

	// Permissions that the account granted; nil means those that the App requests.
	Permissions Permissions

	// RepositorySelection is "all" or "selected"; empty means "selected".
	RepositorySelection string

	// Repositories are the selected ones: names of existing repositories without the
	// owner. They are stored by ID, so a rename does not remove them.
	Repositories []string

	Suspended bool
}

// installed is an Installation in the server's state.
type installed struct {
	id          int64
	app         *App
	account     *account
	permissions Permissions
	all         bool
	selected    map[int64]bool // repository IDs, unless all
	created     time.Time
	updated     time.Time
	suspended   time.Time // zero unless suspended
}

var (
	errUnknownInstallation = errors.New("no such installation")
	errUnknownRepository   = errors.New("no such repository")
)

// AddInstallation installs an App on an account and returns it with its ID.
func (s *Server) AddInstallation(in Installation) (Installation, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	made, err := s.state.install(in, s.Now())
	if err != nil {
		return Installation{}, fmt.Errorf("add installation on %s: %w", in.Account, err)
	}
	return s.state.describe(made), nil
}

func (st *state) install(in Installation, now time.Time) (*installed, error) {
	app := st.apps[in.AppID]
	if app == nil {
		return nil, errUnknownApp
	}
	acc, err := st.account(in.Account, in.AccountType)
	if err != nil {
		return nil, err
	}
	if st.installationOn(app, acc) != nil {
		return nil, errors.New("the App is installed there already")
	}
	if st.installations[in.ID] != nil {
		return nil, fmt.Errorf("id %d is taken", in.ID)
	}
	made := &installed{id: in.ID, app: app, account: acc, created: now, updated: now}
	if err := made.grant(in.Permissions); err != nil {
		return nil, err
	}
	if err := st.choose(made, in.RepositorySelection, in.Repositories); err != nil {
		return nil, err
	}
	if in.Suspended {
		made.suspended = now
	}
	if made.id == 0 {
		made.id = st.nextID()
	}
	st.installations[made.id] = made
	return made, nil
}

func (st *state) installationOn(app *App, acc *account) *installed {
	for _, in := range st.installations {
		if in.app == app && in.account == acc {
			return in
		}
	}
	return nil
}

// grant sets the permissions. An account cannot grant what the App did not request.
func (in *installed) grant(p Permissions) error {
	if p == nil {
		p = in.app.Permissions
	}
	if err := p.validate(); err != nil {
		return err
	}
	if !in.app.Permissions.covers(p) {
		return errors.New("permissions exceed those of the App")
	}
	in.permissions = p.withMetadata()
	return nil
}

func (st *state) choose(in *installed, selection string, names []string) error {
	switch {
	case selection == "all" && len(names) == 0:
		in.all, in.selected = true, nil
		return nil
	case selection == "all":
		return errors.New("selection is all, yet repositories are named")
	case selection != "selected" && selection != "":
		return fmt.Errorf("selection %q is neither all nor selected", selection)
	}
	selected := map[int64]bool{}
	for _, name := range names {
		repo := st.repository(in.account.login, name)
		if repo == nil {
			return fmt.Errorf("%w: %s/%s", errUnknownRepository, in.account.login, name)
		}
		selected[repo.ID] = true
	}
	in.all, in.selected = false, selected
	return nil
}

// reaches reports whether the installation has the repository.
func (in *installed) reaches(repo *Repository) bool {
	return fold(repo.Owner) == fold(in.account.login) && (in.all || in.selected[repo.ID])
}

func (in *installed) selection() string {
	if in.all {
		return "all"
	}
	return "selected"
}

// repositoriesOf returns the repositories of the installation, ordered by ID.
func (st *state) repositoriesOf(in *installed) []*Repository {
	var out []*Repository
	for _, id := range slices.Sorted(maps.Keys(st.repositories)) {
		if in.reaches(st.repositories[id]) {
			out = append(out, st.repositories[id])
		}
	}
	return out
}

func (st *state) describe(in *installed) Installation {
	out := Installation{
		ID: in.id, AppID: in.app.ID, Account: in.account.login, AccountType: in.account.shownKind(),
		Permissions: maps.Clone(in.permissions), RepositorySelection: in.selection(), Suspended: !in.suspended.IsZero(),
	}
	if !in.all {
		for _, repo := range st.repositoriesOf(in) {
			out.Repositories = append(out.Repositories, repo.Name)
		}
	}
	return out
}

func (s *Server) changeInstallation(id int64, change func(*installed) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	in := s.state.installations[id]
	if in == nil {
		return errUnknownInstallation
	}
	in.updated = s.Now()
	return change(in)
}

// Suspend suspends an installation or, with false, ends the suspension. Its tokens do
// not work while it is suspended.
func (s *Server) Suspend(installationID int64, suspended bool) error {
	return s.changeInstallation(installationID, func(in *installed) error {
		in.suspended = time.Time{}
		if suspended {
			in.suspended = s.Now()
		}
		return nil
	})
}

// SetRepositories changes the repositories of an installation, also for live tokens.
func (s *Server) SetRepositories(installationID int64, selection string, names ...string) error {
	return s.changeInstallation(installationID, func(in *installed) error {
		return s.state.choose(in, selection, names)
	})
}

// SetPermissions changes the granted permissions of an installation, also for live
// tokens. Permissions that the App does not request are added to the App first, because
// an account can approve only what the App requests.
func (s *Server) SetPermissions(installationID int64, p Permissions) error {
	return s.changeInstallation(installationID, func(in *installed) error {
		for name, level := range p {
			if !in.app.Permissions.Allows(name, level) {
				in.app.Permissions = maps.Clone(in.app.Permissions)
				in.app.Permissions[name] = level
			}
		}
		return in.grant(p)
	})
}

// RemoveInstallation removes an installation; its tokens stop working.
func (s *Server) RemoveInstallation(id int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.installations[id] == nil {
		return errUnknownInstallation
	}
	delete(s.state.installations, id)
	return nil
}
