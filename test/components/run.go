//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// testTimeout bounds the tests of one package under one git. The test binary gets a
// shorter timeout, so that it reports where it hangs.
const (
	testTimeout = 15 * time.Minute
	killAfter   = testTimeout + 10*time.Second
)

// chromium is the browser's package and program.
const chromium = "chromium"

// A runner runs suites in their places and counts the results: one for each package and
// git.
type runner struct {
	stage  stage
	places []place
	absent map[string]bool // names of the components that are missing
	aws    *awsEmulator    // nil when missing
	vault  *vaultServer    // nil when missing
	out    io.Writer

	// Environment variables for the suites that need the component; nil if it is
	// missing.
	kubernetes, charts, gh, clients, postgres []string

	mu                      sync.Mutex // guards out and the rest
	passed, failed, skipped int
	missing                 []string // what tests reported as missing when they skipped
}

// startAWS starts the emulator for the suites that need it.
func (r *runner) startAWS(ctx context.Context, c chroot) (stop func(), err error) {
	scratch, err := r.stage.scratch()
	if err != nil {
		return nil, err
	}
	start := time.Now()
	a, err := startAWS(ctx, c, scratch)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(r.out, "AWS emulator answers after %.1f s\n", time.Since(start).Seconds())
	r.aws = &a
	return a.stop, nil
}

// startVault starts the server for the suites that need it.
func (r *runner) startVault(ctx context.Context, build vaultBuild) (stop func(), err error) {
	program, err := build.program(ctx)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	v, err := startVault(ctx, program)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(r.out, "Vault answers after %.1f s\n", time.Since(start).Seconds())
	r.vault = &v
	return v.stop, nil
}

// run runs every suite: first those that disturb others, then those that need a server
// in parallel with those that need none, because both wait most of the time. The error
// is one that prevented the tests from running; failed tests are counted.
func (r *runner) run(ctx context.Context, suites []suite) error {
	var alone, withServers, others []suite
	for _, su := range suites {
		switch {
		case su.alone:
			alone = append(alone, su)
		case su.needsServer():
			withServers = append(withServers, su)
		default:
			others = append(others, su)
		}
	}
	if err := r.runEach(ctx, alone); err != nil {
		return err
	}
	beside, ctx := errgroup.WithContext(ctx)
	beside.Go(func() error { return r.runEach(ctx, withServers) })
	beside.Go(func() error { return r.runEach(ctx, others) })
	return beside.Wait()
}

// runEach runs suites one after the other.
func (r *runner) runEach(ctx context.Context, suites []suite) error {
	for _, su := range suites {
		packages, err := r.stage.packages(ctx, su)
		if err != nil {
			r.fail(su.pattern, "list", err)
			continue
		}
		for _, p := range packages {
			if err := r.runPackage(ctx, p); err != nil {
				return err
			}
		}
	}
	return nil
}

// runPackage runs one package's tests in every place of its suite. The error is ctx's:
// the tests that ran have not failed.
func (r *runner) runPackage(ctx context.Context, p testPackage) error {
	if err := r.stage.add(ctx, p); err != nil {
		r.fail(p.dir, "build", err)
		return context.Cause(ctx)
	}
	for _, where := range r.places {
		if !p.suite.gits.include(where) {
			continue
		}
		r.runIn(ctx, p, where)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}

// runIn runs one package's tests in one place, if the components that they need are
// found.
func (r *runner) runIn(ctx context.Context, p testPackage, where place) {
	if component := r.lacks(p.suite, where); component != "" {
		r.skip(p.dir, component)
		return
	}
	git, err := where.gitVersion(ctx, r.stage)
	if err != nil {
		r.fail(p.dir, where.name, err)
		return
	}
	start := time.Now()
	text, err := r.output(ctx, p, where)
	if ctx.Err() != nil {
		return
	}
	result := parseResult(text)
	took := time.Since(start)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.failed++
		fmt.Fprintf(r.out, "%s\nFAIL  git %-7s  %s: %v\n", text, git, p.dir, err)
		return
	}
	r.passed++
	fmt.Fprintf(r.out, "ok    git %-7s  %s  %d passed, %d skipped  %.1f s\n",
		git, p.dir, result.passed, result.skipped, took.Seconds())
	for _, line := range result.missing {
		r.missing = append(r.missing, fmt.Sprintf("git %s  %s  %s", git, p.dir, line))
	}
}

