package console

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/gatepass/gatepass/broker/blocklist"

	"golang.org/x/sync/errgroup"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/revoke"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/workspace"
)

// defaultPage is how many workspaces an answer lists if the request gives no limit.
const defaultPage = 100

// readers is how many workspaces are read concurrently.
const readers = 20

// query selects the workspaces to list.
type query struct {
	after string // only ids after this one
	begin string // only ids that begin with this
	limit int
}

func parseQuery(values url.Values) (query, error) {
	q := query{after: values.Get("after"), begin: values.Get("prefix"), limit: defaultPage}
	if text := values.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > api.MaxPage {
			return q, broker.BadRequest(`"limit" must be from 1 to ` + strconv.Itoa(api.MaxPage))
		}
		q.limit = n
	}
	for _, id := range []string{q.after, q.begin} {
		if id != "" && store.CheckWorkspace(id) != nil {
			return q, broker.BadRequest("the request does not name a workspace's ID")
		}
	}
	return q, nil
}

// listWorkspaces answers GET /v1/workspaces.
func (c *Console) listWorkspaces(r request) error {
	values, err := queryOf(r.Request, "after", "prefix", "limit")
	if err != nil {
		return err
	}
	q, err := parseQuery(values)
	if err != nil {
		return err
	}
	page, err := c.page(r.Context(), q)
	if err != nil {
		return broker.StoreUnavailable(err)
	}
	return api.WriteJSON(r.w, http.StatusOK, page)
}

// choose returns the selected ids, sorted. Blocked workspaces without tokens are among
// them, so that operators can unblock them.
func (q query) choose(names map[string][]store.Name, blocks store.Blocks) []string {
	var ids []string
	for _, known := range []iter.Seq[string]{maps.Keys(names), maps.Keys(blocks.Workspaces)} {
		for id := range known {
			isAfter := q.after == "" || store.CompareWorkspaces(id, q.after) > 0
			if isAfter && strings.HasPrefix(id, q.begin) {
				ids = append(ids, id)
			}
		}
	}
	slices.SortFunc(ids, store.CompareWorkspaces)
	return slices.Compact(ids)
}

// page reads the store's entries of some workspaces.
func (c *Console) page(ctx context.Context, q query) (api.WorkspacePage, error) {
	blocks, err := c.Revoker.Blocklist.All(ctx)
	if err != nil {
		return api.WorkspacePage{}, err
	}
	found, err := c.Revoker.ListSome(ctx, q.after, q.begin, q.limit+1) // one more shows whether there is another page
	if err != nil {
		return api.WorkspacePage{}, err
	}
	ids := q.choose(found.Names, blocks)
	page := api.WorkspacePage{AsOf: found.AsOf.UTC()}
	if len(ids) > q.limit {
		ids = ids[:q.limit]
		page.Next = ids[q.limit-1]
	}
	page.Workspaces = make([]api.WorkspaceState, len(ids))
	errs := make([]error, len(ids))
	var running errgroup.Group
	running.SetLimit(readers)
	for i, id := range ids {
		running.Go(func() error {
			page.Workspaces[i], errs[i] = c.state(ctx, id, found.Names[id], blocks)
			return nil
		})
	}
	_ = running.Wait() // errs has the errors
	return page, errors.Join(errs...)
}

// state reads one workspace. It skips entries that are deleted meanwhile.
func (c *Console) state(ctx context.Context, id string, names []store.Name, blocks store.Blocks) (api.WorkspaceState, error) {
	seen := c.Recorder.lastSeen(id)
	w := api.WorkspaceState{ID: id, Blocked: blocks.Has(id, ""), Barred: blocks.Has(id, ""), LastSeen: seen.at, Rule: seen.rule, Tokens: []api.TokenState{}}
	for _, name := range names {
		if !name.IsVended() && !name.IsRecord() {
			continue
		}
		entry, err := c.Store.Get(ctx, name)
		if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrDamaged) {
			continue // gatepass workspace list reports damaged records
		}
		if err != nil {
			return w, err
		}
		if name.IsRecord() {
			c.delivered(&w, entry)
			continue
		}
		c.vended(&w, entry, blocks)
	}
	slices.SortFunc(w.Tokens, func(a, b api.TokenState) int {
		return cmp.Or(a.ExpiresAt.Compare(b.ExpiresAt), cmp.Compare(a.Hash, b.Hash))
	})
	return w, nil
}

