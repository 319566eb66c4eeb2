package console

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/internal/gitname"
	"github.com/gatepass/gatepass/mint"
)

const (
	onPage = 50 // workspaces on one page
	isOld  = 5 * time.Second
)

// statusView is the data of the status page.
type statusView struct {
	Now     time.Time
	Notice  string // result of the last form
	Trouble string // why workspaces cannot be shown

	Tiles      tiles
	Prefix     string
	Workspaces []workspaceView
	Next       string
	AsOf       time.Time // zero if the list is current

	AppBlocked bool
	Owners     []ownerView
	OwnersErr  string
	Rate       *rateView
	Apps       []appView // set if there are several

	Refused foldedList
	Pushes  foldedList // refused pushes that workspaces reported, one entry a ref
	Gateway foldedList // pushes through the gateway, one entry a ref
	Policy  string
	Rules   int
	Audit   string
}

// tiles are the numbers at the top of the page.
type tiles struct {
	Workspaces, Blocked int           // among the listed ones
	Tokens              int           // live tokens of the listed workspaces; a shared one counts once
	First               time.Duration // until the first token that is not superseded expires; 0 without any
	Refused             int           // requests that this replica refused in the last hour
	Pushes              int           // pushes refused by the gateway or by guards in that hour
	More                bool          // there are more workspaces than listed
	Unknown             bool          // the store cannot be read, so that the first four are not known
}

type workspaceView struct {
	api.WorkspaceState
	Tokens     []tokenView
	Superseded []tokenView // a later token is for the same access
}

type tokenView struct {
	api.TokenState
	Left    time.Duration
	Minutes int // of 60, for the bar
}

// ownerView is an account where the App is installed, or that is blocked.
type ownerView struct {
	mint.Installation
	Blocked bool
}

// appView is one of several Apps.
type appView struct {
	Name, ClientID string
	Installations  int
	Rate           *rateView
	Trouble        bool // it cannot be used; the log says why
}

type rateView struct {
	mint.Rate
	Percent int
}

// showStatus answers GET /: it shows the page to operators, and the login form to
// others.
func (p webPages) showStatus(r request) error {
	if err := p.operator(&r); err != nil {
		return p.loginOr(r, err)
	}
	q, err := parseQuery(r.URL.Query())
	if err != nil {
		return err
	}
	q.limit = onPage
	return p.show(r, http.StatusOK, view{Title: "Status", Who: r.who.Name, Status: p.status(r.Context(), q, noticeOf(r.Request))})
}