// lacks returns a component that a suite needs and that is missing, or "".
func (r *runner) lacks(su suite, where place) string {
	switch {
	case r.absent[where.name]:
		return where.name
	case su.aws && r.aws == nil:
		return awsComponent
	case su.vault && r.vault == nil:
		return vaultComponent
	case su.keyring && r.absent[secretServiceComponent]:
		return secretServiceComponent
	case su.postgres && r.absent[postgresComponent]:
		return postgresComponent
	case su.browser && r.absent[chromiumComponent]:
		return chromiumComponent
	}
	return ""
}

// output runs a package's test binary and returns all its output.
func (r *runner) output(ctx context.Context, p testPackage, where place) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, killAfter)
	defer cancel()
	var env []string
	if p.suite.aws {
		env = r.aws.env()
	}
	if r.vault != nil { // single tests of other suites use it too
		env = append(env, r.vault.env()...)
	}
	if p.suite.kubernetes && where.chroot == nil {
		env = append(env, r.kubernetes...)
	}
	if p.suite.gh && where.chroot == nil {
		env = append(env, r.gh...)
	}
	if p.suite.large {
		env = append(env, "GATEPASS_TEST_LARGE=1")
	}
	if p.suite.clients && where.chroot == nil {
		env = append(env, r.clients...)
	}
	if p.suite.postgres {
		env = append(env, r.postgres...)
	}
	if p.suite.egress {
		env = append(env, "GATEPASS_TEST_EGRESS=1")
	}
	if p.suite.web {
		env = append(env, "GATEPASS_TEST_WEB=1")
	}
	if p.suite.charts {
		env = append(env, r.charts...)
	}
	if p.suite.browser {
		path, err := exec.LookPath(chromium)
		if err != nil {
			return "", err
		}
		env = append(env, "GATEPASS_TEST_CHROMIUM="+path)
	}
	binary := "./" + testBinary
	if p.suite.inPlace && where.chroot == nil {
		binary = filepath.Join(r.stage.tests(), p.dir, testBinary)
	}
	args := []string{binary, "-test.v", "-test.timeout=" + testTimeout.String()}
	if p.suite.keyring {
		home, err := r.stage.scratch()
		if err != nil {
			return "", err
		}
		args = withKeyring(home, args)
	}
	cmd, err := where.command(ctx, r.stage, p.dir, env, args...)
	if err != nil {
		return "", err
	}
	if p.suite.inPlace && where.chroot == nil {
		cmd.Dir = filepath.Join(r.stage.module, p.dir)
	}
	var text bytes.Buffer
	cmd.Stdout, cmd.Stderr = &text, &text
	if err := cmd.Start(); err != nil {
		return "", err
	}
	defer endGroup(cmd)
	err = cmd.Wait()
	return text.String(), err
}

func (r *runner) skip(dir, component string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.skipped++
	fmt.Fprintf(r.out, "skip  %s: %s is missing\n", filepath.ToSlash(dir), component)
}

func (r *runner) fail(what, doing string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed++
	fmt.Fprintf(r.out, "FAIL  %s: %s: %v\n", what, doing, err)
}

// summary writes what skipped tests reported as missing, and the counts.
func (r *runner) summary() {
	if len(r.missing) > 0 {
		fmt.Fprintf(r.out, "%d tests skipped for want of something:\n", len(r.missing))
		for _, line := range r.missing {
			fmt.Fprintf(r.out, "  %s\n", line)
		}
	}
	fmt.Fprintf(r.out, "%d passed, %d failed, %d skipped\n", r.passed, r.failed, r.skipped)
}

// A result is a summary of the verbose output of a test binary.
type result struct {
	passed, skipped int      // tests, subtests included
	missing         []string // "TestName: missing: ..." for tests that skipped because something is missing
}

var (
	running  = regexp.MustCompile(`^=== (?:RUN|CONT|NAME)\s+(\S+)`)
	verdict  = regexp.MustCompile(`^\s*--- (PASS|SKIP): `)
	skipText = regexp.MustCompile(`^\s+[\w.-]+\.go:\d+: (missing: .*)`)
)

// parseResult reads the output of a test binary run with -test.v. The text of
// a skip comes after the line that names the running test.
func parseResult(text string) result {
	var r result
	var name string
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if m := running.FindStringSubmatch(line); m != nil {
			name = m[1]
		}
		if m := skipText.FindStringSubmatch(line); m != nil {
			r.missing = append(r.missing, name+": "+m[1])
		}
		if m := verdict.FindStringSubmatch(line); m != nil && m[1] == "PASS" {
			r.passed++
		} else if m != nil {
			r.skipped++
		}
	}
	return r
}
