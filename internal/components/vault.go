//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

const vaultComponent = "Vault"

// A vaultBuild is a real Vault server, built once from the Go modules of the
// nested module internal/components/vault.
type vaultBuild struct {
	cache cache
}

func (v vaultBuild) Name() string { return vaultComponent }

// Find returns the version that the nested module asks for.
func (v vaultBuild) Find(ctx context.Context) (string, error) {
	dir, err := vaultModule(ctx)
	if err != nil {
		return "", err
	}
	program, err := v.program(dir)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(program); err != nil {
		return "", errors.New("not set up yet; make test-real")
	}
	gomod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	return requiredVersion(string(gomod), "github.com/hashicorp/vault"), err
}

// SetUp builds the server, as static as our own programs. It takes four minutes
// of one core; it leaves the others to whatever else runs.
func (v vaultBuild) SetUp(ctx context.Context) error {
	dir, err := vaultModule(ctx)
	if err != nil {
		return err
	}
	key, err := vaultKey(dir)
	if err != nil {
		return err
	}
	return v.cache.build(key, func(entry string) error {
		cmd := command(ctx, "nice", "go", "build", "-p=1", "-trimpath", "-buildvcs=false",
			"-ldflags", "-s -w", "-o", filepath.Join(entry, "vault"), ".")
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOTMPDIR="+entry)
		_, err := output(cmd)
		return err
	})
}

func vaultModule(ctx context.Context) (string, error) {
	module, err := moduleRoot(ctx)
	return filepath.Join(module, "internal", "components", "vault"), err
}

// program is where the server is, or would be.
func (v vaultBuild) program(dir string) (string, error) {
	key, err := vaultKey(dir)
	return filepath.Join(v.cache.path(key), "vault"), err
}

// vaultKey names the cache entry. It changes with the module and the compiler.
func vaultKey(dir string) (string, error) {
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
	return fmt.Sprintf("vault-%s-%s-%x", runtime.Version(), runtime.GOARCH, sum.Sum(nil)[:4]), nil
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

// A vaultServer is a running Vault. It listens on loopback only.
type vaultServer struct {
	Address   string `json:"address"`
	RootToken string `json:"root_token"`
	UnsealKey string `json:"unseal_key"`

	stop func()
}

// env is what a test needs to reach it and to set it up.
func (v vaultServer) env() []string {
	return []string{
		"GATEPASS_TEST_VAULT_ADDR=" + v.Address,
		"GATEPASS_TEST_VAULT_TOKEN=" + v.RootToken,
		"GATEPASS_TEST_VAULT_UNSEAL_KEY=" + v.UnsealKey,
	}
}

// startVault runs the server on a port of its own choice and waits for the line
// that says where it answers.
func startVault(ctx context.Context, program string) (vaultServer, error) {
	ctx, cancel := context.WithCancel(ctx)
	cmd := command(ctx, program)
	// Only read once the process has ended: until then it writes to it.
	var log bytes.Buffer
	cmd.Stderr = &log
	// It ends with its standard input, which is open until Wait.
	_, err := cmd.StdinPipe()
	stdout, err2 := cmd.StdoutPipe()
	if err = errors.Join(err, err2); err == nil {
		err = cmd.Start()
	}
	if err != nil {
		cancel()
		return vaultServer{}, fmt.Errorf("start Vault: %w", err)
	}
	late := time.AfterFunc(30*time.Second, cancel)
	var v vaultServer
	err = json.NewDecoder(stdout).Decode(&v)
	late.Stop()
	v.stop = func() { cancel(); cmd.Wait() }
	if err != nil {
		v.stop()
		return vaultServer{}, fmt.Errorf("start Vault: it did not say where it listens: %w: %s", err, lastLines(log.String(), 3))
	}
	return v, nil
}
