package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

const (
	octoProgram = "octo-sts"
	octoModule  = "internal/bench/octosts" // from the root of the module
	octoPackage = "github.com/octo-sts/app"
	octoBuild   = 10 * time.Minute // at most; one core takes a minute and a half, and the downloads
)

// octoVersion is the one that the nested module in dir asks for.
func octoVersion(dir string) (string, error) {
	text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == octoPackage {
			return strings.TrimPrefix(fields[1], "v"), nil
		}
	}
	return "", firstOf(err, errors.New("no version in "+dir))
}

// octoSTS is the path of the program in the user's cache, where components of
// the tests are as well. It is built once, out of the Go modules of a nested
// module, unless there is a hurry.
func (b *bench) octoSTS() (string, error) {
	caches, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	for _, name := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(filepath.Join(octoModule, name))
		if err != nil {
			return "", err
		}
		sum.Write(text)
	}
	caches = filepath.Join(caches, "gatepass-test")
	dir := filepath.Join(caches, fmt.Sprintf("%s-%s-%s-%x", octoProgram, runtime.Version(), runtime.GOARCH, sum.Sum(nil)[:4]))
	program := filepath.Join(dir, octoProgram)
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	if b.quick {
		return "", errors.New("not built yet, which takes a run without -quick")
	}
	return program, b.buildOctoSTS(caches, dir)
}

// buildOctoSTS leaves the other cores to whatever else runs. What is under its
// own name is whole.
func (b *bench) buildOctoSTS(caches, dir string) error {
	if err := os.MkdirAll(caches, 0o755); err != nil {
		return err
	}
	partial, err := os.MkdirTemp(caches, filepath.Base(dir)+".partial-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(partial)
	fmt.Fprintf(b.log, "exchange: building %s, once, in about two minutes\n", octoProgram)
	ctx, cancel := context.WithTimeout(b.ctx, octoBuild)
	defer cancel()
	cmd := exec.CommandContext(ctx, "nice", "go", "build", "-p=1", "-trimpath", "-buildvcs=false",
		"-ldflags", "-s -w", "-o", filepath.Join(partial, octoProgram), octoPackage+"/cmd/app")
	cmd.Dir, cmd.WaitDelay = octoModule, 5*time.Second
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if said, err := cmd.CombinedOutput(); err != nil {
		lines := strings.Split(strings.TrimSpace(string(said)), "\n")
		return fmt.Errorf("build it: %w: %.300s", err, lines[len(lines)-1])
	}
	return os.Rename(partial, dir)
}
