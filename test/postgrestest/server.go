//go:build unix

// Package postgrestest starts real PostgreSQL servers for tests, each with its own
// database, on loopback, as an unprivileged user. They can be killed, restarted,
// replicated by streaming replication, and promoted.
package postgrestest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/gatepass/gatepass/test/freeport"
)

// programsVariable names the folder with the server's programs.
const programsVariable = "GATEPASS_TEST_POSTGRES"

// superuser is the user with all rights, and the name of the database.
const superuser = "gatepass"

// settled bounds how long a server takes to start on an overloaded machine.
const settled = 2 * time.Minute

// A Server is a PostgreSQL server that ends with its test.
type Server struct {
	t       testing.TB
	dir     string // all of its files
	port    string
	cmd     *exec.Cmd // nil while the server is stopped
	log     *bytes.Buffer
	ended   chan struct{}
	options []string
}

// New starts a server with an empty database, or skips the test if PostgreSQL is not
// installed. Options are settings, as in "fsync=off".
func New(t testing.TB, options ...string) *Server {
	t.Helper()
	s := prepare(t, options)
	s.run("initdb", "--pgdata="+s.data(), "--username="+superuser, "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync")
	s.Start()
	s.Exec("postgres", "CREATE DATABASE "+superuser)
	return s
}

