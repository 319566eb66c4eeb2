//go:build linux

package main

import (
	"context"
	_ "embed"
)

const secretServiceComponent = "Secret Service"

//go:embed keyring.sh
var keyringScript string

// secretService is gnome-keyring, with a bus.
type secretService struct{}

func (secretService) Name() string { return secretServiceComponent }

// sessionPrograms are what keyring.sh runs; its dbus-send comes with dbus.
var sessionPrograms = []debianPackage{
	{pkg: "dbus", version: []string{"dbus-run-session", "--version"}},
	{pkg: "gnome-keyring", version: []string{"gnome-keyring-daemon", "--version"}},
}

// Find returns gnome-keyring's version, which comes last.
func (secretService) Find(ctx context.Context) (version string, err error) {
	for _, p := range sessionPrograms {
		if version, err = p.Find(ctx); err != nil {
			return "", err
		}
	}
	return version, nil
}

// SetUp installs the missing packages. It needs root.
func (secretService) SetUp(ctx context.Context) error {
	for _, p := range sessionPrograms {
		if _, err := p.Find(ctx); err == nil {
			continue
		}
		if err := p.SetUp(ctx); err != nil {
			return err
		}
	}
	return nil
}

// withKeyring returns args as a command that runs in its own session, with a bus and an
// unlocked keyring that is stored in the empty folder dir.
func withKeyring(dir string, args []string) []string {
	return append([]string{"sh", "-c", keyringScript, "keyring.sh", dir}, args...)
}
