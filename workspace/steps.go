package workspace

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/internal/redact"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
)

const (
	unanswered  = "GitHub did not answer"
	undelivered = "it could not be delivered"
)

// mint mints one owner's token with an App and delivers it. It writes the record before
// each step. The superseded token stays in the store, to be revoked later.
func (r *run) mint(ctx context.Context, m minter, g mint.Grant, moved string) error {
	owner := strings.ToLower(g.Owner)
	if s, ok := r.ledger.store.(store.Preparer); ok {
		if err := s.Prepare(ctx, r.record.ID); err != nil {
			return err
		}
	}
	t, err := r.recordIntent(ctx, Token{Owner: g.Owner, Installation: g.Installation, Grant: grantOf(r.record.Access, owner)})
	if err != nil {
		return err
	}
	made, err := m.mintGrant(ctx, r.record, g)
	if err != nil {
		return r.recordFailedMint(ctx, t, g, made.Unconfirmed, err)
	}
	r.recordMint(t, m, made, moved)
	if err := r.deliver(ctx, t, made.Token); err != nil {
		return r.revokeUndelivered(ctx, m, t, made.Token, err)
	}
	r.recordUnconfirmed(g, made.Unconfirmed)
	t = r.record.latestIn(Minted)
	superseded := r.record.delivered(owner, t.Hash)
	t.setState(Delivered, r.ledger.clock.now(), notes(g.Owner, made))
	r.remember(PastEvent{What: delivered, Owner: t.Owner, Hash: t.Hash})
	for _, old := range superseded {
		old.setState(Superseded, r.ledger.clock.now(), "")
	}
	err = r.ledger.save(ctx, r.record)
	if errors.Is(err, ErrBusy) { // another run took over and does not know the token
		return r.revokeUndelivered(ctx, m, t, made.Token, err)
	}
	return err
}

// recordIntent records that GitHub is about to be asked for a token.
func (r *run) recordIntent(ctx context.Context, t Token) (*Token, error) {
	t.setState(Minting, r.ledger.clock.now(), "")
	r.record.Tokens = append(r.record.Tokens, t)
	last := len(r.record.Tokens) - 1
	if err := r.ledger.save(ctx, r.record); err != nil {
		r.record.Tokens = r.record.Tokens[:last] // GitHub is then not asked
		return nil, err
	}
	return &r.record.Tokens[last], nil
}

// mintGrant has GitHub mint the token. If the installation does not grant the optional
// permissions, it asks again without them, and Narrower says so.
func (m minter) mintGrant(ctx context.Context, r *Record, g mint.Grant) (mint.Minted, error) {
	made, err := m.App.Mint(ctx, g)
	failure, ok := errors.AsType[*mint.Error](err)
	if !ok || failure.Kind != mint.NotGranted || r.Optional.IsZero() {
		return made, err
	}
	now, lookErr := m.App.Installation(ctx, g.Installation)
	lacking := mint.Lacking(r.Optional.Levels(), now.Permissions)
	if lookErr != nil || len(lacking) == 0 {
		return made, err
	}
	g.Permissions = r.Permissions.With(r.Optional.Without(lacking))
	before := made.Unconfirmed
	made, err = m.App.Mint(ctx, g)
	made.Unconfirmed += before
	if err != nil {
		return made, err
	}
	for _, name := range slices.Sorted(maps.Keys(lacking)) {
		made.Narrower = append(made.Narrower, "without "+name+": "+lacking[name]+", which the installation does not grant")
	}
	return made, nil
}

// recordMint adds to the record what GitHub granted; the next save writes it.
func (r *run) recordMint(t *Token, m minter, made mint.Minted, moved string) {
	t.Hash, t.Minted, t.Expires = made.Token.Hash(), r.ledger.clock.now(), made.Token.Expiry.UTC()
	t.All, t.Repositories, t.Permissions = made.All, made.Token.Repositories, made.Token.Permissions
	r.emit(Event{
		Type: Generated, Owner: t.Owner, Hash: t.Hash, Expires: t.Expires, Installation: t.Installation, App: m.App.ID,
		All: t.All, Repositories: t.Repositories, Permissions: t.Permissions, Why: notes(t.Owner, made),
	})
	if moved != "" {
		r.emit(Event{Type: Moved, Owner: t.Owner, Installation: t.Installation, App: m.App.ID, Why: moved})
	}
}

// notes returns remarks about a token for a person.
func notes(owner string, made mint.Minted) string {
	texts := made.Narrower
	if now := made.RenamedTo(owner); now != "" {
		texts = append(slices.Clip(texts), owner+" is now called "+now+"; write "+now+" in the profile, and run gatepass app discover")
	}
	return strings.Join(texts, ", ")
}

