package issuing

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
)

// A State says how an installation at GitHub and the store's entry for its account
// agree.
type State string

// The states that Compare finds.
const (
	New       State = "new"       // the store has no entry
	Known     State = "known"     // the store has its id
	Changed   State = "changed"   // the store has another id, or none that is valid
	Stale     State = "stale"     // the store has an entry, but GitHub no installation of that name
	Suspended State = "suspended" // GitHub refuses tokens; the store's entry, if any, stays as it is
	Unusable  State = "unusable"  // it is on an enterprise, which owns no repositories
)

// What ApplyChanges turns them into.
const (
	Added    State = "added"
	Replaced State = "replaced"
	Removed  State = "removed"
)

// An AccountState is one account's installation, at GitHub and in the store.
type AccountState struct {
	Account   string    `json:"account"`                // GitHub's spelling, else the store's
	Type      string    `json:"type,omitempty"`         // User, Organization or Enterprise
	ID        int64     `json:"id,omitempty"`           // GitHub's id; 0 if there is none
	Stored    int64     `json:"stored,omitempty"`       // the store's id; 0 if there is none
	Selection string    `json:"repositories,omitempty"` // which repositories it covers: all or selected
	State     State     `json:"state"`
	Since     time.Time `json:"suspended_since,omitzero"`
	Note      string    `json:"note,omitempty"`

	name      store.Name // name of the store's entry, existing or new
	movedTo   string     // the account where a stale entry's installation is now
	otherCase bool       // the store has the account in another case, as gatepass's predecessor wrote it
}

// IsOtherCase reports whether this is a stale entry that gatepass's predecessor wrote,
// in another case, for an account that exists. It works.
func (s AccountState) IsOtherCase() bool { return s.otherCase }

// A Stored is the store's entry for one account.
type Stored struct {
	Name store.Name
	ID   int64 // 0 if the entry is not a valid id
}

// StoredInstallations reads all entries, also those without a valid id.
func StoredInstallations(ctx context.Context, s store.Store) ([]Stored, error) {
	var all []Stored
	for name, err := range s.List(ctx, store.Installations()) {
		if err != nil {
			return nil, err
		}
		if _, ok := name.Owner(); !ok {
			continue
		}
		entry, err := s.Get(ctx, name)
		if errors.Is(err, store.ErrNotFound) {
			continue // it was deleted meanwhile
		}
		if err != nil {
			return nil, err
		}
		all = append(all, Stored{name, parseID(entry.Value)})
	}
	return all, nil
}

func parseID(value store.Secret) int64 {
	id, err := strconv.ParseInt(strings.TrimSpace(value.Reveal()), 10, 64)
	if err != nil || id <= 0 {
		return 0
	}
	return id
}

// LegacyInstallation returns the one installation in the format of gatepass's predecessor; 0 if
// there is none.
func LegacyInstallation(ctx context.Context, s store.Store) (int64, error) {
	entry, err := s.Get(ctx, store.LegacyInstallation())
	if errors.Is(err, store.ErrNotFound) {
		return 0, nil
	}
	return parseID(entry.Value), err
}

// ListInstallations returns all of the App's installations, or an error: an incomplete list would
// not show what is missing.
func ListInstallations(ctx context.Context, app *mint.App) ([]mint.Installation, error) {
	var all []mint.Installation
	for i, err := range app.Installations(ctx) {
		if err != nil {
			return nil, err
		}
		all = append(all, i)
	}
	return all, nil
}

// Compare compares all of the App's installations with all of the store's entries. The
// result is sorted by account. It depends on its arguments only.
func Compare(found []mint.Installation, stored []Stored) []AccountState {
	entries := map[store.Name]Stored{}
	for _, e := range stored {
		entries[e.Name] = e
	}
	var all []AccountState
	byID := map[int64]string{}
	for _, i := range found {
		s := standing(i, entries)
		delete(entries, s.name)
		byID[i.ID] = s.Account
		all = append(all, s)
	}
	for _, e := range entries {
		all = append(all, stale(e, byID))
	}
	slices.SortFunc(all, func(a, b AccountState) int {
		return cmp.Or(cmp.Compare(strings.ToLower(a.Account), strings.ToLower(b.Account)), cmp.Compare(a.ID, b.ID), cmp.Compare(a.Account, b.Account))
	})
	return all
}

