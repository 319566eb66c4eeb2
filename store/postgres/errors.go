package postgres

import (
	"context"
	"errors"
	"net"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/gatepass/gatepass/internal/httpclient"
	"github.com/gatepass/gatepass/internal/redact"
	"github.com/gatepass/gatepass/internal/usererr"
)

// maxShown bounds the server's text in a message, in bytes.
const maxShown = 300

// Error codes of the server
// (https://www.postgresql.org/docs/current/errcodes-appendix.html).
const (
	undefinedTable   = "42P01"
	undefinedColumn  = "42703"
	insufficientRole = "42501"
	readOnly         = "25006"
	queryCanceled    = "57014"
	lockNotAvailable = "55P03"
	noDatabase       = "3D000"
)

// passing are prefixes of codes of errors that a retry may resolve: connections,
// conflicts, resources, shutdowns.
var passing = []string{"08", "40", "53", "57P", readOnly, queryCanceled, lockNotAvailable}

func isReadOnly(err error) bool { return hasCode(err, readOnly) }

// hasCode reports whether the server answered with one of the codes, or with a code
// that begins with one.
func hasCode(err error, codes ...string) bool {
	server, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return false
	}
	for _, code := range codes {
		if strings.HasPrefix(server.Code, code) {
			return true
		}
	}
	return false
}

// failed turns an error into one line. An error that a retry may resolve becomes a
// [*httpclient.PassingError].
func (s *Store) failed(ctx context.Context, what string, err error) error {
	if _, ours := errors.AsType[*usererr.Error](err); ours || errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	if ctx.Err() != nil {
		why := "PostgreSQL did not answer in time"
		if errors.Is(ctx.Err(), context.Canceled) {
			why = "the request was cancelled"
		}
		return &usererr.Error{Op: what, Reason: why, Hint: "check that the server can be reached from here", Err: ctx.Err()}
	}
	if _, ok := errors.AsType[*pgconn.PgError](err); ok {
		return refused(what, err)
	}
	return connectionError(what, err)
}

// refused explains an error that the server reports.
func refused(what string, err error) error {
	server, _ := errors.AsType[*pgconn.PgError](err)
	said := redact.Text(server.Message, maxShown) + " (" + redact.Text(server.Code, maxShown) + ")"
	switch {
	case hasCode(err, passing...):
		return &httpclient.TransientError{Err: usererr.New(what, "PostgreSQL cannot answer now: "+said, "try again in a moment")}
	case hasCode(err, "28"):
		return usererr.New(what, "PostgreSQL does not let this user in: "+said, "check the user, its password (PGPASSWORD, passfile) and pg_hba.conf")
	case hasCode(err, noDatabase):
		return usererr.New(what, said, "create it: CREATE DATABASE")
	case hasCode(err, insufficientRole):
		return usererr.New(what, said, "grant the rights in docs/postgres.md to this user")
	case hasCode(err, undefinedTable, undefinedColumn):
		return usererr.New(what, said, migrateHint)
	}
	return usererr.New(what, "PostgreSQL refuses: "+said, "")
}

// connectionError explains why there is no connection. If several servers were tried, each may
// have another reason.
func connectionError(what string, err error) error {
	text := redact.Text(words(err), maxShown)
	do := "check that the server can be reached from here"
	_, unreached := errors.AsType[*net.OpError](err)
	switch {
	case errors.Is(err, pgconn.ErrReadOnlyConnection):
		text, do = "no server accepts writes: only a standby answers", "name all servers in the store's URL, as in HOST,HOST"
	case httpclient.IsCertificate(err):
		return usererr.New(what, "the server's certificate is not trusted: "+text, "name its authority with sslrootcert")
	case !unreached && (httpclient.IsHandshake(err) || strings.Contains(text, "server refused TLS")):
		return usererr.New(what, "no TLS connection: "+text, "enable TLS on the server, or correct sslmode")
	case httpclient.IsUnknownHost(err):
		do = "correct the store's URL, or wait for the server's name" // with several servers, one name may be missing during a failover
	case pgconn.Timeout(err):
		text = "it did not answer in time"
	}
	return &httpclient.TransientError{Err: usererr.New(what, "PostgreSQL cannot be reached: "+text, do)}
}

// words returns an error on one line, without the connection string.
func words(err error) string {
	if connect, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		err = connect.Unwrap()
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Error()
	}
	return strings.Join(strings.Fields(err.Error()), " ")
}

// withoutURL returns what is wrong with a connection string, without the string.
func withoutURL(err error) string {
	if inner := errors.Unwrap(err); inner != nil {
		return redact.Text(inner.Error(), maxShown)
	}
	text := err.Error()
	if _, after, ok := strings.Cut(text, "`: "); ok {
		text = after
	}
	return redact.Text(text, maxShown)
}
