package postgres

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatepass/gatepass/internal/httpclient"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/store/envelope"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	form = "write postgres://[USER@]HOST[:PORT]/DATABASE?sslmode=verify-full"

	// maxPrefix bounds a prefix, in bytes.
	maxPrefix = 200
)

// Bounds on waiting for the server.
const (
	connectWait   = 5 * time.Second
	statementWait = 5 * time.Second
	// maxIdle is how long an idle connection stays open.
	maxIdle = 5 * time.Minute
)

// OpenStore returns the store of a URL:
//
//	postgres://[USER@]HOST[:PORT][,HOST[:PORT]…]/DATABASE?sslmode=…[&prefix=…][&key=…]
//
// Keys other than prefix and key are those of libpq and pgxpool. A password comes from
// PGPASSWORD, a password file or a client certificate, never from the URL. The server
// is first contacted by the first call.
func OpenStore(u *url.URL) (*Store, error) {
	what := "store postgres://" + u.Host + u.Path
	switch {
	case u.Scheme != "postgres":
		return nil, usererr.New("store", "its scheme is not postgres", form)
	case u.Opaque != "" || u.Fragment != "":
		return nil, usererr.New("store postgres://"+u.Host, "a store's URL must not have a fragment", form)
	case strings.Trim(u.Path, "/") == "":
		return nil, usererr.New(what, "it names no database", form)
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, usererr.New(what, "the query is malformed", form)
	}
	if err := checkQuery(what, u, query); err != nil {
		return nil, err
	}
	s := &Store{where: what[len("store "):], prefix: query.Get("prefix")}
	if key := query.Get("key"); key != "" {
		if s.wrapper, err = envelope.Open(key); err != nil {
			return nil, usererr.Wrap(what, err, "")
		}
	}
	query.Del("prefix")
	query.Del("key")
	theirs := *u
	theirs.RawQuery = query.Encode()
	s.dsn = theirs.String()
	config, err := s.config()
	if err != nil {
		return nil, err
	}
	return s, checkClear(what, config, query)
}

// checkQuery refuses a key that is given twice, a password that processes and logs
// would show, and a setting that could lead to a server that lags behind.
func checkQuery(what string, u *url.URL, query url.Values) error {
	_, hasPassword := u.User.Password()
	for key, values := range query {
		if len(values) != 1 || values[0] == "" {
			return usererr.New(what, key+" is given twice or is empty", form)
		}
	}
	if hasPassword || query.Has("password") || query.Has("sslpassword") {
		return usererr.New(what, "a store's URL must not have a password", "keep it in a password file (passfile=FILE, mode 0600) or in PGPASSWORD")
	}
	if prefix := query.Get("prefix"); prefix != "" {
		if _, err := store.ParseName(prefix); err != nil || len(prefix) > maxPrefix {
			return usererr.New(what, "the prefix is too long, or a part of it has characters other than letters, digits, dots, hyphens and underscores", form)
		}
	}
	if !slices.Contains([]string{"", "read-write", "primary"}, query.Get("target_session_attrs")) {
		return usererr.New(what, "a standby may miss recent blocks", "remove target_session_attrs: the default is read-write")
	}
	return nil
}

// config parses the URL, and takes from libpq's sources what the URL does not say. It
// is parsed again for each connection, so that a password can be replaced.
func (s *Store) config() (*pgxpool.Config, error) {
	what := "store " + s.where
	config, err := pgxpool.ParseConfig(s.dsn)
	if err != nil {
		return nil, usererr.New(what, "it cannot be read: "+withoutURL(err), form)
	}
	if err := checkPassfile(what, s.dsn); err != nil {
		return nil, err
	}
	if config.ConnConfig.ConnectTimeout == 0 || config.ConnConfig.ConnectTimeout > connectWait {
		config.ConnConfig.ConnectTimeout = connectWait
	}
	dialer := net.Dialer{Timeout: connectWait, KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3}}
	config.ConnConfig.DialFunc = dialer.DialContext
	config.ConnConfig.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	config.MaxConnIdleTime = maxIdle
	config.ShouldPing = func(context.Context, pgxpool.ShouldPingParams) bool { return false } // a statement that fails is retried anyway
	parameters := config.ConnConfig.RuntimeParams
	parameters["statement_timeout"] = milliseconds(statementWait)
	parameters["lock_timeout"] = milliseconds(statementWait)
	parameters["idle_in_transaction_session_timeout"] = milliseconds(statementWait)
	if parameters["application_name"] == "" {
		parameters["application_name"] = "gatepass"
	}
	return config, nil
}

