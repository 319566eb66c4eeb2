// Package workspacefile says where the workspace file is. The programs in images that are
// asked for every git command use it, so it imports next to nothing.
package workspacefile

import (
	"errors"
	"io/fs"
	"os"
)

const (
	// Default is the workspace file of an image; root owns it there.
	Default = "/etc/gatepass/workspace.yaml"
	// Variable names the environment variable that points elsewhere.
	Variable = "GATEPASS_CONFIG"

	inHome = "/.config/gatepass/workspace.yaml"
)

// Path returns the workspace file where Variable is not set: Default, and where that does
// not exist the file of the same name below the home's .config, if it exists.
func Path(getenv func(string) string) string { return first(Default, getenv("HOME")) }

func first(system, home string) string {
	if !isMissing(system) || home == "" || home[0] != '/' || isMissing(home+inHome) {
		return system
	}
	return home + inHome
}

// isMissing reports whether a file is known not to exist. One that cannot be looked at is
// the one to complain of.
func isMissing(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, fs.ErrNotExist)
}
