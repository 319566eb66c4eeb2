package doctor

import (
	"context"
	"time"
)

// A Cloud is what an account has beside the store that belongs to the store's
// workspaces. It shows nothing that is of another store, account or region. Errors
// are one line.
type Cloud interface {
	// Exposed returns what the store keeps in the clear and should not, for people.
	Exposed(ctx context.Context) ([]string, error)

	// Keys returns the keys that are named for a workspace, there or gone.
	Keys(ctx context.Context) ([]Key, error)
	// Examine finds out whether a key of a workspace that is gone may go.
	Examine(ctx context.Context, k Key) (Verdict, error)
	// RemoveKey takes the key's name away, and has the key deleted after thirty
	// days unless it has other names. It returns what was done. A key that may not
	// go is an error.
	RemoveKey(ctx context.Context, k Key) (done string, err error)

	// Schedules returns those by which another system refreshes a workspace's token
	// in this store.
	Schedules(ctx context.Context) ([]Schedule, error)
	// RemoveSchedule removes the schedule if it still is what Schedules returned.
	RemoveSchedule(ctx context.Context, s Schedule) error
}

// A Key encrypts what one workspace has in the store.
type Key struct {
	Workspace string
	Name      string // "alias/x"
	ID        string
	Named     time.Time // when it got that name; zero where that is not known
}

// A Verdict is what is known of a key whose workspace is gone.
type Verdict struct {
	// Foreign says that the key is no such key after all, whatever its name.
	Foreign bool
	// Left says why the key has to stay for now; "" where it may go.
	Left string
}

// A Schedule writes a workspace's token in this store, time after time.
type Schedule struct {
	Workspace   string
	Group, Name string
	IsEnabled   bool
	Changed     time.Time // when it was last changed
}
