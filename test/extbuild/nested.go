// Package extbuild builds programs of other projects from their own modules, for tests
// and measurements. So their dependencies never reach the product's go.mod. The built
// programs stay in a cache folder of the user.
package extbuild

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"go/scanner"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// A Module is a folder with its own go.mod.
type Module struct {
	Dir string
	// Command returns the command that builds; nil means [exec.CommandContext].
	Command func(ctx context.Context, name string, args ...string) *exec.Cmd
}

// CacheDir returns the folder of the built programs,
// ${XDG_CACHE_HOME:-~/.cache}/gatepass-test.
func CacheDir() (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache folder: %w", err)
	}
	return filepath.Join(base, "gatepass-test"), nil
}

// Entry returns the folder below cacheDir that holds the built programs, or would. Its
// name changes with the compiler and the module's files, but not with the comments of its Go
// code. An existing folder is complete.
func (m Module) Entry(cacheDir string) (string, error) {
	files, err := filepath.Glob(filepath.Join(m.Dir, "*"))
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
		if filepath.Ext(file) == ".go" {
			text = withoutComments(text)
		}
		fmt.Fprintf(sum, "%s %d\n%s", filepath.Base(file), len(text), text)
	}
	return filepath.Join(cacheDir, fmt.Sprintf("%s-%s-%s-%x", filepath.Base(m.Dir), runtime.Version(), runtime.GOARCH, sum.Sum(nil)[:4])), nil
}

// withoutComments returns the tokens of Go code, one a line. Comments that the compiler or
// the go command reads stay: "//go:build", "//go:embed".
func withoutComments(code []byte) []byte {
	var tokens bytes.Buffer
	files := token.NewFileSet()
	var s scanner.Scanner
	s.Init(files.AddFile("", files.Base(), len(code)), code, nil, scanner.ScanComments) // text that is not Go does not build
	for {
		_, kind, text := s.Scan()
		switch {
		case kind == token.EOF:
			return tokens.Bytes()
		case kind == token.COMMENT && !strings.HasPrefix(text, "//go:"):
		case kind == token.SEMICOLON: // also at the end of a line
			tokens.WriteString(";\n")
		default:
			fmt.Fprintf(&tokens, "%s %s\n", kind, text)
		}
	}
}

// Version returns the version of another module that m requires, without its "v"; "" if
// m does not require it.
func (m Module) Version(module string) (string, error) {
	gomod, err := os.ReadFile(filepath.Join(m.Dir, "go.mod"))
	return requiredVersion(string(gomod), module), err
}

// Build builds the programs, by name, into the entry, as static as our own, unless the
// entry exists. It uses one core and leaves the others free.
func (m Module) Build(ctx context.Context, cacheDir, ldflags string, programs map[string]string) error {
	entry, err := m.Entry(cacheDir)
	if err != nil {
		return err
	}
	if info, err := os.Stat(entry); err == nil && info.IsDir() {
		return nil
	}
	if err := os.MkdirAll(cacheDir, 0o755); err != nil {
		return err
	}
	removeStale(entry)
	partial, err := os.MkdirTemp(cacheDir, filepath.Base(entry)+".partial-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(partial)
	for name, pkg := range programs {
		if err := m.build(ctx, partial, ldflags, name, pkg); err != nil {
			return err
		}
	}
	if err := os.Chmod(partial, 0o755); err != nil {
		return err
	}
	return os.Rename(partial, entry)
}

// stale is the age from which the leftovers of an interrupted build are removed.
const stale = time.Hour

func removeStale(entry string) {
	left, _ := filepath.Glob(entry + ".partial-*") // the pattern is well-formed
	for _, dir := range left {
		if info, err := os.Stat(dir); err == nil && time.Since(info.ModTime()) > stale {
			_ = os.RemoveAll(dir) // leftovers do no harm
		}
	}
}

func (m Module) build(ctx context.Context, into, ldflags, name, pkg string) error {
	command := m.Command
	if command == nil {
		command = exec.CommandContext
	}
	cmd := command(ctx, "nice", "go", "build", "-p=1", "-trimpath", "-buildvcs=false", "-ldflags", ldflags, "-o", filepath.Join(into, name), pkg)
	cmd.Dir = m.Dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOTMPDIR="+into)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		lines := strings.Split(strings.TrimSpace(said.String()), "\n")
		return fmt.Errorf("build %s: %w: %.500s", name, err, strings.Join(lines[max(len(lines)-3, 0):], " / "))
	}
	return nil
}

// requiredVersion returns the version of module that the text of a go.mod requires,
// without its "v".
func requiredVersion(gomod, module string) string {
	for line := range strings.Lines(gomod) {
		fields := strings.Fields(strings.TrimPrefix(line, "require "))
		if len(fields) >= 2 && fields[0] == module {
			return strings.TrimPrefix(fields[1], "v")
		}
	}
	return ""
}
