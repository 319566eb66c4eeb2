package fakegithub

import (
	"crypto/rsa"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// An App is a registered GitHub App. Fields left zero are filled in by AddApp.
type App struct {
	ID       int64
	ClientID string // such as Iv23liAbCdEfGhIjKlMn
	Slug     string // its bot is called SLUG[bot]
	Name     string
	Owner    string // login of the account that registered the App
	Public   bool   // other accounts may install it too

	Description, Homepage string // as on its page

	// Permissions are what the App requests from an account that installs it.
	Permissions Permissions

	// Keys verify the App's JWTs. GitHub lets an App have several, for rotation.
	Keys []*rsa.PublicKey
}

// AddApp registers an App and returns it with its IDs.
func (s *Server) AddApp(app App) (App, error) {
	if err := app.Permissions.validate(); err != nil {
		return App{}, fmt.Errorf("add app: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.completeApp(&app)
	if s.state.appTaken(app) {
		return App{}, fmt.Errorf("add app: id %d, client id %q or slug %q is taken", app.ID, app.ClientID, app.Slug)
	}
	if _, err := s.state.account(app.Owner, ""); err != nil {
		return App{}, fmt.Errorf("add app: %w", err)
	}
	app.Permissions = app.Permissions.withMetadata()
	app.Keys = slices.Clone(app.Keys)
	s.state.apps[app.ID] = &app
	return app.clone(), nil
}

func (st *state) completeApp(app *App) {
	if app.ID == 0 {
		app.ID = st.nextID()
	}
	if app.ClientID == "" {
		app.ClientID = fmt.Sprintf("Iv23li%014d", app.ID)
	}
	if app.Slug == "" {
		app.Slug = fmt.Sprintf("app-%d", app.ID)
	}
	if app.Name == "" {
		app.Name = app.Slug
	}
	if app.Owner == "" {
		app.Owner = "app-owner"
	}
}

func (st *state) appTaken(app App) bool {
	for _, other := range st.apps {
		if other.ID == app.ID || other.ClientID == app.ClientID || other.Slug == app.Slug {
			return true
		}
	}
	return false
}

func (a App) clone() App {
	a.Permissions = maps.Clone(a.Permissions)
	a.Keys = slices.Clone(a.Keys)
	return a
}

// Apps returns all Apps, oldest first.
func (s *Server) Apps() []App {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []App
	for _, id := range slices.Sorted(maps.Keys(s.state.apps)) {
		all = append(all, s.state.apps[id].clone())
	}
	return all
}

// AddKey adds a key that the App may sign with.
func (s *Server) AddKey(appID int64, key *rsa.PublicKey) error {
	return s.changeApp(appID, func(a *App) { a.Keys = append(a.Keys, key) })
}

// RemoveKey removes a key of the App; JWTs signed with it are refused.
func (s *Server) RemoveKey(appID int64, key *rsa.PublicKey) error {
	return s.changeApp(appID, func(a *App) {
		a.Keys = slices.DeleteFunc(a.Keys, func(k *rsa.PublicKey) bool { return k.Equal(key) })
	})
}

// SetPublic sets whether accounts other than the owner may install the App.
func (s *Server) SetPublic(appID int64, isPublic bool) error {
	return s.changeApp(appID, func(a *App) { a.Public = isPublic })
}

var errUnknownApp = errors.New("no such App")

func (s *Server) changeApp(id int64, change func(*App)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	app := s.state.apps[id]
	if app == nil {
		return errUnknownApp
	}
	change(app)
	return nil
}

// appByIssuer finds an App by the issuer of a JWT: client ID or App ID.
func (st *state) appByIssuer(issuer string) *App {
	for _, app := range st.apps {
		if issuer == app.ClientID || issuer == strconv.FormatInt(app.ID, 10) {
			return app
		}
	}
	return nil
}
