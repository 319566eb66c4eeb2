//go:build linux

package main

import (
	"context"
	"path/filepath"

	"github.com/gatepass/gatepass/test/extbuild"
)

// nestedModule is the one in a folder below test/components.
func nestedModule(ctx context.Context, name string) (extbuild.Module, error) {
	root, err := moduleRoot(ctx)
	return extbuild.Module{Dir: filepath.Join(root, "test", "components", name), Command: command}, err
}
