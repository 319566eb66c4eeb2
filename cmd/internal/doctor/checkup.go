package doctor

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/gatepass/gatepass/store"
)

// IssuingLimit is enough for a ledger of hundreds of workspaces and a slow network.
const IssuingLimit = 15 * time.Second

// A Checkup checks one store. Store and StoreURL must be set.
type Checkup struct {
	Store    store.Store
	StoreURL string           // safe to show
	Folder   string           // of a file store; "" for other stores
	AWS      ParameterStore   // Store, if it is in AWS; nil for others
	GitHub   string           // its URL for people; "" means the one in the store
	Client   *http.Client     // for GitHub; nil means a default client
	Now      func() time.Time // nil means time.Now
	Limit    time.Duration    // limits Look as a whole; zero means IssuingLimit
}

// A ParameterStore is a store in AWS Systems Manager Parameter Store.
type ParameterStore interface {
	// Parameter returns the name of the parameter that holds an entry.
	Parameter(name store.Name) string
	// IsEncrypted reports whether AWS encrypts an entry. It returns an error that wraps
	// [store.ErrNotFound] if there is no such entry.
	IsEncrypted(ctx context.Context, name store.Name) (bool, error)
}

// The groups of the findings, in their order of output.
const (
	storeGroup         = "store"
	appGroup           = "App"
	installationsGroup = "installations"
	workspacesGroup    = "workspaces"
	leftoversGroup     = "debris"
)

// A Report is the result of Look.
type Report struct {
	Findings  []Finding
	Leftovers []Leftover
}

// All returns the findings, and one more for each leftover thing.
func (r Report) All() []Finding {
	all := r.Findings
	for _, t := range r.Leftovers {
		all = append(all, t.finding())
	}
	return all
}

// Fixable returns the things that Fix removes.
func (r Report) Fixable() []Leftover {
	var some []Leftover
	for _, t := range r.Leftovers {
		if t.Left == "" {
			some = append(some, t)
		}
	}
	return some
}

// Remaining returns the report without the Fixable things.
func (r Report) Remaining() Report {
	var rest []Leftover
	for _, t := range r.Leftovers {
		if t.Left != "" {
			rest = append(rest, t)
		}
	}
	return Report{r.Findings, rest}
}

// Look checks the store and everything in it. It changes nothing.
func (c *Checkup) Look(ctx context.Context) Report {
	limit := c.Limit
	if limit == 0 {
		limit = IssuingLimit
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	f := c.gather(ctx)
	f.limit = limit
	return f.findings()
}

func (c *Checkup) now() time.Time {
	if c.Now == nil {
		return time.Now().UTC()
	}
	return c.Now().UTC()
}

// findings makes the report from the facts alone.
func (f *facts) findings() Report {
	var r Report
	add := func(group string, found []Finding) {
		for _, one := range found {
			one.Group = group
			r.Findings = append(r.Findings, one)
		}
	}
	add(storeGroup, f.checkStore())
	if f.store.err != nil {
		return r // all other checks would report the same error
	}
	add(appGroup, f.checkApp())
	add(appGroup, f.checkPool())
	if f.isEmpty() {
		return r
	}
	add(installationsGroup, f.checkInstallations())
	add(workspacesGroup, f.checkWorkspaces())
	add(leftoversGroup, f.checkSurroundings())
	r.Leftovers = f.leftovers()
	if f.ledger.err == nil && len(r.Leftovers) == 0 {
		add(leftoversGroup, []Finding{{Level: OK, Text: "there are no remains of workspaces that are gone"}})
	}
	return r
}

// isEmpty reports whether nothing was ever set up in the store.
func (f *facts) isEmpty() bool {
	return errors.Is(f.app.err, store.ErrNotFound) && f.ledger.err == nil && len(f.ledger.folders) == 0
}

// trouble returns a finding about a check that failed. A timeout is never more than a
// warning.
func (f *facts) trouble(level Level, what string, err error, otherwise string) Finding {
	if errors.Is(err, context.DeadlineExceeded) {
		longer := (4 * f.limit).Round(time.Second)
		return Finding{Level: Warning, Text: what + ": no answer within " + f.limit.String(), Fix: "gatepass doctor --timeout " + longer.String()}
	}
	found := FromError(level, err, otherwise)
	found.Text = what + ": " + found.Text
	return found
}

// shown is the number of names on a line.
const shown = 3

// these lists the first names, and counts the others.
func these(names []string) string {
	if len(names) <= shown {
		return strings.Join(names, ", ")
	}
	return strings.Join(names[:shown], ", ") + " and " + count(len(names)-shown, "other")
}

// gather reads all facts at the same time, and then reads more about what looks wrong.
func (c *Checkup) gather(ctx context.Context) *facts {
	f := &facts{now: c.now()}
	var together sync.WaitGroup
	together.Go(func() { f.store = c.gatherStore(ctx) })
	together.Go(func() { f.app = c.gatherApp(ctx, "") })
	together.Go(func() { f.pool, f.poolErr = c.gatherPool(ctx) })
	together.Go(func() { f.ledger = c.gatherLedger(ctx) })
	together.Wait()
	if f.app.opened != nil {
		f.now = f.app.opened.Time() // times in the ledger follow GitHub's clock
	}
	if f.store.err != nil || f.ledger.err != nil {
		return f
	}
	c.recheckFolders(ctx, &f.ledger)
	askAboutPending(ctx, f)
	return f
}

func (c *Checkup) gatherStore(ctx context.Context) storeFacts {
	f := storeFacts{url: c.StoreURL, isFiles: c.Folder != "", isShared: c.isShared()}
	if _, err := c.Store.Get(ctx, store.AppClientID()); err != nil && !errors.Is(err, store.ErrNotFound) {
		f.err = err
		return f
	}
	switch {
	case c.Folder != "":
		f.exposed, f.exposedErr = exposed(ctx, c.Folder)
	case c.AWS != nil:
		f.exposed, f.exposedErr = plainKey(ctx, c.AWS)
	}
	return f
}

// isShared reports whether the store has tokens in the place where the first system
// keeps its own (docs/migrating.md), so that a token may belong to either.
func (c *Checkup) isShared() bool {
	name, err := store.OnlyToken("x")
	return err == nil && c.AWS != nil && c.AWS.Parameter(name) == "/sandbox/x/github-token"
}

// plainKey returns the parameter of the App's private key if AWS does not encrypt it.
func plainKey(ctx context.Context, s ParameterStore) ([]string, error) {
	isEncrypted, err := s.IsEncrypted(ctx, store.PrivateKey())
	if errors.Is(err, store.ErrNotFound) || isEncrypted {
		return nil, nil
	}
	return []string{"the parameter " + s.Parameter(store.PrivateKey())}, err
}

// exposed returns the files and folders below dir that other users can access. It does
// not look inside such a folder.
func exposed(ctx context.Context, dir string) ([]string, error) {
	var open []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed meanwhile
		}
		if err != nil || info.Mode()&os.ModeSymlink != 0 || info.Mode().Perm()&0o077 == 0 {
			return err
		}
		open = append(open, path)
		if d.IsDir() {
			return fs.SkipDir
		}
		return nil
	})
	return open, err
}

// workers is the number of parallel requests.
const workers = 8

// parallel calls work for each item, several at a time.
func parallel[T any](items []T, work func(T)) {
	queue := make(chan T)
	var running sync.WaitGroup
	for range min(workers, len(items)) {
		running.Go(func() {
			for item := range queue {
				work(item)
			}
		})
	}
	for _, item := range items {
		queue <- item
	}
	close(queue)
	running.Wait()
}
