//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// isomorphicVersion is the release of isomorphic-git that tests use.
const isomorphicVersion = "1.44.11"

// isomorphicGit is git in JavaScript, from npm.
type isomorphicGit struct{ cache cache }

func (g isomorphicGit) Name() string { return "isomorphic-git" }

func (g isomorphicGit) key() string { return "isomorphic-git-" + isomorphicVersion }

// folder has the library, or would have it.
func (g isomorphicGit) folder() string {
	return filepath.Join(g.cache.path(g.key()), "node_modules", "isomorphic-git")
}

// Find looks for the library, and for the program that runs it.
func (g isomorphicGit) Find(context.Context) (string, error) {
	if _, err := exec.LookPath("node"); err != nil {
		return "", errors.New("node is not installed; apt-get install nodejs npm")
	}
	if _, err := os.Stat(g.folder()); err != nil {
		return "", errors.New("not set up yet; make test-real")
	}
	return isomorphicVersion, nil
}

// SetUp installs it with npm, without running anything that comes along.
func (g isomorphicGit) SetUp(ctx context.Context) error {
	if _, err := exec.LookPath("npm"); err != nil {
		return errors.New("npm is not installed; apt-get install nodejs npm")
	}
	return g.cache.build(g.key(), func(dir string) error {
		_, err := output(command(ctx, "npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", dir, "isomorphic-git@"+isomorphicVersion))
		if err != nil {
			return fmt.Errorf("install isomorphic-git: %w", err)
		}
		return nil
	})
}

// findClients has the suites of git clients find them.
func (r *runner) findClients(g isomorphicGit) {
	r.clients = []string{"GATEPASS_TEST_CLIENTS=1"}
	if !r.absent[g.Name()] {
		r.clients = append(r.clients, "GATEPASS_TEST_ISOMORPHIC_GIT="+g.folder())
	}
}
