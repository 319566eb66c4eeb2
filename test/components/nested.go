//go:build linux

package main

import (
	"context"
	"path/filepath"

	"github.com/gatepass/gatepass/internal/nested"
)

// nestedModule is the one in a folder below internal/components.
func nestedModule(ctx context.Context, name string) (nested.Module, error) {
	root, err := moduleRoot(ctx)
	return nested.Module{Dir: filepath.Join(root, "internal", "components", name), Command: command}, err
}
