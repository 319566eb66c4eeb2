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

// A nodeLibrary is a library in JavaScript, from npm.
type nodeLibrary struct {
	cache         cache
	name, version string
}

// isomorphicGit is an implementation of git in JavaScript.
func isomorphicGit(c cache) nodeLibrary { return nodeLibrary{c, "isomorphic-git", "1.44.11"} }

// octokit is GitHub's own API client.
func octokit(c cache) nodeLibrary { return nodeLibrary{c, "octokit", "5.0.5"} }

func (l nodeLibrary) Name() string { return l.name }

func (l nodeLibrary) key() string { return l.name + "-" + l.version }

// folder returns where the library is, or would be.
func (l nodeLibrary) folder() string {
	return filepath.Join(l.cache.path(l.key()), "node_modules", l.name)
}

// Find looks for the library, and for the program that runs it.
func (l nodeLibrary) Find(context.Context) (string, error) {
	if _, err := exec.LookPath("node"); err != nil {
		return "", errors.New("node is not installed; apt-get install nodejs npm")
	}
	if _, err := os.Stat(l.folder()); err != nil {
		return "", errors.New("not set up yet; make test-real")
	}
	return l.version, nil
}

// SetUp installs the library with npm, without running its scripts.
func (l nodeLibrary) SetUp(ctx context.Context) error {
	if _, err := exec.LookPath("npm"); err != nil {
		return errors.New("npm is not installed; apt-get install nodejs npm")
	}
	return l.cache.build(l.key(), func(dir string) error {
		_, err := output(command(ctx, "npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", dir, l.name+"@"+l.version))
		if err != nil {
			return fmt.Errorf("install %s: %w", l.name, err)
		}
		return nil
	})
}

// findOctokit tells the suites that run gh where octokit is.
func (r *runner) findOctokit(l nodeLibrary) {
	if !r.absent[l.Name()] {
		r.gh = append(r.gh, "GATEPASS_TEST_OCTOKIT="+l.folder())
	}
}

// findClients tells the suites of git clients where the clients are.
func (r *runner) findClients(l nodeLibrary) {
	r.clients = []string{"GATEPASS_TEST_CLIENTS=1"}
	if !r.absent[l.Name()] {
		r.clients = append(r.clients, "GATEPASS_TEST_ISOMORPHIC_GIT="+l.folder())
	}
}
