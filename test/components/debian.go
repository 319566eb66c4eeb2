//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
)

// A debianPackage is a program installed from Debian on this machine.
type debianPackage struct {
	name    string   // name in the table
	pkg     string   // Debian package that contains it
	version []string // command that prints its version
}

// installedPackage returns a component whose version comes from dpkg: a library, or a
// program that does not print its version.
func installedPackage(name, pkg string) debianPackage {
	return debianPackage{name, pkg, []string{"dpkg-query", "--show", "--showformat=${Version}", pkg}}
}

func (p debianPackage) Name() string { return p.name }

// Find runs the program for its version.
func (p debianPackage) Find(ctx context.Context) (string, error) {
	if _, err := exec.LookPath(p.version[0]); err != nil {
		return "", fmt.Errorf("%s is not installed; apt-get install %s", p.version[0], p.pkg)
	}
	text, err := output(command(ctx, p.version[0], p.version[1:]...))
	if err != nil {
		return "", err
	}
	return firstVersion(text), nil
}

// SetUp installs the package. It needs root.
func (p debianPackage) SetUp(ctx context.Context) error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("needs root to install it; apt-get install %s", p.pkg)
	}
	if err := aptInstall(ctx, p.pkg); err == nil {
		return nil
	}
	// A fresh image has no package lists, or old ones.
	if err := aptUpdate(ctx); err != nil {
		return err
	}
	return aptInstall(ctx, p.pkg)
}

func aptInstall(ctx context.Context, pkg string) error {
	return apt(ctx, "install", "--yes", "--no-install-recommends", pkg)
}

func aptUpdate(ctx context.Context) error { return apt(ctx, "update") }

func apt(ctx context.Context, args ...string) error {
	cmd := command(ctx, "apt-get", append([]string{"-qq", "-o", "DPkg::Lock::Timeout=60"}, args...)...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	_, err := output(cmd)
	return err
}

// mirror returns the Debian archive that apt on this machine uses.
func mirror(ctx context.Context) (string, error) {
	url, err := configuredMirror(ctx)
	if errors.Is(err, errNoMirror) && os.Geteuid() == 0 {
		// apt knows an archive's label only after it has the lists.
		if err := aptUpdate(ctx); err != nil {
			return "", err
		}
		url, err = configuredMirror(ctx)
	}
	return url, err
}

var errNoMirror = errors.New("apt has no Debian archive in its sources, or no lists yet; apt-get update")

func configuredMirror(ctx context.Context) (string, error) {
	text, err := output(command(ctx, "apt-get", "indextargets",
		"--format", "$(CREATED_BY)|$(LABEL)|$(COMPONENT)|$(REPO_URI)"))
	if err != nil {
		return "", err
	}
	return parseMirror(text)
}

// parseMirror returns the archive URL from apt's index targets, one per line as
// "CREATED_BY|LABEL|COMPONENT|REPO_URI". The label distinguishes the archive from the
// security updates, a separate archive without sid.
func parseMirror(targets string) (string, error) {
	for line := range strings.Lines(targets) {
		uri, ok := strings.CutPrefix(strings.TrimSpace(line), "Packages|Debian|main|")
		if ok && uri != "" {
			return uri, nil
		}
	}
	return "", errNoMirror
}

// aptOptions returns the settings of this machine's apt for how to reach an archive and
// how old it may be, as lines for another apt's configuration. A frozen mirror, for
// example, is past its "valid until": if this machine accepts that, the chroots do too.
func aptOptions(ctx context.Context) ([]string, error) {
	text, err := output(command(ctx, "apt-config", "dump", "--no-empty", "--format", "%f=%v%n"))
	if err != nil {
		return nil, err
	}
	return parseAptOptions(text), nil
}

func parseAptOptions(dump string) []string {
	var options []string
	for line := range strings.Lines(dump) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch strings.ToLower(key) {
		case "acquire::check-valid-until", "acquire::check-date", "acquire::http::proxy", "acquire::https::proxy":
			options = append(options, fmt.Sprintf("%s %q;", key, value))
		}
	}
	return options
}

var versionNumber = regexp.MustCompile(`\d+(\.\d+)+`)

// firstVersion returns the first dotted number in text: git and the other programs of
// the table print their version there.
func firstVersion(text string) string { return versionNumber.FindString(text) }
