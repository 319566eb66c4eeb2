package broker

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/gatepass/gatepass/mint"
)

// A Pooled is a GitHub at which several Apps mint for the same accounts.
type Pooled interface {
	// Members returns all Apps, at least one. A single one is asked as if there were no
	// pool.
	Members(ctx context.Context, owner string) []Member
	// Seats are those of the Apps that can be asked. It does not wait.
	Seats(owner string) []mint.Seat
	// Whose is Turn for a caller that does not mint; ok is false where none can.
	Whose(key string, seats ...mint.Seat) (seat mint.Seat, ok bool)
	// Turn returns whose turn it is among members; see [mint.Pool.Turn].
	Turn(key string, seats ...mint.Seat) (mint.Seat, func(error), error)
}

// A Member is one App of a pool. Its Seat has a name.
type Member struct {
	Minter
	mint.Seat
	Err error // why it cannot be asked; nil where it can
}

// turnKey says who stays with one App, so that comments, checks and commits keep one
// author: a workspace with tokens of its own, and else all workspaces of a profile in one
// repository.
func (s Scope) turnKey() string {
	if strings.HasPrefix(s.Author, authorWorkspace) {
		return s.Author
	}
	return s.Author + " " + s.Repo.String()
}

// mintedByAny asks the App whose turn it is, and the next one where that cannot mint.
// With permission to write checks only Apps are passed over that are not installed there
// or were not granted enough: GitHub lets no other App update the check runs of one that
// is blocked for a while.
func mintedByAny(ctx context.Context, github Pooled, members []Member, s Scope) (mint.Minted, error) {
	var first error
	unseen := 0
	for len(members) > 0 {
		at, done, err := whoseTurn(github, members, s)
		if err != nil {
			return mint.Minted{Unconfirmed: unseen}, fromGitHub(cmpError(first, err))
		}
		m, err := mintedBy(ctx, members[at], s, true)
		done(err)
		m.Unconfirmed += unseen
		if first != nil && err == nil {
			m.Instead = "an App before it cannot mint: " + first.Error()
		}
		isMade := !m.Token.IsZero() // it opens less than was asked, and is to be revoked
		if isMade || !mint.IsPassedOver(err) || s.writesChecks() && isBlocked(err) {
			return m, err
		}
		unseen, first = m.Unconfirmed, cmpError(first, err)
		members = slices.Delete(slices.Clone(members), at, at+1)
	}
	return mint.Minted{Unconfirmed: unseen}, first
}

func cmpError(first, second error) error {
	if first != nil {
		return first
	}
	return second
}

func (s Scope) writesChecks() bool { return s.Permissions()["checks"] == "write" }

// isBlocked reports whether an App that cannot mint now may again later.
func isBlocked(err error) bool {
	e, ok := errors.AsType[*mint.Error](err)
	return ok && e.Kind != mint.NotInstalled && e.Kind != mint.NotGranted
}

// whoseTurn returns the index of a member. A scope with checks waits for the App whose
// turn it always is.
func whoseTurn(github Pooled, members []Member, s Scope) (at int, done func(error), err error) {
	var all, usable []mint.Seat
	for _, m := range members {
		all = append(all, m.Seat)
		if m.Err == nil {
			usable = append(usable, m.Seat)
		} else {
			err = cmpError(err, m.Err)
		}
	}
	is := func(seat mint.Seat) func(Member) bool { return func(m Member) bool { return m.Name == seat.Name } }
	if s.writesChecks() {
		usable = []mint.Seat{mint.FirstTurn(s.turnKey(), all...)}
		err = members[slices.IndexFunc(members, is(usable[0]))].Err
		if err != nil {
			return -1, nil, err
		}
	}
	if len(usable) == 0 {
		return -1, nil, err
	}
	seat, done, err := github.Turn(s.turnKey(), usable...)
	return slices.IndexFunc(members, is(seat)), done, err
}
