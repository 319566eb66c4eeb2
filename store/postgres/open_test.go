package postgres

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/gatepass/gatepass/internal/httpclient"
	"github.com/gatepass/gatepass/store"
)

// isolate takes this machine's own settings of PostgreSQL away.
func isolate(t *testing.T) {
	t.Helper()
	for _, name := range []string{"PGHOST", "PGPORT", "PGDATABASE", "PGUSER", "PGPASSWORD", "PGSSLMODE", "PGPASSFILE", "PGSERVICE", "PGSERVICEFILE", "PGTARGETSESSIONATTRS", "PGSSLROOTCERT"} {
		if value, ok := os.LookupEnv(name); ok {
			t.Setenv(name, value) // puts it back at the end
			os.Unsetenv(name)
		}
	}
	t.Setenv("HOME", t.TempDir())
}

func tryOpen(t *testing.T, raw string) (*Store, error) {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return OpenStore(u)
}

func TestOpenStoreRefuses(t *testing.T) {
	isolate(t)
	open := filepath.Join(t.TempDir(), "pgpass")
	if err := os.WriteFile(open, []byte("*:*:*:*:hunter2\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, url, want string }{
		{"another scheme", "ssm:///km", "its scheme is not postgres"},
		{"no database", "postgres://u@db.example?sslmode=verify-full", "it names no database"},
		{"a fragment", "postgres://u@db.example/d?sslmode=verify-full#x", "a store's URL must not have a fragment"},
		{"a password", "postgres://u:hunter2@db.example/d?sslmode=verify-full", "a store's URL must not have a password; keep it in a password file"},
		{"an empty password", "postgres://u:@db.example/d?sslmode=verify-full", "a store's URL must not have a password"},
		{"a password behind", "postgres://u@db.example/d?sslmode=verify-full&password=hunter2", "a store's URL must not have a password"},
		{"a key's password", "postgres://u@db.example/d?sslmode=verify-full&sslpassword=hunter2", "a store's URL must not have a password"},
		{"no word about TLS", "postgres://u@db.example/d", "the connection to db.example would not be encrypted, so tokens would cross the network in clear; add sslmode=verify-full"},
		{"one of several elsewhere", "postgres://u@127.0.0.1,10.0.0.1/d", "the connection to 10.0.0.1 would not be encrypted"},
		{"what looks like this machine", "postgres://u@localhost.example/d", "add sslmode=verify-full"},
		{"a host behind", "postgres:///d?host=db.example", "the connection to db.example would not be encrypted"},
		{"a mode of TLS that there is not", "postgres://u@db.example/d?sslmode=strict", "it cannot be read"},
		{"a standby", "postgres://u@db.example/d?sslmode=verify-full&target_session_attrs=any", "a standby may miss recent blocks"},
		{"a key twice", "postgres://u@db.example/d?sslmode=verify-full&sslmode=disable", "sslmode is given twice"},
		{"a prefix that climbs", "postgres://u@127.0.0.1/d?prefix=../x", "the prefix is too long, or"},
		{"a long prefix", "postgres://u@127.0.0.1/d?prefix=" + strings.Repeat("a/", 100) + "a", "the prefix is too long, or"},
		{"a key that wraps nothing", "postgres://u@127.0.0.1/d?key=gcpkms://projects/p", "unknown scheme gcpkms"},
		{"not a key", "postgres://u@127.0.0.1/d?key=awskms:///", "this is not a key"},
		{"a password file that is not there", "postgres://u@127.0.0.1/d?passfile=/none", "the password file /none cannot be read"},
		{"a password file for others", "postgres://u@127.0.0.1/d?passfile=" + open, "run chmod 600 " + open},
	} {
		s, err := tryOpen(t, c.url)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") || strings.ContainsAny(err.Error(), "\n\r") {
			t.Errorf("%s: OpenStore = %v, %v, want an error with %q in one line, without a password", c.name, s, err, c.want)
		}
	}
}