// recordFailedMint records the outcome of a failed request, after which tokens may
// exist that GitHub did not confirm.
func (r *run) recordFailedMint(ctx context.Context, t *Token, g mint.Grant, unconfirmed int, why error) error {
	_, ok := errors.AsType[*mint.Error](why)
	isWider := errors.Is(why, mint.ErrWider)
	note := unanswered
	if isWider {
		note = "GitHub granted more than gatepass requested, and did not revoke it"
	}
	switch {
	case !ok && !isWider:
		return why // the caller gave up, but GitHub may have minted it
	case unconfirmed > 0:
		r.recordUnconfirmed(g, unconfirmed-1)
		return usererr.Join(why, r.abandon(ctx, r.record.latestIn(Minting), note))
	}
	return usererr.Join(why, r.change(ctx, t, Revoked, "it was not granted"))
}

// recordUnconfirmed records tokens that requests without an answer may have minted.
func (r *run) recordUnconfirmed(g mint.Grant, count int) {
	for range count {
		r.recordLost(Token{Owner: g.Owner, Installation: g.Installation}, unanswered)
	}
}

// recordUnknown records that an unknown token may be alive.
func (r *run) recordUnknown(why string) { r.recordLost(Token{Owner: "(unknown)"}, why) }

func (r *run) recordLost(t Token, why string) {
	t.Lost, t.Expires = true, r.ledger.clock.now().Add(tokenLife)
	t.setState(Revoked, r.ledger.clock.now(), why)
	r.record.Tokens = append(r.record.Tokens, t)
	r.emit(Event{Type: Lost, Owner: t.Owner, Expires: t.Expires, Why: why})
}

// deliver writes a token to the entry that the workspace reads. Before that, it moves
// the previous token to an entry from which it can be revoked.
func (r *run) deliver(ctx context.Context, t *Token, token credential.Token) error {
	owner := strings.ToLower(t.Owner)
	old, isThere := r.held.current[owner]
	if isThere {
		r.recordExpected(old)
	}
	if err := r.change(ctx, t, Minted, ""); err != nil {
		return err
	}
	if isThere {
		if err := r.held.storeForRevoke(ctx, old); err != nil {
			return err
		}
	}
	return r.held.deliver(ctx, owner, token)
}

// revokeUndelivered revokes a token that could not be recorded or delivered, even if
// the caller has given up. If it fails, the next run tries again.
func (r *run) revokeUndelivered(ctx context.Context, m minter, t *Token, token credential.Token, why error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpWait)
	defer cancel()
	if m.App.Revoke(ctx, token) != nil {
		if name, err := supersededName(r.record.ID, token); err == nil {
			_ = r.ledger.store.Put(ctx, name, store.NewSecret(token.Secret()), store.Replace) // the next run revokes it; if this fails, it is lost
		}
		return why
	}
	r.emit(Event{Type: Ended, Owner: t.Owner, Hash: t.Hash, Why: undelivered})
	name, err := store.Token(r.record.ID, t.Owner)
	if err != nil {
		return why
	}
	if entry, err := r.ledger.store.Get(ctx, name); err == nil && entry.Value.Reveal() == token.Secret() {
		if r.ledger.store.Delete(ctx, name) != nil {
			return why
		}
	}
	_ = r.change(ctx, t, Revoked, undelivered)
	return why
}

// abandon gives up a token whose value is lost.
func (r *run) abandon(ctx context.Context, t *Token, why string) error {
	dies := t.ExpiresBy()
	if t.State != Planned && dies.After(r.ledger.clock.earliest()) {
		t.Lost, t.Expires = true, dies
		r.emit(Event{Type: Lost, Owner: t.Owner, Hash: t.Hash, Expires: dies, Why: why})
	}
	return r.change(ctx, t, Revoked, why)
}

// revoke revokes a token. It writes the record before it deletes the token from the
// store: in the other order, the next run would take the token as lost but alive.
func (r *run) revoke(ctx context.Context, t *Token, s Step) error {
	token, ok := r.held.find(s.Hash)
	if !ok {
		return errors.New("the token to revoke is not in the store")
	}
	if err := r.replaceOnlyToken(ctx, s.Hash); err != nil {
		return err
	}
	// Without the mark, brokers would give the dead token to other workspaces that share
	// it until it would have expired.
	if err := r.held.blockToken(ctx, s.Hash); err != nil {
		return unmarked{&usererr.Error{
			Op: "revoke a token that other workspaces share", Err: err,
			Hint: "it is not revoked, because brokers would still give it to them; allow this command to write the block list, broker/barred in the store, and run it again",
		}}
	}
	if err := r.apps.minters[0].App.Revoke(ctx, token); err != nil {
		return err
	}
	r.emit(Event{Type: Ended, Owner: s.Owner, Hash: s.Hash, Why: s.Why})
	return r.forget(ctx, t, s)
}

