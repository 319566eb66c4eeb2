package postgres

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/gatepass/gatepass/internal/httpclient"
	"github.com/gatepass/gatepass/store"
)

const (
	// channel is the notification channel of the watchers of all stores in the
	// database.
	channel = "gatepass"

	// pollAfter is how long after the last call changed is called even without a
	// notification. The connection is checked then.
	pollAfter = 5 * time.Second
)

// isNotified reports whether watchers are notified of a change of the entry: only for
// entries of the block list. A transaction that notifies blocks the commits of all
// other notifying transactions of the database, so entries that are written frequently
// do not notify. Watchers learn of those within pollAfter.
func isNotified(name store.Name) bool { return store.AllBlocks().Has(name) }

// notifying extends a statement that writes and returns a row: it also notifies watchers
// of the name, in the same transaction.
func (s *Store) notifying(name store.Name, statement string, arguments []any) (string, []any) {
	if !isNotified(name) {
		return statement, arguments
	}
	payload := "$" + strconv.Itoa(len(arguments)+1)
	statement = "WITH written AS (" + statement + ") SELECT 1 FROM written, pg_notify('" + channel + "', " + payload + ")"
	return statement, append(arguments, s.prefix+" "+name.String())
}

// Watch implements [store.Watcher]. It uses its own connection, and connects again if
// that is lost. If the first connection fails for a reason that a retry cannot resolve,
// it returns that error. It reports changes of the block list at once, and all others
// within pollAfter.
func (s *Store) Watch(ctx context.Context, below store.Prefix, changed func()) error {
	pause := pauseFirst
	for began := false; ; {
		err := s.listen(ctx, below, func() {
			began, pause = true, pauseFirst
			changed()
		})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if _, ok := errors.AsType[*httpclient.TransientError](err); !ok && !began {
			return err
		}
		select {
		case <-time.After(pause):
			pause = min(2*pause, maxPause)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// listen calls changed until its connection is lost, and returns the reason.
func (s *Store) listen(ctx context.Context, below store.Prefix, changed func()) error {
	what := "watch " + s.where
	if _, err := s.open(ctx, what); err != nil { // open checks the schema
		return s.failed(ctx, what, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	conn, err := s.listening(ctx)
	if err != nil {
		return s.failed(ctx, what, err)
	}
	change, ended := make(chan struct{}, 1), make(chan error, 1)
	go func() { ended <- s.waitForChange(ctx, conn, below, change) }()
	for changed(); ; {
		select {
		case <-change:
			changed()
		case err := <-ended:
			return s.failed(ctx, what, err)
		}
	}
}

// listening returns a connection that listens.
func (s *Store) listening(ctx context.Context) (*pgx.Conn, error) {
	config, err := s.config()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, httpclient.AttemptWait)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, config.ConnConfig)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Exec(ctx, "LISTEN "+channel); err != nil {
		closeSoon(conn)
		return nil, err
	}
	return conn, nil
}

// waitForChange signals a change for each notification about the prefix, and after each
// pollAfter without one. It closes the connection when it returns.
func (s *Store) waitForChange(ctx context.Context, conn *pgx.Conn, below store.Prefix, change chan<- struct{}) error {
	defer closeSoon(conn)
	for next := time.Now().Add(pollAfter); ; {
		n, err := notification(ctx, conn, next)
		if err != nil {
			return err
		}
		if n != nil && !s.isAbout(n, below) {
			continue
		}
		next = time.Now().Add(pollAfter)
		select {
		case change <- struct{}{}:
		default: // a change is signalled already
		}
	}
}

// notification returns the next notification, or nil if there was none until the given
// time and the connection is alive.
func notification(ctx context.Context, conn *pgx.Conn, until time.Time) (*pgconn.Notification, error) {
	wait, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	n, err := conn.WaitForNotification(wait)
	if err == nil || ctx.Err() != nil || wait.Err() == nil {
		return n, err
	}
	sign, cancel := context.WithTimeout(ctx, pollAfter)
	defer cancel()
	return nil, conn.Ping(sign)
}

// isAbout reports whether a notification may be about an entry below the prefix. A
// notification that cannot be parsed may be about any entry.
func (s *Store) isAbout(n *pgconn.Notification, below store.Prefix) bool {
	prefix, text, ok := strings.Cut(n.Payload, " ")
	name, err := store.ParseName(text)
	if !ok || err != nil {
		return true
	}
	return prefix == s.prefix && below.Has(name)
}

func closeSoon(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = conn.Close(ctx) // it is no longer usable
}