func TestOpenStoreTakes(t *testing.T) {
	isolate(t)
	for _, url := range []string{
		"postgres://u@db.example/d?sslmode=verify-full", "postgres://u@db.example/d?sslmode=disable", // said is said
		"postgres://u@127.0.0.1:5433/d", "postgres://u@localhost/d?prefix=team/a", "postgres:///d?host=/run/postgresql",
		"postgres://u@a.example,b.example:5433/d?sslmode=verify-full&target_session_attrs=read-write",
		"postgres://u@127.0.0.1/d?key=" + "awskms%3A%2F%2F%2Falias%2Fstore%3Fregion%3Dus-east-1",
		"postgres://u@127.0.0.1/d?pool_max_conns=20&application_name=x&connect_timeout=2",
	} {
		if _, err := tryOpen(t, url); err != nil {
			t.Errorf("OpenStore(%s) = %v", url, err)
		}
	}
	t.Setenv("PGSSLMODE", "require")
	if _, err := tryOpen(t, "postgres://u@db.example/d"); err != nil {
		t.Errorf("OpenStore with PGSSLMODE = %v", err)
	}
}

// The server is asked for writes only, waits are bounded, and our own keys stay here.
func TestWhatTheServerIsTold(t *testing.T) {
	isolate(t)
	s, err := tryOpen(t, "postgres://u@127.0.0.1/d?prefix=p&key=awskms:///alias/x&connect_timeout=3600")
	if err != nil {
		t.Fatal(err)
	}
	config, err := s.config()
	if err != nil {
		t.Fatal(err)
	}
	parameters := config.ConnConfig.RuntimeParams
	for _, name := range []string{"statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"} {
		if parameters[name] != "5000" {
			t.Errorf("%s = %q, want 5000 ms", name, parameters[name])
		}
	}
	if config.ShouldPing == nil || config.ShouldPing(t.Context(), pgxpool.ShouldPingParams{IdleDuration: time.Hour}) {
		t.Error("a connection that was idle is asked for a sign of life first: two calls for one")
	}
	if parameters["prefix"]+parameters["key"] != "" || config.ConnConfig.ValidateConnect == nil || config.ConnConfig.ConnectTimeout > connectWait {
		t.Errorf("parameters %q, connect timeout %s, want ours to stay here, and all that is bounded", parameters, config.ConnConfig.ConnectTimeout)
	}
}

// A password is read anew for each connection, and shown by no error.
func TestPasswords(t *testing.T) {
	isolate(t)
	file := filepath.Join(t.TempDir(), "pgpass")
	s := func() *Store {
		if err := os.WriteFile(file, []byte("*:*:*:*:first\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := tryOpen(t, "postgres://u@127.0.0.1:1/d?passfile="+file)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}()
	for _, want := range []string{"first", "hunter2"} {
		if err := os.WriteFile(file, []byte("*:*:*:*:"+want+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		config, err := s.config()
		if err != nil {
			t.Fatal(err)
		}
		config.ConnConfig.Password = "an old one"
		if err := s.freshPassword(t.Context(), config.ConnConfig); err != nil || config.ConnConfig.Password != want {
			t.Errorf("the password is %q, %v, want %q", config.ConnConfig.Password, err, want)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := s.Get(ctx, store.Signer())
	if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "cannot be reached") {
		t.Errorf("Get = %v, want that the server cannot be reached, without the password", err)
	}
}

// During a failover a server may have no name for a while, and another no connection yet.
func TestWhatIsAskedAgain(t *testing.T) {
	isolate(t)
	server := func(code string) error { return &pgconn.PgError{Code: code, Message: "no"} }
	for name, c := range map[string]struct {
		err     error
		isAgain bool
	}{
		"a host without a name":      {&net.DNSError{Err: "no such host", Name: "db.example", IsNotFound: true}, true},
		"a refused connection":       {&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, true},
		"a lost connection":          {io.ErrUnexpectedEOF, true},
		"a standby":                  {pgconn.ErrReadOnlyConnection, true},
		"one that became a standby":  {server("25006"), true},
		"a server that starts":       {server("57P03"), true},
		"a server that is shut down": {server("57P01"), true},
		"a deadlock":                 {server("40P01"), true},
		"too many connections":       {server("53300"), true},
		"a statement that took long": {server("57014"), true},
		"a wrong password":           {server("28P01"), false},
		"no database":                {server("3D000"), false},
		"no rights":                  {server("42501"), false},
		"no table":                   {server("42P01"), false},
		"a broken statement":         {server("42601"), false},
		"a certificate":              {&tls.CertificateVerificationError{Err: errors.New("unknown authority")}, false},
	} {
		err := new(Store).failed(t.Context(), "read x", c.err)
		if _, isAgain := errors.AsType[*httpclient.TransientError](err); isAgain != c.isAgain || strings.ContainsAny(err.Error(), "\n\r") {
			t.Errorf("%s: %v, asked again %v, want one line and %v", name, err, isAgain, c.isAgain)
		}
	}
}