// unmarked is the error of one token that was not revoked.
type unmarked struct{ error }

func (u unmarked) Unwrap() error { return u.error }

// forget deletes a dead token. If the token expired by itself, only the next save of
// the record says so; until then, each run finds it expired again.
func (r *run) forget(ctx context.Context, t *Token, s Step) error {
	switch {
	case t == nil || t.State == Revoked:
	case !t.Expires.After(r.ledger.clock.earliest()):
		t.setState(Revoked, r.ledger.clock.now(), s.Why)
		r.record.isDirty = true
	default:
		if err := r.change(ctx, t, Revoked, s.Why); err != nil {
			return err
		}
	}
	return r.held.drop(ctx, s.Hash)
}

// replaceOnlyToken replaces the only token with the owner's token before the only token is
// revoked, so that the workspace always reads a live token. It first stores the old
// one, for a later run to revoke.
func (r *run) replaceOnlyToken(ctx context.Context, hash string) error {
	if !r.held.blocksDelivery(hash) {
		return nil
	}
	only := r.held.current[""]
	if r.recordExpected(only) {
		if err := r.ledger.save(ctx, r.record); err != nil {
			return err
		}
	}
	if err := r.held.storeForRevoke(ctx, only); err != nil {
		return err
	}
	return r.held.syncOnlyToken(ctx)
}

// recordExpected notes in the record that the store will hold a token that the record does not
// list, so that a later run does not look only by name. It reports whether that changed
// the record.
func (r *run) recordExpected(token credential.Token) bool {
	if r.isUnrecorded || r.record.knows(token.Hash()) || r.record.LastError != nil && r.record.LastError.Foreign {
		return false
	}
	why := "a token that gatepass did not write is still to be revoked"
	r.record.LastError, r.expects = &LastError{At: r.ledger.clock.now(), Why: why, Foreign: true}, true
	return true
}

// clearExpected removes the note of expect once the token is revoked. A run that ends with
// conclude need not call it.
func (r *run) clearExpected(ctx context.Context) error {
	if !r.expects || r.held.storesUnknown(r.record) {
		return nil
	}
	r.record.LastError, r.expects = nil, false
	return r.ledger.save(ctx, r.record)
}

// change writes a token's next state.
func (r *run) change(ctx context.Context, t *Token, state State, note string) error {
	t.setState(state, r.ledger.clock.now(), note)
	return r.ledger.save(ctx, r.record)
}

// setState sets a token's state. It drops what a dead token opened.
func (t *Token) setState(state State, now time.Time, note string) {
	t.State, t.Changed, t.Note = state, now, note
	if state == Revoked {
		t.All, t.Repositories, t.Permissions = false, nil, nil
	}
}

// latestIn returns the latest token in that state. There must be one.
func (r *Record) latestIn(state State) *Token {
	for at := len(r.Tokens) - 1; ; at-- {
		if r.Tokens[at].State == state {
			return &r.Tokens[at]
		}
	}
}

// delivered returns the owner's delivered tokens, except the one with the hash but.
func (r *Record) delivered(owner, but string) []*Token {
	var found []*Token
	for at := range r.Tokens {
		t := &r.Tokens[at]
		if strings.EqualFold(t.Owner, owner) && t.State == Delivered && t.Hash != but {
			found = append(found, t)
		}
	}
	return found
}

// emit adds an event to the record, which the next save writes, and sends it to the
// audit.
func (r *run) emit(e Event) {
	e.Workspace = r.record.ID
	why := e.Why
	if e.Err != nil {
		why = e.Err.Error()
	}
	if name, ok := pastNames[e.Type]; ok {
		r.remember(PastEvent{What: name, Owner: e.Owner, Hash: e.Hash, Why: why})
	}
	r.audit(e)
}

// remember adds an event to the record's history.
func (r *run) remember(e PastEvent) {
	e.At = r.ledger.clock.now()
	r.record.remember(e)
}

// remember adds an event and drops the oldest ones. It counts a repeated failure in one
// event, so that an outage does not push out earlier events.
func (r *Record) remember(e PastEvent) {
	e.Why = redact.Text(usererr.Escape(e.Why), maxReason)
	for at := len(r.History) - 1; e.What == failed && at >= 0 && r.History[at].What == failed; at-- {
		if old := r.History[at]; old.Owner == e.Owner && old.Hash == e.Hash && old.Why == e.Why {
			e.Times = max(old.Times, 1) + 1
			r.History = slices.Delete(r.History, at, at+1)
			break
		}
	}
	r.History = append(r.History, e)
	r.History = slices.Delete(r.History, 0, max(len(r.History)-maxPast, 0))
}
