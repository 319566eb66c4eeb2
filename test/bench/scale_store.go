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

// A measuredStore is a measured store: a real server or an AWS double, behind a counter of its
// calls. For AWS the counter also refuses calls beyond an account's limits.
type measuredStore struct {
	name      string
	url       string // URL of the store, behind the counter
	directURL string // URL of the same store without the counter
	env       []string
	counter   *callCounter
	// copyInto adds copies of a template; nil means fill.
	copyInto func(ctx context.Context, st template, from, to int) error
	// dueTimes returns when entries are due, by name, if the store is Indexed; for fill.
	dueTimes func() map[string]time.Time
	// age makes the entries below config an hour old if the store is Indexed, because a
	// round reads all records while an installation is new. nil does nothing.
	age func(context.Context) error
	// ageBlocks makes the blocks two hours old; nil does nothing.
	ageBlocks func()
	pid       int // process ID of the server; 0 if it is not a separate process
	// uncounted says that the calls cannot be counted.
	uncounted bool
	stop      func()
}

// direct opens the store without the counter.
func (sh *measuredStore) direct() (store.Store, error) { return issuing.OpenStore(sh.directURL) }

// copies adds copies of a template.
func (sh *measuredStore) copies(ctx context.Context, s store.Store, st template, from, to int) error {
	if sh.copyInto != nil {
		return sh.copyInto(ctx, st, from, to)
	}
	var dues map[string]time.Time
	if sh.dueTimes != nil {
		dues = sh.dueTimes()
	}
	return fill(ctx, s, st, from, to, dues)
}

// awsEnv are credentials that the doubles accept.
var awsEnv = []string{"AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_REGION=us-east-1", "AWS_EC2_METADATA_DISABLED=true"}

// openSSM starts the double of Parameter Store with an account's limits.
func (b scaleBench) openSSM() (*measuredStore, error) {
	double := new(parameterStore)
	limits := throttle.New(double, throttle.ParameterStore)
	sh := &measuredStore{name: "ssm", env: awsEnv, counter: &callCounter{nameOf: awsOperation}}
	outside, inside := httptest.NewServer(sh.counter.wrap(limits)), httptest.NewServer(double)
	of := func(s *httptest.Server) string {
		return "ssm:///km?region=us-east-1&endpoint=" + url.QueryEscape(s.URL)
	}
	sh.url, sh.directURL = of(outside), of(inside)
	sh.copyInto = func(_ context.Context, st template, from, to int) error {
		double.load(st, from, to)
		return nil
	}
	sh.ageBlocks = double.ageBlocks
	sh.stop = func() { outside.Close(); inside.Close() }
	return sh, setEnv(awsEnv)
}

// openDynamoDB starts the double of a table with the limits of a new on-demand table.
func (b scaleBench) openDynamoDB() (*measuredStore, error) {
	double := new(dynamoTable)
	limits := throttle.New(double, throttle.OnDemandTable)
	sh := &measuredStore{name: "dynamodb", env: awsEnv, counter: &callCounter{nameOf: awsOperation}, dueTimes: double.dues, age: double.age}
	outside, inside := httptest.NewServer(sh.counter.wrap(limits)), httptest.NewServer(double)
	of := func(s *httptest.Server) string {
		return "dynamodb://gatepass?region=us-east-1&endpoint=" + url.QueryEscape(s.URL)
	}
	sh.url, sh.directURL = of(outside), of(inside)
	sh.stop = func() { outside.Close(); inside.Close() }
	return sh, setEnv(awsEnv)
}

// openPostgres starts a real PostgreSQL with gatepass's schema.
func (b scaleBench) openPostgres() (*measuredStore, error) {
	server, err := b.startPostgres()
	if err != nil {
		return nil, err
	}
	sh := &measuredStore{name: "postgres", counter: new(callCounter), pid: server.cmd.Process.Pid, copyInto: server.load, age: server.age}
	proxy, err := newPgProxy(server.address, sh.counter)
	if err != nil {
		server.stop()
		return nil, err
	}
	of := func(address string) string { return "postgres://gatepass@" + address + "/gatepass?sslmode=disable" }
	sh.url, sh.directURL = of(proxy.l.Addr().String()), of(server.address)
	sh.stop = func() { proxy.l.Close(); server.stop() }
	cmd := exec.CommandContext(b.ctx, filepath.Join(b.bin, cliProgram), "store", "migrate", "--store", sh.directURL)
	cmd.Env = []string{"HOME=" + server.dir}
	if out, err := cmd.CombinedOutput(); err != nil {
		sh.stop()
		return nil, fmt.Errorf("gatepass store migrate: %w: %.300s", err, out)
	}
	return sh, nil
}

// openFiles makes a folder, in memory if the machine has such a file system.
func (b scaleBench) openFiles() (*measuredStore, error) {
	dir, err := os.MkdirTemp(memoryFolder(b.scratch), "gatepass-bench-")
	u := (&url.URL{Scheme: "file", Path: filepath.Join(dir, "store")}).String()
	return &measuredStore{name: "file", url: u, directURL: u, counter: new(callCounter), uncounted: true, stop: func() { _ = os.RemoveAll(dir) }}, err
}

// setEnv sets variables for stores that this program opens itself.
func setEnv(variables []string) error {
	for _, v := range variables {
		name, value, _ := strings.Cut(v, "=")
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	return nil
}
