// Package workspacefile finds the workspace file. Programs that run in every git
// command use it, so it imports almost nothing.
package workspacefile

import (
	"errors"
	"io/fs"
	"os"
)

const (
	// Default is the workspace file of an image, where root owns it.
	Default = "/etc/gatepass/workspace.yaml"
	// Variable is the environment variable that names another workspace file.
	Variable = "GATEPASS_CONFIG"

	inHome = "/.config/gatepass/workspace.yaml"
)

// Path returns the workspace file if Variable is not set: Default or, if that does not
// exist, the file of the same name below ~/.config, if that exists.
func Path(getenv func(string) string) string { return first(Default, getenv("HOME")) }

func first(system, home string) string {
	if !isMissing(system) || home == "" || home[0] != '/' || isMissing(home+inHome) {
		return system
	}
	return home + inHome
}

// isMissing reports whether a file is known not to exist. It is false for a file that
// cannot be checked, so that the error is about that file.
func isMissing(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, fs.ErrNotExist)
}
