//go:build linux

package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// A nestedModule is a folder below internal/components with a go.mod of its own,
// so that what its programs need never reaches the product's.
type nestedModule string

// dir is where it is.
func (n nestedModule) dir(ctx context.Context) (string, error) {
	module, err := moduleRoot(ctx)
	return filepath.Join(module, "internal", "components", string(n)), err
}

// key names the cache entry of what is built of it. It changes with the module's
// files and the compiler.
func (n nestedModule) key(dir string) (string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		return "", err
	}
	slices.Sort(files)
	sum := sha256.New()
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(sum, "%s %d\n%s", filepath.Base(file), len(text), text)
	}
	return fmt.Sprintf("%s-%s-%s-%x", n, runtime.Version(), runtime.GOARCH, sum.Sum(nil)[:4]), nil
}

// entry is the folder in the cache of what is built of it, or would be.
func (n nestedModule) entry(ctx context.Context, c cache) (string, error) {
	dir, err := n.dir(ctx)
	if err != nil {
		return "", err
	}
	key, err := n.key(dir)
	return c.path(key), err
}

// version returns the version of another module that it asks for.
func (n nestedModule) version(ctx context.Context, module string) (string, error) {
	dir, err := n.dir(ctx)
	if err != nil {
		return "", err
	}
	gomod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	return requiredVersion(string(gomod), module), err
}

// build makes the cache entry with its programs, by name, as static as our own.
// It takes one core and leaves the others to whatever else runs.
func (n nestedModule) build(ctx context.Context, c cache, ldflags string, programs map[string]string) error {
	dir, err := n.dir(ctx)
	if err != nil {
		return err
	}
	key, err := n.key(dir)
	if err != nil {
		return err
	}
	return c.build(key, func(entry string) error {
		for name, pkg := range programs {
			cmd := command(ctx, "nice", "go", "build", "-p=1", "-trimpath", "-buildvcs=false",
				"-ldflags", ldflags, "-o", filepath.Join(entry, name), pkg)
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOTMPDIR="+entry)
			if _, err := output(cmd); err != nil {
				return err
			}
		}
		return nil
	})
}

// requiredVersion returns the version of module that the text of a go.mod asks
// for, without its "v".
func requiredVersion(gomod, module string) string {
	for line := range strings.Lines(gomod) {
		fields := strings.Fields(strings.TrimPrefix(line, "require "))
		if len(fields) >= 2 && fields[0] == module {
			return strings.TrimPrefix(fields[1], "v")
		}
	}
	return ""
}