// checkPassfile refuses a password file that others can read.
func checkPassfile(what, dsn string) error {
	u, err := url.Parse(dsn)
	if err != nil {
		return err
	}
	path := cmp.Or(u.Query().Get("passfile"), os.Getenv("PGPASSFILE"))
	isNamed := path != ""
	if home, err := os.UserHomeDir(); !isNamed && err == nil {
		path = filepath.Join(home, ".pgpass")
	}
	info, err := os.Stat(path)
	switch {
	case err != nil && isNamed:
		return usererr.New(what, "the password file "+path+" cannot be read", "correct passfile or PGPASSFILE")
	case err == nil && info.Mode().Perm()&0o077 != 0:
		return usererr.New(what, "other users can use the password file "+path, "run chmod 600 "+path)
	}
	return nil
}

// checkClear refuses an unencrypted network connection unless sslmode is set
// explicitly.
func checkClear(what string, config *pgxpool.Config, query url.Values) error {
	if query.Has("sslmode") || os.Getenv("PGSSLMODE") != "" {
		return nil
	}
	c := config.ConnConfig.Config
	ends := []end{{c.Host, c.TLSConfig}}
	for _, other := range c.Fallbacks {
		ends = append(ends, end{other.Host, other.TLSConfig})
	}
	for _, e := range ends {
		if e.tls == nil && !isHere(e.host) {
			return usererr.New(what, "the connection to "+e.host+" would not be encrypted, so tokens would cross the network in clear", "add sslmode=verify-full")
		}
	}
	return nil
}

// An end is a server that a connection may lead to, and how.
type end struct {
	host string
	tls  *tls.Config
}

// isHere reports whether a host is this machine: a socket's folder or a loopback address.
func isHere(host string) bool {
	ip := net.ParseIP(host)
	return strings.HasPrefix(host, "/") || strings.HasPrefix(host, "@") || host == "localhost" || ip != nil && ip.IsLoopback()
}

// pauseFirst and maxPause bound the wait before a retry.
const (
	pauseFirst = 50 * time.Millisecond
	maxPause   = time.Second
)

// run runs a statement until its answer is final: it retries while a server restarts or
// fails over, for at most [httpclient.MaxWait] or until the caller's deadline.
// Statements must be safe to run twice. [pgx.ErrNoRows] is returned as it is; other
// errors are one line.
func run[T any](ctx context.Context, s *Store, what string, run func(context.Context, *pgxpool.Pool) (T, error)) (T, error) {
	return runWith(ctx, s, what, s.open, run)
}

func runWith[T any](ctx context.Context, s *Store, what string, open opener, run func(context.Context, *pgxpool.Pool) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, httpclient.MaxWait)
	defer cancel()
	for pause := pauseFirst; ; pause = min(2*pause, maxPause) {
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

// attempt is one try. An error that a retry may resolve is a
// [*httpclient.PassingError].
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

// An opener returns the pool. Its errors begin with what.
type opener func(ctx context.Context, what string) (*pgxpool.Pool, error)

// open returns the pool, after a check of the schema.
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

// connect creates a pool, which connects when a connection is needed.
func (s *Store) connect(ctx context.Context) (*pgxpool.Pool, error) {
	config, err := s.config()
	if err != nil {
		return nil, err
	}
	config.BeforeConnect = s.freshPassword
	return pgxpool.NewWithConfig(ctx, config)
}

// freshPassword reads the password again, because it may have been replaced.
func (s *Store) freshPassword(_ context.Context, c *pgx.ConnConfig) error {
	now, err := s.config()
	if err == nil {
		c.Password = now.ConnConfig.Password
	}
	return err
}

// Close closes all connections. The Store must not be used afterwards.
func (s *Store) Close() {
	pool, err := s.pool.Get(context.Background(), func(context.Context) (*pgxpool.Pool, error) { return nil, errNoPool })
	if err == nil {
		pool.Close()
	}
}

var errNoPool = errors.New("there is no connection")

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// refuse returns an error of this package, on one line, that a retry cannot resolve.
func refuse(what, why, do string) error { return usererr.New(what, why, do) }