// delivered adds the tokens in a ledger record.
func (c *Console) delivered(w *api.WorkspaceState, entry store.Entry) {
	r, err := workspace.ParseRecord([]byte(entry.Value.Reveal()))
	if err != nil {
		return // gatepass workspace list reports damaged records
	}
	w.Profile = cmp.Or(w.Profile, r.Profile)
	for _, t := range r.Tokens {
		if t.Hash == "" || !t.IsAlive(c.Revoker.TokenTime()) {
			continue
		}
		w.Tokens = append(w.Tokens, api.TokenState{Hash: t.Hash, Kind: api.Delivered, ExpiresAt: t.Expires.UTC(), Repositories: t.Repositories, Permissions: t.Permissions})
	}
}

// vended adds a token that a broker gave, unless it has expired or was revoked.
func (c *Console) vended(w *api.WorkspaceState, entry store.Entry, blocks store.Blocks) {
	v := broker.ReadVended(entry)
	w.Rule, w.Profile = cmp.Or(w.Rule, v.Rule), cmp.Or(v.Profile, w.Profile)
	if !v.Token.Expiry.After(c.Revoker.TokenTime()) || revoke.IsMarked(blocks, v.Token) {
		return
	}
	w.Tokens = append(w.Tokens, api.TokenState{Hash: v.Token.Hash(), Kind: api.Vended, ExpiresAt: v.Token.Expiry.UTC(), Repositories: v.Token.Repositories, Permissions: v.Token.Permissions})
}

// maxTarget is the maximum size of an operator's request, in bytes.
const maxTarget = 4 << 10

// actor returns the operator who sent the request.
func (r request) actor() revoke.Actor {
	return revoke.Actor{Operator: r.who, RequestID: r.id, Remote: r.RemoteAddr}
}

// revokeWorkspace answers POST /v1/workspaces/{id}/revoke.
func (c *Console) revokeWorkspace(r request) error {
	return c.revoke(r, blocklist.Target{Workspace: r.PathValue("id")})
}

// revokeAny answers POST /v1/kill.
func (c *Console) revokeAny(r request) error {
	t, err := readTarget(r)
	if err != nil {
		return err
	}
	return c.revoke(r, t)
}

func readTarget(r request) (blocklist.Target, error) {
	var said api.Target
	if err := api.ReadJSON(r.w, r.Request, maxTarget, &said); err != nil {
		return blocklist.Target{}, err
	}
	return blocklist.Target(said), nil
}

// revoke answers with what was revoked. The status is 202 while revocations are
// pending.
func (c *Console) revoke(r request, t blocklist.Target) error {
	done, err := c.Revoker.Revoke(r.Context(), r.actor(), t)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if done.Pending > 0 {
		status = http.StatusAccepted
	}
	return api.WriteJSON(r.w, status, done)
}

// unblockWorkspace answers DELETE /v1/workspaces/{id}/block.
func (c *Console) unblockWorkspace(r request) error {
	return c.unblock(r, blocklist.Target{Workspace: r.PathValue("id")})
}

// unblockTarget answers POST /v1/unblock.
func (c *Console) unblockTarget(r request) error {
	t, err := readTarget(r)
	if err != nil {
		return err
	}
	return c.unblock(r, t)
}

func (c *Console) unblock(r request, t blocklist.Target) error {
	if err := c.Revoker.Unblock(r.Context(), r.actor(), t); err != nil {
		return err
	}
	r.w.WriteHeader(http.StatusNoContent)
	return nil
}
