//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/gatepass/gatepass/internal/usererr"
)

// A machine is where components live and what a person sees of the work.
type machine struct {
	cache          cache
	ci             bool // a missing component counts as a failure
	stdin          io.Reader
	stdout, stderr io.Writer
}

// Names of components that the table of suites refers to.
const (
	systemGitComponent = "git (system)"
	newestGitComponent = "git (newest)"
	awsComponent       = "git (middle) + AWS emulator"
	chromiumComponent  = "Chromium"
)

// shells read what gatepass writes for them: hooks, install.sh, completions.
var shells = []string{"busybox", "zsh", "fish", "bash-completion"}

const bashCompletionVersion = `. /usr/share/bash-completion/bash_completion && IFS=. && echo "${BASH_COMPLETION_VERSINFO[*]}"`

// newest returns a chroot with a git that has the newest protocol: authtype and state
// since 2.46, hooks in the configuration since 2.54.
func (m machine) newest() chroot {
	return chroot{
		name: newestGitComponent, suite: "sid", cache: m.cache,
		packages: []string{"git", "git-lfs", "cargo", "hyperfine", "gh"}, helpers: shells,
	}
}

// middle returns a chroot with Debian stable's git, and with moto, the AWS emulator.
func (m machine) middle() chroot {
	return chroot{
		name: awsComponent, suite: "trixie", cache: m.cache,
		packages: []string{"git", "git-lfs", "cargo", "python3-moto", "gh"},
		helpers:  slices.Concat(shells, []string{"python3-flask", "python3-flask-cors"}),
	}
}

func (m machine) components() []Component {
	all := []Component{
		debianPackage{systemGitComponent, "git", []string{"git", "version"}},
		debianPackage{"git-lfs", "git-lfs", []string{"git-lfs", "version"}},
		debianPackage{"shellcheck", "shellcheck", []string{"shellcheck", "--version"}},
		debianPackage{"busybox", "busybox", []string{"busybox"}},
		debianPackage{"zsh", "zsh", []string{"zsh", "--version"}},
		debianPackage{"fish", "fish", []string{"fish", "--version"}},
		debianPackage{"bash-completion", "bash-completion", []string{"bash", "-c", bashCompletionVersion}},
		// By its path, because another cargo, first in PATH, is not linked with
		// Debian's libgit2.
		debianPackage{"cargo", "cargo", []string{"/usr/bin/cargo", "--version"}},
		debianPackage{"hyperfine", "hyperfine", []string{"hyperfine", "--version"}},
		installedPackage("JGit", "jgit-cli"),
		installedPackage("libgit2", "python3-pygit2"),
		installedPackage("dulwich", "python3-dulwich"),
		isomorphicGit(m.cache),
		debianPackage{"nftables", "nftables", []string{"nft", "--version"}},
		debianPackage{"iproute2", "iproute2", []string{"ip", "-V"}},
		debianPackage{"mmdebstrap", "mmdebstrap", []string{"mmdebstrap", "--version"}},
		secretService{},
		debianPackage{chromiumComponent, chromium, []string{chromium, "--version"}},
		m.newest(),
		m.middle(),
		vaultBuild{m.cache},
		kubernetesBuild{m.cache},
		debianPackage{"gh", "gh", []string{"gh", "--version"}},
		ghBuild{m.cache},
		debianPackage{"PyGithub", "python3-github", []string{"/usr/bin/python3", "-c", "import importlib.metadata; print(importlib.metadata.version('PyGithub'))"}},
		octokit(m.cache),
		postgres(),
	}
	for _, tool := range chartTools(m.cache) {
		all = append(all, tool)
	}
	return all
}

func (m machine) list(ctx context.Context) (int, error) {
	table := look(ctx, m.components())
	printTable(m.stdout, table)
	return m.verdict(table), nil
}

func (m machine) setup(ctx context.Context) (int, error) {
	table, err := m.setUpAll(ctx)
	if err != nil {
		return 1, err
	}
	return m.verdict(table), nil
}

// setUpAll sets up what is missing and prints the table.
func (m machine) setUpAll(ctx context.Context) ([]status, error) {
	table, err := ensure(ctx, m.components(), m.cache, m.stderr)
	if err == nil {
		printTable(m.stdout, table)
	}
	return table, err
}

