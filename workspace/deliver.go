package workspace

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
)

// errUnresolved marks the errors of one owner's repositories.
var errUnresolved = errors.New("no grant")

// renew makes and delivers one owner's token. An installation that GitHub does
// not know any more is looked up anew: the App may have been installed again.
func (i *Issuer) renew(ctx context.Context, r *Record, held *heldTokens, owner string, known installations) error {
	if i.Pool != nil {
		return i.renewInPool(ctx, r, held, owner, known)
	}
	if i.Unready != nil {
		return unresolved{i.Unready}
	}
	if err := known.failed[owner]; err != nil {
		return err
	}
	if err := i.cache.closed(owner, i.now()); err != nil {
		return unresolved{err}
	}
	err := i.renewWith(ctx, r, held, owner, known.installed)
	defer func() { i.cache.learn(owner, err, i.now()) }()
	if failure, ok := errors.AsType[*mint.Error](err); !ok || failure.Kind != mint.NotInstalled {
		return err
	}
	now, lookErr := i.cache.of(ctx, i, owner)
	if lookErr != nil || slices.ContainsFunc(known.installed, func(in mint.Installation) bool { return in.ID == now.ID }) {
		return err
	}
	err = i.renewWith(ctx, r, held, owner, []mint.Installation{now})
	return err
}

func (i *Issuer) renewWith(ctx context.Context, r *Record, held *heldTokens, owner string, installed []mint.Installation) error {
	patterns := r.Repositories
	if !slices.ContainsFunc(patterns, mint.Pattern.Everything) {
		patterns = slices.DeleteFunc(slices.Clone(patterns), func(p mint.Pattern) bool { return p.Owner() != owner })
	}
	grants, err := i.App.ResolveFrom(ctx, i.Catalog, patterns, r.Most(), installed)
	if err != nil {
		return unresolved{err}
	}
	at := slices.IndexFunc(grants, func(g mint.Grant) bool { return strings.EqualFold(g.Owner, owner) })
	if at < 0 {
		return unresolved{errors.New("repositories of " + owner + ": nothing was resolved for them")}
	}
	return i.mint(ctx, r, held, grants[at])
}

// unresolved is an error before GitHub was asked for a token.
type unresolved struct{ error }

func (u unresolved) Unwrap() []error { return []error{u.error, errUnresolved} }

// mint makes one owner's token and delivers it. The ledger is told before each
// step. The token that it takes the place of is kept first, to be revoked later.
func (i *Issuer) mint(ctx context.Context, r *Record, held *heldTokens, g mint.Grant) error {
	owner := strings.ToLower(g.Owner)
	if s, ok := i.Store.(store.Preparer); ok {
		if err := s.Prepare(ctx, r.ID); err != nil {
			return err
		}
	}
	t, err := i.announce(ctx, r, Token{Owner: g.Owner, Installation: g.Installation, Grant: r.Grant(owner)})
	if err != nil {
		return err
	}
	m, err := i.ask(ctx, r, g)
	if err != nil {
		return i.recordFailedMint(ctx, r, t, g, m.Unconfirmed, err)
	}
	t.Hash, t.Minted, t.Expires = m.Token.Hash(), i.now(), m.Token.Expiry.UTC()
	t.All, t.Repositories, t.Permissions = m.All, m.Token.Repositories, m.Token.Permissions
	i.happened(r, Event{
		Type: Generated, Workspace: r.ID, Owner: g.Owner, Hash: t.Hash, Expires: t.Expires, Installation: t.Installation, App: i.App.ID,
		All: t.All, Repositories: t.Repositories, Permissions: t.Permissions, Why: notes(g.Owner, m),
	})
	if i.moved != "" {
		i.happened(r, Event{Type: Moved, Workspace: r.ID, Owner: g.Owner, Installation: t.Installation, App: i.App.ID, Why: i.moved})
	}
	if err := i.deliver(ctx, r, held, t, m.Token); err != nil {
		return i.revokeUndelivered(ctx, r, t, m.Token, err)
	}
	i.recordUnconfirmed(r, g, m.Unconfirmed)
	t = r.at(Minted)
	superseded := r.current(owner, t.Hash)
	t.turn(Delivered, i.now(), notes(g.Owner, m))
	r.remember(PastEvent{At: i.now(), What: handed, Owner: t.Owner, Hash: t.Hash})
	for _, old := range superseded {
		old.turn(Superseded, i.now(), "")
	}
	err = i.save(ctx, r)
	if errors.Is(err, ErrBusy) { // another run took this one's place, and does not know the token
		return i.revokeUndelivered(ctx, r, t, m.Token, err)
	}
	return err
}

// notes is what a person should know of a token.
func notes(owner string, m mint.Minted) string {
	texts := m.Narrower
	if now := m.RenamedTo(owner); now != "" {
		texts = append(slices.Clip(texts), owner+" is called "+now+" now; write that in the profile, and run gatepass app discover")
	}
	return strings.Join(texts, ", ")
}

