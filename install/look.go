package install

import (
	"context"
	"path/filepath"
	"strings"
	"sync"
)

// HookSection is the section of the hook that New configures for git 2.54 and
// later.
const HookSection = hookSection

// A Git is one git program on PATH.
type Git struct {
	Path       string
	SystemFile string // its system configuration; "" if unknown

	version version
}

// Version returns "2.39", or "of unknown version".
func (g Git) Version() string { return g.version.String() }

// AtLeast reports whether git is of that version or later. It is false for an unknown
// version.
func (g Git) AtLeast(major, minor int) bool {
	return g.version.known() && !g.version.before(version{major, minor})
}

// Gits returns every distinct git on PATH, the one that users get first.
func Gits(ctx context.Context, getenv func(string) string) []Git {
	found := findGits(ctx, getenv)
	gits := make([]Git, len(found))
	var wg sync.WaitGroup
	for i, g := range found {
		gits[i] = Git{Path: g.path, version: g.version}
		wg.Go(func() {
			if file, err := g.systemFile(ctx); err == nil {
				gits[i].SystemFile = file
			}
		})
	}
	wg.Wait()
	return gits
}

// HelperPath reports whether a value of credential.helper runs our helper, and returns
// its absolute path; "" if git finds it on PATH.
func HelperPath(value string) (path string, ok bool) {
	word, _, err := shellWord(strings.TrimPrefix(value, "!"))
	name, _, _ := strings.Cut(value, " ")
	switch {
	case name == strings.TrimPrefix(helperName, "git-credential-"):
		return "", true
	case err != nil || filepath.Base(word) != helperName:
		return "", false
	case filepath.IsAbs(word):
		return word, true
	}
	return "", strings.HasPrefix(value, "!")
}

// GuardPath reports whether a hook's command runs our guard, and returns its absolute
// path.
func GuardPath(command string) (path string, ok bool) {
	word, _, err := shellWord(command)
	return word, err == nil && isCommand(command, guardName)
}