// verdict returns the exit code for the missing components.
func (m machine) verdict(table []status) int {
	if m.ci && missing(table) > 0 {
		return 1
	}
	return 0
}

// test runs the suites of the packages named, or all.
func (m machine) test(ctx context.Context, packages []string) (int, error) {
	some, err := chosen(packages)
	if err != nil {
		return 2, err
	}
	table, err := m.setUpAll(ctx)
	if err != nil {
		return 1, err
	}
	start := time.Now()
	failed, err := m.runTests(ctx, table, some)
	if err != nil {
		return 1, err
	}
	fmt.Fprintf(m.stderr, "tests took %.1f s\n", time.Since(start).Seconds())
	if failed > 0 {
		return 1, nil
	}
	return m.verdict(table), nil
}

// runTests runs the suites with the components that the table lists as found, and
// returns how many failed.
func (m machine) runTests(ctx context.Context, table []status, some []suite) (failed int, err error) {
	module, err := moduleRoot(ctx)
	if err != nil {
		return 0, err
	}
	s, err := newStage(module)
	if err != nil {
		return 0, err
	}
	defer s.remove()
	if err := s.buildBinaries(ctx); err != nil {
		return 0, err
	}
	r := &runner{stage: s, places: m.places(), absent: absent(table), out: m.stdout}
	if !r.absent[awsComponent] {
		stop, err := r.startAWS(ctx, m.middle())
		if err != nil {
			return 0, err
		}
		defer stop()
	}
	if !r.absent[vaultComponent] {
		stop, err := r.startVault(ctx, vaultBuild{m.cache})
		if err != nil {
			return 0, err
		}
		defer stop()
	}
	// Start it only if it is needed: it takes a core for five seconds and 400 MB.
	needed := slices.ContainsFunc(some, func(su suite) bool { return su.kubernetes })
	if needed && !r.absent[kubernetesComponent] {
		stop, err := r.startKubernetes(ctx, kubernetesBuild{m.cache})
		if err != nil {
			return 0, err
		}
		defer stop()
	}
	r.findClients(isomorphicGit(m.cache))
	if err := r.findCharts(ctx, m.cache); err != nil {
		return 0, err
	}
	if err := r.findGh(ctx, ghBuild{m.cache}); err != nil {
		return 0, err
	}
	r.findOctokit(octokit(m.cache))
	r.findPostgres(postgres())
	if err := r.run(ctx, some); err != nil {
		return 0, err
	}
	r.summary()
	return r.failed, nil
}

// places returns where tests run, oldest git first.
func (m machine) places() []place {
	middle, newest := m.middle(), m.newest()
	return []place{
		{name: systemGitComponent},
		{name: middle.name, chroot: &middle},
		{name: newest.name, chroot: &newest},
	}
}

func absent(table []status) map[string]bool {
	names := map[string]bool{}
	for _, s := range table {
		if s.missing != nil {
			names[s.name] = true
		}
	}
	return names
}

// shell runs a command in a temporary view of a chroot. The command sees the current
// folder's bin at /gatepass, and uses this machine's network.
func (m machine) shell(ctx context.Context, name string, args []string) (int, error) {
	c, ok := map[string]chroot{"git-newest": m.newest(), "git-middle": m.middle()}[name]
	if !ok {
		return 2, usererr.New("shell", "no component is called "+name, "use git-newest or git-middle")
	}
	if _, err := c.Find(ctx); err != nil {
		return 1, usererr.Wrap("shell "+name, err, "")
	}
	scratch, err := os.MkdirTemp("", "gatepass-")
	if err != nil {
		return 1, err
	}
	defer os.Remove(scratch)
	e := entry{scratch: scratch}
	if bin, err := filepath.Abs("bin"); err == nil && isDir(bin) {
		e.binaries = bin
	}
	cmd := c.command(ctx, e, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = m.stdin, m.stdout, m.stderr
	// In the terminal's own process group, so that it can read from it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return cmd.Process.Kill() }
	return exitCode(cmd.Run())
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// exitCode returns the exit code of a command that ran, or the error of a command that
// did not run.
func exitCode(err error) (int, error) {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.Exited() {
		return exit.ExitCode(), nil
	}
	if err != nil {
		return 1, err
	}
	return 0, nil
}
