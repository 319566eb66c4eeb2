package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// pgPrograms returns the folder with PostgreSQL's server.
func pgPrograms() (string, error) {
	if dir := os.Getenv("GATEPASS_TEST_POSTGRES"); dir != "" {
		return dir, nil
	}
	if path, err := exec.LookPath("postgres"); err == nil {
		path, err = filepath.EvalSymlinks(path)
		return filepath.Dir(path), err
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if len(found) == 0 {
		return "", errNotSetUp
	}
	return filepath.Dir(found[len(found)-1]), nil
}

// A pgServer is a real PostgreSQL for this run, on loopback. It does not sync to disk.
type pgServer struct {
	address string
	cmd     *exec.Cmd
	dir     string
}

// startPostgres starts a server, as an unprivileged user if this user is root.
func (b scaleBench) startPostgres() (*pgServer, error) {
	programs, err := pgPrograms()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "gatepass-bench-")
	if err != nil {
		return nil, err
	}
	s := &pgServer{dir: dir}
	as, err := unprivileged(dir)
	if err == nil {
		s.address, err = freeAddress()
	}
	if err != nil {
		s.stop()
		return nil, err
	}
	_, port, _ := net.SplitHostPort(s.address)
	data := filepath.Join(dir, "data")
	run := func(program string, args ...string) *exec.Cmd {
		cmd := exec.CommandContext(b.ctx, filepath.Join(programs, program), args...)
		cmd.Dir, cmd.Env, cmd.SysProcAttr = dir, []string{"LC_ALL=C.UTF-8", "HOME=" + dir}, as
		return cmd
	}
	out, err := run("initdb", "--pgdata="+data, "--username="+pgUser, "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync").CombinedOutput()
	if err != nil {
		s.stop()
		return nil, fmt.Errorf("initdb: %w: %.300s", err, out)
	}
	s.cmd = run("postgres", "-D", data, "-p", port, "-h", "127.0.0.1", "-k", dir, "-c", "fsync=off", "-c", "max_connections=200")
	if err := s.cmd.Start(); err != nil {
		s.stop()
		return nil, err
	}
	for until := time.Now().Add(startWait); ; time.Sleep(50 * time.Millisecond) {
		err := s.createDatabase(b.ctx)
		if err == nil {
			return s, nil
		}
		if time.Now().After(until) {
			s.stop()
			return nil, fmt.Errorf("PostgreSQL does not answer: %w", err)
		}
	}
}

func (s *pgServer) createDatabase(ctx context.Context) error {
	conn, err := s.connect(ctx, "postgres")
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	return conn.Exec(ctx, "CREATE DATABASE "+pgDatabase).Close()
}

// unprivileged returns the attributes that run a program as a user other than root.
func unprivileged(dir string) (*syscall.SysProcAttr, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		return nil, err
	}
	uid, err := strconv.Atoi(nobody.Uid)
	gid, gidErr := strconv.Atoi(nobody.Gid)
	if err := firstOf(err, gidErr, os.Chown(dir, uid, gid)); err != nil {
		return nil, err
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, nil
}

// stop ends the server at once; SIGQUIT makes it skip its last writes.
func (s *pgServer) stop() {
	if s.cmd != nil && s.cmd.Process != nil {
		_ = s.cmd.Process.Signal(syscall.SIGQUIT)
		_ = s.cmd.Wait()
	}
	_ = os.RemoveAll(s.dir)
}

// A pgProxy forwards connections to a server and counts the executed statements by
// their first word.
type pgProxy struct {
	l     net.Listener
	to    string
	tally *callCounter
}

func newPgProxy(to string, t *callCounter) (*pgProxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &pgProxy{l: l, to: to, tally: t}
	go p.serve()
	return p, nil
}

func (p *pgProxy) serve() {
	for {
		client, err := p.l.Accept()
		if err != nil {
			return
		}
		go p.pass(client)
	}
}

func (p *pgProxy) pass(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer server.Close()
	go func() {
		_, _ = io.Copy(client, server)
		client.Close()
	}()
	counter := pgCounter{tally: p.tally, statements: map[string]string{}, portals: map[string]string{}}
	_ = counter.copy(server, client)
}

// A pgCounter parses what a client sends
// (https://www.postgresql.org/docs/current/protocol-message-formats.html).
type pgCounter struct {
	tally      *callCounter
	statements map[string]string // first words by the name of the prepared statement
	portals    map[string]string
}

const maxPgMessage = 64 << 20

func (c *pgCounter) copy(server io.Writer, client io.Reader) error {
	in := bufio.NewReader(client)
	for isFirst := true; ; isFirst = false { // the first message has no type
		head := make([]byte, 5)
		if isFirst {
			head = head[:4]
		}
		if _, err := io.ReadFull(in, head); err != nil {
			return err
		}
		size := int(binary.BigEndian.Uint32(head[len(head)-4:])) - 4
		if size < 0 || size > maxPgMessage {
			return fmt.Errorf("a message of %d bytes", size)
		}
		body := make([]byte, size)
		if _, err := io.ReadFull(in, body); err != nil {
			return err
		}
		if !isFirst {
			c.look(head[0], body)
		}
		if _, err := server.Write(append(head, body...)); err != nil {
			return err
		}
	}
}

// look records what a message prepares, binds or executes.
func (c *pgCounter) look(kind byte, body []byte) {
	first, rest, _ := bytes.Cut(body, []byte{0})
	second, _, _ := bytes.Cut(rest, []byte{0})
	switch kind {
	case 'P': // Parse: statement, query
		c.statements[string(first)] = firstWord(string(second))
	case 'B': // Bind: portal, statement
		c.portals[string(first)] = c.statements[string(second)]
	case 'E': // Execute: portal
		c.tally.add(c.portals[string(first)])
	case 'Q':
		c.tally.add(firstWord(string(first)))
	}
}

// firstWord returns the verb of a statement. pgx checks with a comment whether a
// connection is alive.
func firstWord(statement string) string {
	words := strings.Fields(strings.ToLower(statement))
	if len(words) == 0 || words[0] == ";" || words[0] == "--" {
		return "ping"
	}
	return strings.TrimRight(words[0], ";")
}