func prepare(t testing.TB, options []string) *Server {
	t.Helper()
	if os.Getenv(programsVariable) == "" {
		t.Skip("missing: PostgreSQL (make test-real sets " + programsVariable + ")")
	}
	dir, err := os.MkdirTemp("", "gatepass-postgres-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &Server{t: t, dir: dir, options: options}
	if id := s.credential(); id != nil {
		if err := os.Chown(dir, int(id.Uid), int(id.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	address, err := freeport.Address()
	if err != nil {
		t.Fatal(err)
	}
	_, s.port, _ = net.SplitHostPort(address)
	t.Cleanup(s.Kill)
	return s
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// credential returns the user "nobody" if the test runs as root, because PostgreSQL
// refuses to run as root.
func (s *Server) credential() *syscall.Credential {
	if os.Geteuid() != 0 {
		return nil
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		s.t.Fatal(err)
	}
	uid, _ := strconv.Atoi(nobody.Uid)
	gid, _ := strconv.Atoi(nobody.Gid)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

func (s *Server) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(os.Getenv(programsVariable), program), args...)
	cmd.Dir = s.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir, "LANG=C.UTF-8", "TZ=UTC"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.credential(), Setpgid: true}
	return cmd
}

func (s *Server) run(program string, args ...string) {
	s.t.Helper()
	if out, err := s.command(program, args...).CombinedOutput(); err != nil {
		s.t.Fatalf("%s: %v: %s", program, err, out)
	}
}

// Start starts a stopped server, with additional options, and waits until it answers.
func (s *Server) Start(options ...string) {
	s.t.Helper()
	s.options = append(s.options, options...)
	deadline := time.Now().Add(settled)
	for !s.tryStart(deadline) {
		if time.Now().After(deadline) {
			s.t.Fatalf("PostgreSQL does not start: %s", s.log)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// tryStart reports whether the server answers. Right after a kill the new server ends
// at once, while processes of the previous one still run.
func (s *Server) tryStart(deadline time.Time) bool {
	args := []string{"-D", s.data(), "-p", s.port, "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=" + s.dir, "-c", "max_connections=200"}
	for _, option := range s.options {
		args = append(args, "-c", option)
	}
	s.log = new(bytes.Buffer)
	cmd, ended := s.command("postgres", args...), make(chan struct{})
	cmd.Stdout, cmd.Stderr = s.log, s.log
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() { _ = cmd.Wait(); close(ended) }()
	s.cmd, s.ended = cmd, ended
	for time.Now().Before(deadline) {
		select {
		case <-ended:
			s.cmd = nil
			return false
		case <-time.After(20 * time.Millisecond):
		}
		if conn, err := s.connect("postgres"); err == nil {
			conn.Close(context.Background())
			return true
		}
	}
	s.Kill()
	return false
}

// Kill ends the server at once, as a power failure does.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill() // its children notice, and end
	<-s.ended
	s.cmd = nil
}

// Address returns the server's address.
func (s *Server) Address() string { return "127.0.0.1:" + s.port }

// URL returns the URL of a store in the server's database. others are servers that it
// may fail over to.
func (s *Server) URL(query string, others ...*Server) string {
	hosts := s.Address()
	for _, other := range others {
		hosts += "," + other.Address()
	}
	return "postgres://" + superuser + "@" + hosts + "/" + superuser + "?" + query
}

func (s *Server) connect(database string) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return pgx.Connect(ctx, "postgres://"+superuser+"@"+s.Address()+"/"+database+"?sslmode=disable")
}

// Exec runs a statement in a database.
func (s *Server) Exec(database, statement string) {
	s.t.Helper()
	conn, err := s.connect(database)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(context.Background(), statement); err != nil {
		s.t.Fatalf("%s: %v", statement, err)
	}
}

// Query returns the single value that a statement selects in the server's database, as
// text.
func (s *Server) Query(statement string) (text string) {
	s.t.Helper()
	conn, err := s.connect(superuser)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if err := conn.QueryRow(context.Background(), "SELECT ("+statement+")::text").Scan(&text); err != nil {
		s.t.Fatalf("%s: %v", statement, err)
	}
	return text
}

// Cut closes all connections to the server's database.
func (s *Server) Cut() {
	s.t.Helper()
	s.Exec("postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '"+superuser+"'")
}

// Replica starts a replica of this server. From then on every write of this server
// waits for the replica.
func (s *Server) Replica() *Server {
	s.t.Helper()
	r := prepare(s.t, s.options)
	r.run("pg_basebackup", "--pgdata="+r.data(), "--host=127.0.0.1", "--port="+s.port, "--username="+superuser, "--write-recovery-conf", "--checkpoint=fast", "--wal-method=stream", "--no-sync")
	r.Start("hot_standby=on")
	s.Exec("postgres", "ALTER SYSTEM SET synchronous_standby_names = '*'")
	s.Exec("postgres", "SELECT pg_reload_conf()")
	for deadline := time.Now().Add(settled); s.Query("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") != "1"; {
		if time.Now().After(deadline) {
			s.t.Fatalf("the replica does not follow: %s", r.log)
		}
		time.Sleep(50 * time.Millisecond)
	}
	return r
}

// Promote makes a replica accept writes.
func (s *Server) Promote() {
	s.t.Helper()
	if text := s.Query("SELECT pg_promote()"); !strings.HasPrefix(text, "t") {
		s.t.Fatal(fmt.Sprint("pg_promote() = ", text))
	}
}

// Write writes a file that only the server can read, and returns its path.
func (s *Server) Write(name, text string) (path string) {
	s.t.Helper()
	path = filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if id := s.credential(); id != nil {
		if err := os.Chown(path, int(id.Uid), int(id.Gid)); err != nil {
			s.t.Fatal(err)
		}
	}
	return path
}

// Freeze stops all of the server's processes without ending them, until Thaw.
func (s *Server) Freeze() { s.signalAll(syscall.SIGSTOP) }

// Thaw resumes a frozen server.
func (s *Server) Thaw() { s.signalAll(syscall.SIGCONT) }

// signalAll signals the server and the processes that it started.
func (s *Server) signalAll(signal syscall.Signal) {
	s.t.Helper()
	pids := []int{s.cmd.Process.Pid}
	out, err := exec.Command("ps", "-o", "pid=", "--ppid", strconv.Itoa(pids[0])).Output()
	if err != nil {
		s.t.Fatal(err)
	}
	for text := range strings.FieldsSeq(string(out)) {
		if pid, err := strconv.Atoi(text); err == nil {
			pids = append(pids, pid)
		}
	}
	for _, pid := range pids {
		_ = syscall.Kill(pid, signal) // one may have ended by itself
	}
}
