package console

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gatepass/gatepass/mint"
)

// installationsEvery is how long a list of installations is shown before GitHub
// is asked again.
const installationsEvery = time.Minute

// installations are what GitHub said last.
type installations struct {
	mu   sync.Mutex          // guards the rest; held while GitHub is asked, so that one asks for all
	list []mint.Installation // one for each account
	by   map[string]int      // how many each App has, by its name
	err  error
	read time.Time // zero when GitHub is to be asked
}

func (i *installations) forget() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.read = time.Time{}
}

// count returns how many installations an App had when they were listed last.
func (i *installations) count(app string) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.by[app]
}

// appsOf are the Apps of a GitHub. A single one has no name.
func appsOf(github GitHub) []App {
	if pool, ok := github.(Pool); ok {
		return pool.Apps()
	}
	return []App{{GitHub: github}}
}

// of lists where the Apps are installed, by account.
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

// add lists one App's installations. The caller holds mu.
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
