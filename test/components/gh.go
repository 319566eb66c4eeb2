//go:build linux

package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/gatepass/gatepass/test/extbuild"
)

const (
	ghComponent = "gh (newest)"
	ghModule    = "github.com/cli/cli/v2"
)

// A ghBuild is the newest gh, which the nested module test/components/ghtool requires,
// built once. Debian's gh is years older and hides what breaks with the new one.
type ghBuild struct{ cache cache }

func (g ghBuild) Name() string { return ghComponent }

// Find returns the version that the nested module requires.
func (g ghBuild) Find(ctx context.Context) (string, error) {
	program, err := g.program(ctx)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(program); err != nil {
		return "", errors.New("not set up yet; make test-real")
	}
	m, err := nestedModule(ctx, "ghtool")
	if err != nil {
		return "", err
	}
	return m.Version(ghModule)
}

// SetUp builds gh. It takes four minutes of one core.
func (g ghBuild) SetUp(ctx context.Context) error {
	m, err := nestedModule(ctx, "ghtool")
	if err != nil {
		return err
	}
	version, err := m.Version(ghModule)
	if err != nil {
		return err
	}
	return m.Build(ctx, g.cache.dir, "-s -w -X "+ghModule+"/internal/build.Version="+version, map[string]string{"gh": ghModule + "/cmd/gh"})
}

// program returns where gh is, or would be.
func (g ghBuild) program(ctx context.Context) (string, error) {
	m, err := nestedModule(ctx, "ghtool")
	if err != nil {
		return "", err
	}
	entry, err := m.Entry(g.cache.dir)
	return filepath.Join(entry, "gh"), err
}

// findGh tells the suites that need it where the newest gh is, if it exists.
func (r *runner) findGh(ctx context.Context, g ghBuild) error {
	if r.absent[ghComponent] {
		return nil
	}
	program, err := g.program(ctx)
	r.gh = []string{"GATEPASS_TEST_GH=" + program}
	return err
}

// nestedModule returns the module in a folder below test/components.
func nestedModule(ctx context.Context, name string) (extbuild.Module, error) {
	root, err := moduleRoot(ctx)
	return extbuild.Module{Dir: filepath.Join(root, "test", "components", name), Command: command}, err
}
