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
	// channel is what watchers listen on, in any store of the database.
	channel = "gatepass"

	// heardAfter is how long after the last call of changed it is called all the same. The
	// connection is asked for a sign of life then.
	heardAfter = 5 * time.Second
)

// isTold reports whether watchers are notified of a change of the entry: what is blocked.
// A transaction that notifies keeps all others of the database that notify from committing,
// so that what is written at every turn does not. Watchers hear of that within heardAfter.
func isTold(name store.Name) bool { return store.AllBlocks().Has(name) }

// telling adds to a statement that writes and returns a row that it tells watchers of
// the name, in the same transaction.
func (s *Store) telling(name store.Name, statement string, arguments []any) (string, []any) {
	if !isTold(name) {
		return statement, arguments
	}
	payload := "$" + strconv.Itoa(len(arguments)+1)
	statement = "WITH written AS (" + statement + ") SELECT 1 FROM written, pg_notify('" + channel + "', " + payload + ")"
	return statement, append(arguments, s.prefix+" "+name.String())
}

// Watch implements [store.Watcher]. It holds a connection of its own, and makes another
// when that is lost. Where the first cannot be made for a reason that stays, it returns
// that. Of what is blocked it says so at once, of all else within heardAfter.
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
			pause = min(2*pause, pauseMost)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// listen calls changed until its connection is lost, and returns why that was.
func (s *Store) listen(ctx context.Context, below store.Prefix, changed func()) error {
	what := "watch " + s.where
	if _, err := s.open(ctx, what); err != nil { // it looks at the schema
		return s.failed(ctx, what, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	conn, err := s.listening(ctx)
	if err != nil {
		return s.failed(ctx, what, err)
	}
	change, ended := make(chan struct{}, 1), make(chan error, 1)
	go func() { ended <- s.hear(ctx, conn, below, change) }()
	for changed(); ; {
		select {
		case <-change:
			changed()
		case err := <-ended:
			return s.failed(ctx, what, err)
		}
	}
}

// listening makes a connection that listens.
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

// hear marks a change for each notification that is about the prefix, and where there was
// none for heardAfter. It closes the connection when it returns.
func (s *Store) hear(ctx context.Context, conn *pgx.Conn, below store.Prefix, change chan<- struct{}) error {
	defer closeSoon(conn)
	for next := time.Now().Add(heardAfter); ; {
		n, err := notification(ctx, conn, next)
		if err != nil {
			return err
		}
		if n != nil && !s.isAbout(n, below) {
			continue
		}
		next = time.Now().Add(heardAfter)
		select {
		case change <- struct{}{}:
		default: // there is a mark already
		}
	}
}

// notification returns the next one, or nil when there was none until a moment and the
// connection is alive.
func notification(ctx context.Context, conn *pgx.Conn, until time.Time) (*pgconn.Notification, error) {
	wait, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	n, err := conn.WaitForNotification(wait)
	if err == nil || ctx.Err() != nil || wait.Err() == nil {
		return n, err
	}
	sign, cancel := context.WithTimeout(ctx, heardAfter)
	defer cancel()
	return nil, conn.Ping(sign)
}

// isAbout reports whether a notification is about an entry below the prefix. What cannot
// be read may be about any.
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
	_ = conn.Close(ctx) // it is of no use any more
}
