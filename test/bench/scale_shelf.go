package main

import (
	"context"
	"fmt"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/throttle"
)

// A shelf is a store that is measured: a real server, or a double of AWS's, behind what
// counts the calls and, for AWS, refuses those beyond the limits of an account.
type shelf struct {
	name   string
	url    string // of the store, behind the counter
	inside string // of the same store, with nothing in between
	env    []string
	tally  *tally
	// load makes copies of a stencil; nil means fill.
	load func(ctx context.Context, st stencil, from, to int) error
	// dues are when entries are due, by name, where the store is Indexed; for fill.
	dues func() map[string]time.Time
	// age has what is below config be an hour old, where the store is Indexed: a pass reads
	// all records while an installation is new. nil does nothing.
	age func(context.Context) error
	// ageBlocks has what is blocked be blocked for two hours; nil does nothing.
	ageBlocks func()
	pid       int // of the server, 0 where it is no process of its own
	// uncounted says that calls cannot be counted.
	uncounted bool
	shut      func()
}

// direct opens the store with nothing in between.
func (sh *shelf) direct() (store.Store, error) { return issuing.OpenStore(sh.inside) }

// copies makes copies of a stencil.
func (sh *shelf) copies(ctx context.Context, s store.Store, st stencil, from, to int) error {
	if sh.load != nil {
		return sh.load(ctx, st, from, to)
	}
	var dues map[string]time.Time
	if sh.dues != nil {
		dues = sh.dues()
	}
	return fill(ctx, s, st, from, to, dues)
}

// awsEnv are credentials that doubles take.
var awsEnv = []string{"AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_REGION=us-east-1", "AWS_EC2_METADATA_DISABLED=true"}

// openSSM has the double of Parameter Store behind the limits that an account has.
func (b *bench) openSSM() (*shelf, error) {
	double := new(parameterStore)
	limits := throttle.New(double, throttle.ParameterStore)
	sh := &shelf{name: "ssm", env: awsEnv, tally: &tally{nameOf: awsOperation}}
	outside, inside := httptest.NewServer(sh.tally.before(limits)), httptest.NewServer(double)
	of := func(s *httptest.Server) string {
		return "ssm:///km?region=us-east-1&endpoint=" + url.QueryEscape(s.URL)
	}
	sh.url, sh.inside = of(outside), of(inside)
	sh.load = func(_ context.Context, st stencil, from, to int) error {
		double.load(st, from, to)
		return nil
	}
	sh.ageBlocks = double.ageBlocks
	sh.shut = func() { outside.Close(); inside.Close() }
	return sh, setEnv(awsEnv)
}

// openDynamoDB has the double of a table behind the limits of a new one that is paid by
// the call.
func (b *bench) openDynamoDB() (*shelf, error) {
	double := new(dynamoTable)
	limits := throttle.New(double, throttle.OnDemandTable)
	sh := &shelf{name: "dynamodb", env: awsEnv, tally: &tally{nameOf: awsOperation}, dues: double.dues, age: double.age}
	outside, inside := httptest.NewServer(sh.tally.before(limits)), httptest.NewServer(double)
	of := func(s *httptest.Server) string {
		return "dynamodb://gatepass?region=us-east-1&endpoint=" + url.QueryEscape(s.URL)
	}
	sh.url, sh.inside = of(outside), of(inside)
	sh.shut = func() { outside.Close(); inside.Close() }
	return sh, setEnv(awsEnv)
}

// openPostgres starts a real PostgreSQL, in the schema that gatepass makes.
func (b *bench) openPostgres() (*shelf, error) {
	server, err := b.startPostgres()
	if err != nil {
		return nil, err
	}
	sh := &shelf{name: "postgres", tally: new(tally), pid: server.cmd.Process.Pid, load: server.load, age: server.age}
	proxy, err := newPgProxy(server.address, sh.tally)
	if err != nil {
		server.stop()
		return nil, err
	}
	of := func(address string) string { return "postgres://gatepass@" + address + "/gatepass?sslmode=disable" }
	sh.url, sh.inside = of(proxy.l.Addr().String()), of(server.address)
	sh.shut = func() { proxy.l.Close(); server.stop() }
	cmd := exec.CommandContext(b.ctx, filepath.Join(b.bin, cliProgram), "store", "migrate", "--store", sh.inside)
	cmd.Env = []string{"HOME=" + server.dir}
	if out, err := cmd.CombinedOutput(); err != nil {
		sh.shut()
		return nil, fmt.Errorf("gatepass store migrate: %w: %.300s", err, out)
	}
	return sh, nil
}

// openFiles is a folder, in memory where the machine has such a place.
func (b *bench) openFiles() (*shelf, error) {
	dir, err := os.MkdirTemp(memoryFolder(b.scratch), "gatepass-bench-")
	u := (&url.URL{Scheme: "file", Path: filepath.Join(dir, "store")}).String()
	return &shelf{name: "file", url: u, inside: u, tally: new(tally), uncounted: true, shut: func() { _ = os.RemoveAll(dir) }}, err
}

// setEnv is for stores that this program opens itself.
func setEnv(variables []string) error {
	for _, v := range variables {
		name, value, _ := strings.Cut(v, "=")
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	return nil
}