// noticeOf returns the result of the last form. It takes only numbers from the URL.
func noticeOf(r *http.Request) string {
	q := r.URL.Query()
	revoked, err := strconv.Atoi(q.Get("revoked"))
	pending, pendingErr := strconv.Atoi(q.Get("pending"))
	text := ""
	if others, err := strconv.Atoi(q.Get("others")); err == nil && others > 0 {
		text = " " + count(others, "other workspace") + " lost tokens, too; the audit log has the ids."
	}
	if all, err := strconv.Atoi(q.Get("workspaces")); err == nil && all > 0 {
		text = " " + count(all, "workspace") + " lost tokens; the audit log has the ids."
	}
	switch {
	case q.Has("unblocked"):
		return "Unblocked."
	case err != nil || pendingErr != nil:
		return ""
	case pending > 0:
		return "Blocked. " + count(revoked, "token") + " revoked; " + strconv.Itoa(pending) + " could not be revoked yet, and the broker tries again." + text
	}
	return "Blocked. " + count(revoked, "token") + " revoked." + text
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

// status reads the data of the page. Where something cannot be read, it shows the error
// in its place.
func (p webPages) status(ctx context.Context, q query, notice string) *statusView {
	policy := p.Server.Policy()
	v := &statusView{
		Now: p.Revoker.Now(), Notice: notice, Prefix: q.begin, Refused: fold(p.Recorder.Refused()), Pushes: fold(p.Recorder.Pushes()), Gateway: fold(p.Recorder.Gateway()),
		Policy: policy.Hash, Rules: len(policy.Rules),
	}
	if p.AuditHead != nil {
		v.Audit = p.AuditHead()
	}
	page, err := p.page(ctx, q)
	if err != nil {
		p.Server.Log.ErrorContext(ctx, "show the workspaces", "error", err)
		v.Trouble = "The store cannot be read. Blocked workspaces stay blocked. The broker's log has the error."
	}
	for _, w := range page.Workspaces {
		w.Rule = ruleName(policy, w.Rule)
		v.Workspaces = append(v.Workspaces, p.workspaceView(w))
	}
	v.Next = page.Next
	v.Tiles = p.tiles(v, q.after != "" || page.Next != "")
	if v.Now.Sub(page.AsOf) >= isOld {
		v.AsOf = page.AsOf
	}
	p.owners(ctx, v)
	v.Rate = rateOf(p.App)
	if apps := appsOf(p.App); len(apps) > 1 {
		for _, a := range apps {
			v.Apps = append(v.Apps, appView{a.Name, a.ClientID, p.installed.count(a.Name), rateOf(a.GitHub), a.Problem != nil})
		}
	}
	return v
}

// rateOf returns the App's rate limit; nil before GitHub has reported it.
func rateOf(app GitHub) *rateView {
	rate, ok := app.Rate()
	if !ok {
		return nil
	}
	return &rateView{rate, 100 * rate.Remaining / rate.Limit}
}

func (p webPages) workspaceView(w api.WorkspaceState) workspaceView {
	v := workspaceView{WorkspaceState: w}
	for i, t := range w.Tokens {
		left := t.ExpiresAt.Sub(p.Revoker.TokenTime())
		shown := tokenView{t, left, int(min(left, credential.Lifetime) / time.Minute)}
		if isSuperseded(t, w.Tokens[i+1:]) {
			v.Superseded = append(v.Superseded, shown)
			continue
		}
		v.Tokens = append(v.Tokens, shown)
	}
	return v
}

// isSuperseded reports whether a token that expires later gives the same access.
func isSuperseded(t api.TokenState, later []api.TokenState) bool {
	return slices.ContainsFunc(later, func(o api.TokenState) bool {
		return o.Kind == t.Kind && slices.Equal(o.Repositories, t.Repositories) && maps.Equal(o.Permissions, t.Permissions)
	})
}

// tiles counts the listed workspaces and tokens, and what this replica refused in the
// last hour.
func (p webPages) tiles(v *statusView, more bool) tiles {
	t := tiles{Workspaces: len(v.Workspaces), More: more, Unknown: v.Trouble != ""}
	hashes := map[string]bool{}
	for _, w := range v.Workspaces {
		if w.Blocked {
			t.Blocked++
		}
		for _, token := range w.Tokens {
			if t.First == 0 || token.Left < t.First {
				t.First = token.Left
			}
			hashes[token.Hash] = true
		}
		for _, token := range w.Superseded {
			hashes[token.Hash] = true
		}
	}
	t.Tokens = len(hashes)
	from := v.Now.Add(-time.Hour)
	t.Refused = since(p.Recorder.Refused(), from)
	isRefused := func(e broker.Entry) bool { return e.Decision == broker.Refused }
	gateway := slices.DeleteFunc(p.Recorder.Gateway(), func(e broker.Entry) bool { return !isRefused(e) })
	t.Pushes = since(p.Recorder.Pushes(), from) + since(gateway, from)
	return t
}

// owners lists the accounts where the App is installed, and blocked accounts where it
// is not.
func (p webPages) owners(ctx context.Context, v *statusView) {
	installed, err := p.installed.of(ctx, p.App, p.Revoker.Now())
	if err != nil {
		p.Server.Log.ErrorContext(ctx, "show the installations", "error", err)
		v.OwnersErr = "The broker cannot ask GitHub where the App is installed."
	}
	blocks, err := p.Revoker.Blocklist.All(ctx)
	if err != nil {
		return // the list of workspaces shows the same error
	}
	v.AppBlocked = blocks.App
	shown := map[string]bool{}
	for _, i := range installed {
		owner := gitname.Fold(i.Account.Login)
		shown[owner] = true
		v.Owners = append(v.Owners, ownerView{i, blocks.Owners[owner]})
	}
	for _, owner := range slices.Sorted(maps.Keys(blocks.Owners)) {
		if !shown[owner] {
			v.Owners = append(v.Owners, ownerView{mint.Installation{Account: mint.Account{Login: owner}}, true})
		}
	}
}

// installationsEvery is how long a list of installations is cached.
const installationsEvery = time.Minute

// installations caches GitHub's list of installations.
type installations struct {
	mu   sync.Mutex          // guards the rest; held while GitHub is asked, so that one call serves all
	list []mint.Installation // one for each account
	by   map[string]int      // their number, by the App's name
	err  error
	read time.Time // when they were listed; zero to list again
}

func (i *installations) forget() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.read = time.Time{}
}

// count returns how many installations an App had in the last list.
func (i *installations) count(app string) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.by[app]
}

// appsOf returns the Apps of a GitHub. A single App has no name.
func appsOf(github GitHub) []App {
	if pool, ok := github.(Pool); ok {
		return pool.Apps()
	}
	return []App{{GitHub: github}}
}

// of returns the Apps' installations, by account.
func (i *installations) of(ctx context.Context, app GitHub, now time.Time) ([]mint.Installation, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.read.IsZero() && now.Sub(i.read) < installationsEvery {
		return i.list, i.err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	i.list, i.by, i.err = nil, map[string]int{}, nil
	for _, a := range appsOf(app) {
		i.add(ctx, a)
	}
	slices.SortFunc(i.list, func(a, b mint.Installation) int { return cmp.Compare(a.Account.Login, b.Account.Login) })
	i.read = now
	return i.list, i.err
}

// add adds one App's installations. The caller holds mu.
func (i *installations) add(ctx context.Context, a App) {
	for found, err := range a.Installations(ctx) {
		if err != nil {
			i.err = err
			return
		}
		i.by[a.Name]++
		isThere := func(other mint.Installation) bool { return strings.EqualFold(other.Account.Login, found.Account.Login) }
		if !slices.ContainsFunc(i.list, isThere) {
			i.list = append(i.list, found)
		}
	}
}
