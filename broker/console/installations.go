package console

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/gatepass/gatepass/mint"
)

// installationsEvery is how long a list of installations is shown before GitHub
// is asked again.
const installationsEvery = time.Minute

// installations are what GitHub said last.
type installations struct {
	mu   sync.Mutex // guards the rest; held while GitHub is asked, so that one asks for all
	list []mint.Installation
	err  error
	read time.Time // zero when GitHub is to be asked
}

func (i *installations) forget() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.read = time.Time{}
}

// of lists where the App is installed, by account.
func (i *installations) of(ctx context.Context, app GitHub, now time.Time) ([]mint.Installation, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.read.IsZero() && now.Sub(i.read) < installationsEvery {
		return i.list, i.err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	i.list, i.err = nil, nil
	for found, err := range app.Installations(ctx) {
		if err != nil {
			i.err = err
			break
		}
		i.list = append(i.list, found)
	}
	slices.SortFunc(i.list, func(a, b mint.Installation) int { return cmp.Compare(a.Account.Login, b.Account.Login) })
	i.read = now
	return i.list, i.err
}
