//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"
)

// buildTimeout bounds one call of the go command.
const buildTimeout = 10 * time.Minute

// A stage is a temporary folder with the files of a test run:
//
//	bin/            our binaries, static
//	tests/DIR/      for each package its test binary and its testdata
//	tests/testdata/ the module's testdata, for suites that say so
//	home/           an empty home
//	tmp/            for temporary files of builds, and of tests on this machine
//	scratch-*/      to mount on
type stage struct {
	dir    string
	module string      // the module's root
	adding *sync.Mutex // held while a file is added: suites run in parallel
}

func newStage(module string) (stage, error) {
	dir, err := os.MkdirTemp("", "gatepass-")
	if err != nil {
		return stage{}, err
	}
	// Commands inside a chroot enter the folders too.
	if err := os.Chmod(dir, 0o755); err != nil {
		return stage{}, err
	}
	s := stage{dir: dir, module: module, adding: new(sync.Mutex)}
	for _, d := range []string{s.bin(), s.tests(), s.home(), s.tmp()} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return stage{}, err
		}
	}
	return s, nil
}

func (s stage) bin() string   { return filepath.Join(s.dir, "bin") }
func (s stage) tests() string { return filepath.Join(s.dir, "tests") }
func (s stage) home() string  { return filepath.Join(s.dir, "home") }
func (s stage) tmp() string   { return filepath.Join(s.dir, "tmp") }

// scratch returns a new empty folder to mount on.
func (s stage) scratch() (string, error) { return os.MkdirTemp(s.dir, "scratch-") }

// remove removes the stage. Nothing is mounted in it any more: each mount ended with
// the command that used it.
func (s stage) remove() error { return os.RemoveAll(s.dir) }

// buildBinaries builds the module's commands, as they ship.
func (s stage) buildBinaries(ctx context.Context) error {
	if _, err := os.Stat(filepath.Join(s.module, "cmd")); err != nil {
		return fmt.Errorf("build the binaries: %w", err)
	}
	if err := s.build(ctx, "-s -w", "./cmd/..."); err != nil || runtime.GOARCH != "amd64" {
		return err
	}
	return s.build(ctx, "-s -w -E main.entry", "./cmd/gatepass-pre-push")
}

func (s stage) build(ctx context.Context, flags, packages string) error {
	_, err := s.goCommand(ctx, "build", "-trimpath", "-tags", "lambda.norpc", "-ldflags", flags, "-o", s.bin()+"/", packages)
	return err
}

// A testPackage is one package whose tests are run.
type testPackage struct {
	suite suite
	dir   string // relative to the module, as in "cmd/gatepass"
}

// packages returns the packages of a suite that have tests.
func (s stage) packages(ctx context.Context, su suite) ([]testPackage, error) {
	const format = `{{if or .TestGoFiles .XTestGoFiles}}{{.Dir}}{{end}}`
	text, err := s.goCommand(ctx, "list", "-f", format, su.pattern)
	if err != nil {
		return nil, err
	}
	var packages []testPackage
	for dir := range strings.FieldsSeq(text) {
		rel, err := filepath.Rel(s.module, dir)
		if err != nil {
			return nil, err
		}
		packages = append(packages, testPackage{suite: su, dir: rel})
	}
	if packages == nil {
		return nil, fmt.Errorf("%s has no tests", su.pattern)
	}
	return packages, nil
}

// add compiles a package's tests and copies its testdata, unless another suite has
// already done so.
func (s stage) add(ctx context.Context, p testPackage) error {
	if err := s.compile(ctx, p.dir); err != nil {
		return err
	}
	if p.suite.scripts {
		if err := s.copyTestdata(filepath.Dir(p.dir)); err != nil {
			return err
		}
	}
	return s.copyTestdata(p.dir)
}

// compile compiles the tests of dir, if they were not compiled yet.
func (s stage) compile(ctx context.Context, dir string) error {
	s.adding.Lock()
	defer s.adding.Unlock()
	program := filepath.Join(s.tests(), dir, testBinary)
	if _, err := os.Stat(program); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(program), 0o755); err != nil {
		return err
	}
	_, err := s.goCommand(ctx, "test", "-c", "-o", program, "./"+dir)
	return err
}

// copyTestdata copies the testdata folder of dir, if it exists and was not copied yet.
func (s stage) copyTestdata(dir string) error {
	s.adding.Lock()
	defer s.adding.Unlock()
	from, to := filepath.Join(s.module, dir, "testdata"), filepath.Join(s.tests(), dir, "testdata")
	if _, err := os.Stat(from); err != nil {
		return nil // no testdata
	}
	if _, err := os.Stat(to); err == nil {
		return nil
	}
	return os.CopyFS(to, os.DirFS(from))
}

// testBinary is the name of every package's test binary in the stage.
const testBinary = "package.test"

// goCommand runs the go command without cgo, so that its output is static and runs
// under any Debian. Its temporary files are in the stage, and so are removed even if it
// is killed.
func (s stage) goCommand(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, buildTimeout)
	defer cancel()
	cmd := command(ctx, "go", args...)
	cmd.Dir = s.module
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOTMPDIR="+s.tmp())
	return output(cmd)
}

// moduleRoot returns the root of the module this is run in.
func moduleRoot(ctx context.Context) (string, error) {
	gomod, err := output(command(ctx, "go", "env", "GOMOD"))
	if err != nil {
		return "", err
	}
	if gomod == "" || gomod == os.DevNull {
		return "", errors.New("the current folder is not inside the module")
	}
	return filepath.Dir(gomod), nil
}