// ask has GitHub mint the token. Where the installation does not grant what is
// optional, the token is asked for without that, and says so.
func (i *Issuer) ask(ctx context.Context, r *Record, g mint.Grant) (mint.Minted, error) {
	m, err := i.App.Mint(ctx, g)
	failure, ok := errors.AsType[*mint.Error](err)
	if !ok || failure.Kind != mint.NotGranted || r.Optional.IsZero() {
		return m, err
	}
	now, lookErr := i.App.Installation(ctx, g.Installation)
	lacking := mint.Lacking(r.Optional.Levels(), now.Permissions)
	if lookErr != nil || len(lacking) == 0 {
		return m, err
	}
	g.Permissions = r.Permissions.With(r.Optional.Without(lacking))
	unseen := m.Unconfirmed
	m, err = i.App.Mint(ctx, g)
	m.Unconfirmed += unseen
	if err != nil {
		return m, err
	}
	for _, name := range slices.Sorted(maps.Keys(lacking)) {
		m.Narrower = append(m.Narrower, "without "+name+": "+lacking[name]+", which the installation does not grant")
	}
	return m, nil
}

// announce writes down that GitHub is about to be asked.
func (i *Issuer) announce(ctx context.Context, r *Record, t Token) (*Token, error) {
	t.turn(Minting, i.now(), "")
	r.Tokens = append(r.Tokens, t)
	if err := i.save(ctx, r); err != nil {
		r.Tokens = r.Tokens[:len(r.Tokens)-1] // GitHub is not asked for it
		return nil, err
	}
	return &r.Tokens[len(r.Tokens)-1], nil
}

// unminted writes down what became of the request, by which unseen tokens may
// have been made.
func (i *Issuer) recordFailedMint(ctx context.Context, r *Record, t *Token, g mint.Grant, unseen int, why error) error {
	_, ok := errors.AsType[*mint.Error](why)
	isWider := errors.Is(why, mint.ErrWider)
	note := unanswered
	if isWider {
		note = "GitHub granted more than was asked, and did not revoke it"
	}
	switch {
	case !ok && !isWider:
		return why // the caller gave up: GitHub may have carried it out
	case unseen > 0:
		i.recordUnconfirmed(r, g, unseen-1)
		return usererr.Join(why, i.abandon(ctx, r, r.at(Minting), note))
	}
	return usererr.Join(why, i.change(ctx, r, t, Revoked, "it was not granted"))
}

// unseen writes down tokens that may have been made by requests that were not
// answered.
func (i *Issuer) recordUnconfirmed(r *Record, g mint.Grant, count int) {
	for range count {
		t := Token{Owner: g.Owner, Installation: g.Installation, Lost: true, Expires: i.now().Add(tokenLife)}
		t.turn(Revoked, i.now(), unanswered)
		r.Tokens = append(r.Tokens, t)
		i.happened(r, Event{Type: Lost, Workspace: r.ID, Owner: g.Owner, Expires: t.Expires, Why: t.Note})
	}
}

const unanswered = "GitHub did not answer"

// at returns the line of the token that is being made: the latest in that state.
func (r *Record) at(state State) *Token {
	for at := len(r.Tokens) - 1; ; at-- {
		if r.Tokens[at].State == state {
			return &r.Tokens[at]
		}
	}
}

// current returns the owner's delivered tokens but that one.
func (r *Record) current(owner, but string) []*Token {
	var found []*Token
	for at := range r.Tokens {
		t := &r.Tokens[at]
		if strings.EqualFold(t.Owner, owner) && t.State == Delivered && t.Hash != but {
			found = append(found, t)
		}
	}
	return found
}

// hand puts a token where the workspace reads it, and the one that is there
// where it can be revoked.
func (i *Issuer) deliver(ctx context.Context, r *Record, held *heldTokens, t *Token, token credential.Token) error {
	owner := strings.ToLower(t.Owner)
	old, isThere := held.current[owner]
	if isThere {
		r.expect(old, i.now())
	}
	if err := i.change(ctx, r, t, Minted, ""); err != nil {
		return err
	}
	if isThere {
		if err := i.keep(ctx, r.ID, held, old); err != nil {
			return err
		}
	}
	name, err := store.Token(r.ID, owner)
	if err == nil {
		err = i.put(ctx, r.ID, held, name, token)
	}
	if err == nil {
		held.current[owner] = token
	}
	return err
}

// undo ends a token that could not be recorded or delivered, also for a caller
// that has given up. What fails here is left to the next run.
func (i *Issuer) revokeUndelivered(ctx context.Context, r *Record, t *Token, token credential.Token, why error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpWait)
	defer cancel()
	if i.App.Revoke(ctx, token) != nil {
		if name, err := supersededName(r.ID, token); err == nil {
			_ = i.Store.Put(ctx, name, store.NewSecret(token.Secret()), store.Replace) // the next run revokes it; where it is not there, it is lost
		}
		return why
	}
	i.happened(r, Event{Type: Ended, Workspace: r.ID, Owner: t.Owner, Hash: t.Hash, Why: "it could not be delivered"})
	name, err := store.Token(r.ID, t.Owner)
	if err != nil {
		return why
	}
	if entry, err := i.Store.Get(ctx, name); err == nil && entry.Value.Reveal() == token.Secret() {
		if i.Store.Delete(ctx, name) != nil {
			return why
		}
	}
	_ = i.change(ctx, r, t, Revoked, "it could not be delivered")
	return why
}
