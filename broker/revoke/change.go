package revoke

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
)

// A Change says what an event by GitHub changes for tokens that brokers gave. The zero
// value changes nothing.
type Change struct {
	what string // for the audit log, in our own words
	// The owner, or the repositories ("owner/name", lower case), for which the cache is
	// now wrong.
	owner        string
	repositories []string
	// isRemoval means that access was removed, so tokens are revoked. Otherwise access
	// was given, so cached refusals are dropped.
	isRemoval bool
	// apps are the client ID and the number of the App that the event is about; empty means
	// all Apps. Tokens of other Apps keep their access.
	apps []string
}

// IsNothing reports whether the event changes nothing.
func (c Change) IsNothing() bool { return c.owner == "" && len(c.repositories) == 0 }

// concerns reports whether the change is about a repository.
func (c Change) concerns(owner, name string) bool {
	return strings.EqualFold(c.owner, owner) || slices.Contains(c.repositories, strings.ToLower(owner+"/"+name))
}

// Apply writes a change to the audit log, drops what is now wrong from the cache, and
// revokes what GitHub took away. After an error it must be called again.
func (r *Revoker) Apply(ctx context.Context, requestID string, ch Change) error {
	e := broker.Entry{Time: r.Now().UTC(), Kind: broker.KindGitHub, RequestID: requestID, Method: "webhook", Subject: "github", Target: ch.text(), Detail: ch.what, Policy: r.Policy()}
	if err := r.Journal.Write(ctx, e, true); err != nil {
		return broker.AuditUnavailable(err)
	}
	r.Changed()
	if err := r.deleteShared(ctx, ch); err != nil {
		return broker.StoreUnavailable(err)
	}
	r.Cache.Drop(func(s broker.Scope, t credential.Token) bool {
		return ch.concerns(s.Repo.Owner, s.Repo.Name) && (ch.isRemoval || t.IsZero() || ch.owner == "")
	})
	if !ch.isRemoval {
		return nil
	}
	e.Kind, e.Decision = broker.KindRevoked, broker.Granted
	s := &sweep{revoker: r, by: e, isShared: true}
	err := s.changed(ctx, ch)
	if s.auditErr != nil {
		return broker.AuditUnavailable(s.auditErr)
	}
	if err != nil {
		return &broker.Refusal{Status: http.StatusServiceUnavailable, Reason: broker.ReasonGitHub, RetryAfter: broker.RetryAfter, Err: err, Detail: "the broker could not revoke every token; deliver the event again"}
	}
	return nil
}

// deleteShared deletes shared tokens that a change makes wrong but does not take away, so
// that no replica uses another's. Tokens that are taken away are marked as revoked
// instead.
func (r *Revoker) deleteShared(ctx context.Context, ch Change) error {
	if ch.isRemoval || ch.owner != "" {
		return nil
	}
	names, _, err := r.sharedAffected(ctx, ch)
	for _, name := range names {
		if err == nil {
			err = r.Store.Delete(ctx, name)
		}
	}
	return err
}

// sharedAffected lists the entries of shared tokens that a change may be about. isAll says
// that the accounts have no other tokens.
func (r *Revoker) sharedAffected(ctx context.Context, ch Change) (names []store.Name, isAll bool, err error) {
	of := map[string][]string{} // repository names by account; none means all
	if ch.owner != "" {
		of[ch.owner] = nil
	}
	for _, full := range ch.repositories {
		owner, name, _ := strings.Cut(full, "/")
		of[owner] = append(of[owner], name)
	}
	for owner, repositories := range of {
		found, err := broker.SharedEntries(ctx, r.Store, owner, repositories...)
		if err != nil {
			return nil, false, err
		}
		names = append(names, found...)
	}
	n := len(names)
	names = slices.DeleteFunc(names, store.Name.IsUnshared)
	return names, len(names) == n, nil
}

func (c Change) text() string {
	if c.owner != "" {
		return "owner " + c.owner
	}
	shown := c.repositories[:min(len(c.repositories), 20)]
	text := strings.Join(shown, ", ")
	if len(shown) < len(c.repositories) {
		text += ", …"
	}
	return text
}

// selects reports whether a token gives access to a changed repository by an App that the
// event is about. A token that does not say its App may be of that App.
func (c Change) selects(v broker.Vended) bool {
	if len(c.apps) > 0 && v.Token.App != "" && !slices.Contains(c.apps, v.Token.App) {
		return false
	}
	return slices.ContainsFunc(v.Token.Repositories, func(full string) bool {
		owner, name, _ := strings.Cut(full, "/")
		return c.concerns(owner, name)
	})
}

// changed revokes the tokens that brokers gave for what GitHub changed. Shared tokens
// are found by name. Tokens of a suspended installation give no access and cannot be
// revoked, so they are not an error.
func (s *sweep) changed(ctx context.Context, ch Change) error {
	names, isAll, err := s.revoker.sharedAffected(ctx, ch)
	if err != nil {
		return err
	}
	var shared []job
	for _, name := range names {
		shared = append(shared, job{vended: name})
	}
	given, err := s.unshared(ctx, isAll)
	if err != nil {
		return err
	}
	s.run(ctx, ch.selects, given, shared)
	isSuspended := func(err error) bool {
		failure, ok := errors.AsType[*mint.Error](err)
		return ok && failure.Kind == mint.Suspended
	}
	return errors.Join(slices.DeleteFunc(s.errs, isSuspended)...)
}

// unsharedTimeout is how long after its start a broker expects tokens that are not among
// the shared ones: older brokers, which may have run until then and for a while in
// parallel, shared none.
const unsharedTimeout = 2 * credential.Lifetime

// unshared lists all tokens that brokers gave, if some may not be among the shared
// ones. It reads the names of all workspaces. isAll says that only older brokers may
// have made such tokens for the accounts.
func (s *sweep) unshared(ctx context.Context, isAll bool) ([]job, error) {
	if isAll && s.revoker.Cache.Shared != nil && s.revoker.Now().Sub(s.revoker.began) >= unsharedTimeout {
		return nil, nil
	}
	names, err := byWorkspace(ctx, s.revoker.Store, store.Workspaces())
	if err != nil {
		return nil, err
	}
	var jobs []job
	for id, list := range names {
		for _, name := range list {
			if name.IsVended() {
				jobs = append(jobs, job{id, name})
			}
		}
	}
	return jobs, nil
}
