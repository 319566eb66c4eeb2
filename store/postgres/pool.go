package postgres

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/gatepass/gatepass/internal/httpclient"
	"github.com/gatepass/gatepass/internal/usererr"
)

// pauseFirst and pauseMost bound the wait before a server is asked again.
const (
	pauseFirst = 50 * time.Millisecond
	pauseMost  = time.Second
)

// ask runs a statement until there is an answer that stays: a server that is killed or
// failed over is asked again, for as long as the caller has and [httpclient.MaxWait] at most. Statements must be fit to be run twice. [pgx.ErrNoRows] is
// returned as it is; other errors are one line.
func ask[T any](ctx context.Context, s *Store, what string, run func(context.Context, *pgxpool.Pool) (T, error)) (T, error) {
	return askWith(ctx, s, what, s.open, run)
}

func askWith[T any](ctx context.Context, s *Store, what string, open opener, run func(context.Context, *pgxpool.Pool) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, httpclient.MaxWait)
	defer cancel()
	for pause := pauseFirst; ; pause = min(2*pause, pauseMost) {
		result, err := attempt(ctx, s, what, open, run)
		passing, ok := errors.AsType[*httpclient.TransientError](err)
		if !ok {
			return result, err
		}
		if deadline, _ := ctx.Deadline(); time.Until(deadline) < pause {
			return result, passing.Err
		}
		select {
		case <-time.After(pause/2 + rand.N(pause/2)):
		case <-ctx.Done():
			return result, passing.Err
		}
	}
}

// attempt is one try. What may be gone the next time is a [*httpclient.PassingError].
func attempt[T any](ctx context.Context, s *Store, what string, open opener, run func(context.Context, *pgxpool.Pool) (T, error)) (result T, err error) {
	within, cancel := context.WithTimeout(ctx, httpclient.AttemptWait)
	defer cancel()
	pool, err := open(within, what)
	if err == nil {
		result, err = run(within, pool)
	}
	if err == nil {
		return result, nil
	}
	if isReadOnly(err) {
		pool.Reset() // the server has become a standby
	}
	return result, s.failed(ctx, what, err)
}

// An opener makes or finds the pool. Its errors begin with a text.
type opener func(ctx context.Context, what string) (*pgxpool.Pool, error)

// open returns the pool, which has looked at the schema.
func (s *Store) open(ctx context.Context, what string) (*pgxpool.Pool, error) {
	return s.pool.Get(ctx, func(ctx context.Context) (*pgxpool.Pool, error) {
		pool, err := s.connect(ctx)
		if err != nil {
			return nil, err
		}
		if err := checkSchema(ctx, what, pool); err != nil {
			pool.Close()
			return nil, err
		}
		return pool, nil
	})
}

// connect makes a pool, whose connections are made when they are needed.
func (s *Store) connect(ctx context.Context) (*pgxpool.Pool, error) {
	config, err := s.config()
	if err != nil {
		return nil, err
	}
	config.BeforeConnect = s.freshPassword
	return pgxpool.NewWithConfig(ctx, config)
}

// freshPassword reads the password again: it may have been replaced.
func (s *Store) freshPassword(_ context.Context, c *pgx.ConnConfig) error {
	now, err := s.config()
	if err == nil {
		c.Password = now.ConnConfig.Password
	}
	return err
}

// Close ends all connections. The Store is of no use afterwards.
func (s *Store) Close() {
	pool, err := s.pool.Get(context.Background(), func(context.Context) (*pgxpool.Pool, error) { return nil, errNoPool })
	if err == nil {
		pool.Close()
	}
}

var errNoPool = errors.New("there is no connection")

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// refuse is an error of ours, one line already, which no repetition cures.
func refuse(what, why, do string) error { return usererr.New(what, why, do) }