// standing returns the state of an installation at GitHub.
func standing(i mint.Installation, entries map[store.Name]Stored) AccountState {
	s := AccountState{Account: i.Account.Login, Type: i.TargetType, ID: i.ID, Selection: i.Selection, Since: i.SuspendedAt}
	var err error
	if s.name, err = store.Installation(i.Account.Login); err != nil {
		s.State, s.Note = Unusable, "its account cannot have repositories"
		return s
	}
	entry, present := entries[s.name]
	s.Stored = entry.ID
	other := "the store has " + idText(entry.ID)
	switch {
	case i.Suspended():
		s.State, s.Note = Suspended, "since "+i.SuspendedAt.UTC().Format(time.DateOnly)
		if present && entry.ID != i.ID {
			s.Note += "; " + other
		}
	case !present:
		s.State, s.otherCase = New, hasOtherCase(entries, s)
	case entry.ID == i.ID:
		s.State = Known
	default:
		s.State, s.Note = Changed, other
	}
	return s
}

func hasOtherCase(entries map[store.Name]Stored, s AccountState) bool {
	for name, e := range entries {
		if e.ID == s.ID && strings.EqualFold(name.String(), s.name.String()) {
			return true
		}
	}
	return false
}

// stale returns the state of an entry whose account has no installation.
func stale(e Stored, byID map[int64]string) AccountState {
	login, _ := e.Name.Owner()
	s := AccountState{Account: login, Stored: e.ID, State: Stale, Note: "GitHub has no installation there", name: e.Name}
	now, isElsewhere := byID[e.ID]
	switch {
	case isElsewhere && strings.EqualFold(now, login):
		s.Note, s.otherCase = "it is written "+strings.ToLower(login)+" now", true
	case isElsewhere:
		s.Note, s.movedTo = "the installation is on "+now+" now", now
	}
	return s
}

func idText(id int64) string {
	if id == 0 {
		return "no id"
	}
	return strconv.FormatInt(id, 10)
}

// Changes says what ApplyChanges may do besides adding new entries.
type Changes struct {
	Replace bool // replace changed IDs
	Remove  bool // remove stale entries
}

// ApplyChanges applies to the store what Compare found, as far as may allows, and sets the
// accounts' State to what it did. It removes entries last.
func ApplyChanges(ctx context.Context, s store.Store, all []AccountState, may Changes) error {
	for i := range all {
		at := &all[i]
		switch {
		case at.State == New:
			if err := at.put(ctx, s, store.CreateOnly, Added); err != nil {
				return err
			}
		case at.State == Changed && may.Replace:
			if err := at.put(ctx, s, store.Replace, Replaced); err != nil {
				return err
			}
		}
	}
	for i := range all {
		if at := &all[i]; at.State == Stale && may.Remove {
			if err := s.Delete(ctx, at.name); err != nil {
				return err
			}
			at.State = Removed
		}
	}
	return nil
}

func (s *AccountState) put(ctx context.Context, into store.Store, mode store.Mode, done State) error {
	err := into.Put(ctx, s.name, store.NewSecret(strconv.FormatInt(s.ID, 10)), mode)
	if errors.Is(err, store.ErrExists) {
		return &usererr.Error{Op: "add the installation on " + s.Account, Reason: "another run has just added it", Hint: "run gatepass app discover", Err: err}
	}
	if err == nil {
		s.State = done
	}
	return err
}

// Discover compares GitHub and the store, and applies the changes that may allows. It
// changes nothing unless it could read both completely.
func Discover(ctx context.Context, s store.Store, app *mint.App, may Changes) ([]AccountState, error) {
	found, err := ListInstallations(ctx, app)
	if err != nil {
		return nil, err
	}
	stored, err := StoredInstallations(ctx, s)
	if err != nil {
		return nil, err
	}
	all := Compare(found, stored)
	return all, ApplyChanges(ctx, s, all, may)
}

// CompareOne returns the AccountState of one installation that a person named, suspended or not:
// Known, New or Changed.
func CompareOne(ctx context.Context, s store.Store, i mint.Installation) (AccountState, error) {
	name, err := store.Installation(i.Account.Login)
	if err != nil {
		return AccountState{}, usererr.New(fmt.Sprintf("add installation %d", i.ID), "its account cannot have repositories", "")
	}
	var stored []Stored
	entry, err := s.Get(ctx, name)
	switch {
	case err == nil:
		stored = []Stored{{name, parseID(entry.Value)}}
	case !errors.Is(err, store.ErrNotFound):
		return AccountState{}, err
	}
	working := i
	working.SuspendedAt = time.Time{}
	one := Compare([]mint.Installation{working}, stored)[0]
	if i.Suspended() {
		one.Since = i.SuspendedAt
		one.Note = strings.TrimPrefix(one.Note+"; suspended since "+i.SuspendedAt.UTC().Format(time.DateOnly)+", so no token can be minted", "; ")
	}
	return one, nil
}
