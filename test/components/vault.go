//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

const (
	vaultComponent = "Vault"
	vaultModule    = "vault"
)

// A vaultBuild is a real Vault server, built once from the Go modules of the
// nested module test/components/vault.
type vaultBuild struct {
	cache cache
}

func (v vaultBuild) Name() string { return vaultComponent }

// Find returns the version that the nested module requires.
func (v vaultBuild) Find(ctx context.Context) (string, error) {
	program, err := v.program(ctx)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(program); err != nil {
		return "", errors.New("not set up yet; make test-real")
	}
	m, err := nestedModule(ctx, vaultModule)
	if err != nil {
		return "", err
	}
	return m.Version("github.com/hashicorp/vault")
}

// SetUp builds the server. It takes four minutes of one core.
func (v vaultBuild) SetUp(ctx context.Context) error {
	m, err := nestedModule(ctx, vaultModule)
	if err != nil {
		return err
	}
	return m.Build(ctx, v.cache.dir, "-s -w", map[string]string{"vault": "."})
}

// program returns where the server is, or would be.
func (v vaultBuild) program(ctx context.Context) (string, error) {
	m, err := nestedModule(ctx, vaultModule)
	if err != nil {
		return "", err
	}
	entry, err := m.Entry(v.cache.dir)
	return filepath.Join(entry, "vault"), err
}

// A vaultServer is a running Vault. It listens on loopback only.
type vaultServer struct {
	Address   string `json:"address"`
	RootToken string `json:"root_token"`
	UnsealKey string `json:"unseal_key"`

	stop func()
}

// env returns the variables by which a test reaches the server and sets it up.
func (v vaultServer) env() []string {
	return []string{
		"GATEPASS_TEST_VAULT_ADDR=" + v.Address,
		"GATEPASS_TEST_VAULT_TOKEN=" + v.RootToken,
		"GATEPASS_TEST_VAULT_UNSEAL_KEY=" + v.UnsealKey,
	}
}

// startVault runs the server on a port that the server chooses, and waits for the line
// with its address.
func startVault(ctx context.Context, program string) (vaultServer, error) {
	ctx, cancel := context.WithCancel(ctx)
	cmd := command(ctx, program)
	// Read it only after the process has ended: until then the process writes to it.
	var log bytes.Buffer
	cmd.Stderr = &log
	// The server ends when its standard input ends, which stays open until Wait.
	_, err := cmd.StdinPipe()
	stdout, err2 := cmd.StdoutPipe()
	if err = errors.Join(err, err2); err == nil {
		err = cmd.Start()
	}
	if err != nil {
		cancel()
		return vaultServer{}, fmt.Errorf("start Vault: %w", err)
	}
	late := time.AfterFunc(2*time.Minute, cancel)
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
