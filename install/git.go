package install

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing/format/config"

	"github.com/gatepass/gatepass/internal/shell"
	"github.com/gatepass/gatepass/internal/usererr"
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
	word, _, err := shell.FirstWord(strings.TrimPrefix(value, "!"))
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
	word, _, err := shell.FirstWord(command)
	return word, err == nil && isCommand(command, guardName)
}

// CheckPath refuses a path that must not be written to git configuration or a shell
// script: one that is not absolute, or contains a control character. Git before 2.50.1
// drops a carriage return at the end of a value and so reads another path than was
// written (CVE-2025-48384).
func CheckPath(path string) error {
	if !filepath.IsAbs(path) {
		return usererr.New("use "+path, "the path is not absolute", "")
	}
	for i := 0; i < len(path); i++ {
		if path[i] < ' ' || path[i] == 0x7f {
			return usererr.New("use "+path, "the path has a control character", "choose another directory")
		}
	}
	return nil
}

// gitTimeout limits every git command; each usually takes milliseconds.
const gitTimeout = 30 * time.Second

// A git is one git program on this machine.
type git struct {
	path    string
	version version // zero if it is unknown
	getenv  func(string) string
}

// A version is git's major and minor number; the zero value is unknown.
type version struct{ major, minor int }

// configuredHooks is the first git version with hook.<name>.command.
var configuredHooks = version{2, 54}

func (v version) known() bool { return v != version{} }

func (v version) before(w version) bool {
	return v.major < w.major || v.major == w.major && v.minor < w.minor
}

func (v version) String() string {
	if !v.known() {
		return "of unknown version"
	}
	return fmt.Sprintf("%d.%d", v.major, v.minor)
}

var versionNumber = regexp.MustCompile(`\A(?:git version )?(\d{1,4})\.(\d{1,4})(?:[^0-9]|\z)`)

// parseVersion parses the output of "git version", or a bare version from a package
// database. Anything else is unknown.
func parseVersion(s string) version {
	m := versionNumber.FindStringSubmatch(s)
	if m == nil {
		return version{}
	}
	major, _ := strconv.Atoi(m[1])
	minor, _ := strconv.Atoi(m[2])
	return version{major, minor}
}

// findGits returns every distinct git on PATH, the one that users get first. Like
// os/exec, it skips relative entries of PATH.
func findGits(ctx context.Context, getenv func(string) string) []git {
	var found []git
	var seen []os.FileInfo
	for _, dir := range filepath.SplitList(getenv("PATH")) {
		path := filepath.Join(dir, "git")
		info, err := os.Stat(path)
		if !filepath.IsAbs(dir) || err != nil || !executable(info) || sameAsAny(info, seen) {
			continue
		}
		seen = append(seen, info)
		g := git{path: path, getenv: getenv}
		g.askVersion(ctx)
		found = append(found, g)
	}
	return found
}

// askVersion sets the version, and reports whether the program runs.
func (g *git) askVersion(ctx context.Context) bool {
	out, err := g.run(ctx, nil, "version")
	if err == nil {
		g.version = parseVersion(string(out))
	}
	return err == nil
}

func executable(info os.FileInfo) bool {
	return info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0
}

func sameAsAny(info os.FileInfo, seen []os.FileInfo) bool {
	for _, s := range seen {
		if os.SameFile(info, s) {
			return true
		}
	}
	return false
}

// run runs git with no configuration except what the arguments name, so that a broken
// file of the user's does not prevent reading or repairing it.
func (g git) run(ctx context.Context, stdin []byte, args ...string) ([]byte, error) {
	return g.start(ctx, stdin, []string{
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull, "HOME=" + g.getenv("HOME"),
	}, args)
}

// runAsUser runs git as the user's shell would, with the user's files. Its editor
// prints the name of the file. The editor needs no program, because git passes a
// command with a blank to a shell.
func (g git) runAsUser(ctx context.Context, args ...string) ([]byte, error) {
	var env []string
	for _, name := range []string{"HOME", "XDG_CONFIG_HOME", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_GLOBAL"} {
		if v := g.getenv(name); v != "" {
			env = append(env, name+"="+v)
		}
	}
	return g.start(ctx, nil, append(env, "GIT_EDITOR=printf %s"), args)
}

func (g git) start(ctx context.Context, stdin []byte, env, args []string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, gitTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, g.path, args...)
	cmd.Dir = string(filepath.Separator) // not in a repository, whose configuration would apply
	// Git appends to any file that trace2.* in the user's configuration names.
	cmd.Env = append(env, "PATH="+g.getenv("PATH"), "LC_ALL=C", "GIT_TRACE2=0", "GIT_TRACE2_PERF=0", "GIT_TRACE2_EVENT=0")
	cmd.Stdin = bytes.NewReader(stdin)
	cmd.WaitDelay = 5 * time.Second // time to read the output of a git that has ended, on a slow machine
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err == nil {
		return out, nil
	}
	return nil, &gitError{text: firstLine(stderr.String()), err: err}
}

// A gitError is the first line of git's error output.
type gitError struct {
	text string
	err  error
}

func (e *gitError) Error() string {
	if e.text != "" {
		return "git says: " + usererr.Escape(e.text)
	}
	return "git: " + e.err.Error()
}

func (e *gitError) Unwrap() error { return e.err }

// exitStatus returns git's exit status; -1 if err has none.
func exitStatus(err error) int {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	return -1
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}

// list returns every variable in a configuration file's text, in order. It follows no
// includes; git would follow them for text on standard input.
func (g git) list(ctx context.Context, content []byte) ([]setting, error) {
	if len(content) == 0 {
		return nil, nil
	}
	out, err := g.run(ctx, content, "config", "--no-includes", "-z", "--list", "--file", "-")
	if err != nil {
		return nil, err
	}
	if len(out) == 0 { // only comments and headings
		return nil, nil
	}
	var list []setting
	for record := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		key, value, assigned := strings.Cut(record, "\n")
		list = append(list, setting{key: key, value: value, noValue: !assigned})
	}
	return list, nil
}

// edit applies "git config --file FILE args…" to the content for each of the commands
// and returns the result. It is not an error if there is nothing to unset.
func (g git) edit(ctx context.Context, content []byte, commands ...[]string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "gatepass-config-") // 0700: the file may hold the user's secrets
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "config")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		return nil, err
	}
	for _, args := range commands {
		_, err := g.run(ctx, nil, append([]string{"config", "--file", file}, args...)...)
		if err != nil && exitStatus(err) != nothingToUnset {
			return nil, err
		}
	}
	return os.ReadFile(file)
}

// nothingToUnset is the exit status of git config for a missing key.
const nothingToUnset = 5

// render returns the text that git writes for the settings.
func (g git) render(ctx context.Context, settings []setting) (string, error) {
	var commands [][]string
	for _, s := range settings {
		commands = append(commands, []string{"--add", s.key, s.value})
	}
	text, err := g.edit(ctx, nil, commands...)
	return string(text), err
}

// systemFile asks git for its system configuration file. "git var" prints it since
// 2.42; for older versions it is the file that git would open in an editor.
func (g git) systemFile(ctx context.Context) (string, error) {
	out, err := g.runAsUser(ctx, "var", "GIT_CONFIG_SYSTEM")
	if err != nil {
		out, err = g.runAsUser(ctx, "config", "--system", "--edit")
	}
	if err != nil {
		return "", err
	}
	path := firstLine(string(out))
	if !filepath.IsAbs(path) {
		return "", fmt.Errorf("%s names no system configuration file", g.path)
	}
	return path, nil
}

// hooksPaths returns all values of core.hooksPath that file and its includes set, in
// order.
func (g git) hooksPaths(ctx context.Context, file string) ([]string, error) {
	out, err := g.run(ctx, nil, "config", "-z", "--includes", "--file", file, "--get-all", "core.hooksPath")
	if exitStatus(err) == 1 { // not set, or no such file
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00"), nil
}

// checkWithGoGit parses with go-git what is about to be written: programs with their own
// parser must find our settings too. It accepts a file that go-git could not read
// before.
func checkWithGoGit(base, text []byte, want []setting) error {
	if _, err := decode(base); err != nil {
		return nil
	}
	cfg, err := decode(text)
	if err != nil {
		return fmt.Errorf("go-git could not read the new file: %w", err)
	}
	for _, s := range want {
		if !slices.Contains(optionAll(cfg, s.key), s.value) {
			return fmt.Errorf("go-git would not find %s in the new file", s.key)
		}
	}
	return nil
}

func decode(text []byte) (*config.Config, error) {
	cfg := config.New()
	return cfg, config.NewDecoder(bytes.NewReader(text)).Decode(cfg)
}

func optionAll(cfg *config.Config, key string) []string {
	first, last := strings.IndexByte(key, '.'), strings.LastIndexByte(key, '.')
	section := cfg.Section(key[:first])
	if first == last {
		return section.OptionAll(key[last+1:])
	}
	return section.Subsection(key[first+1 : last]).OptionAll(key[last+1:])
}

// commandPath returns an absolute path as a value of credential.helper. Git
// distinguishes a path from a name by the leading slash, and then passes the whole
// value to the shell; so the quotes start after the slash.
func commandPath(path string) string {
	if shell.IsPlain(path) {
		return path
	}
	return "/" + shell.Quote(path[1:])
}

// isCommand reports whether a configured command is an absolute path that ends in the
// name, with or without arguments.
func isCommand(command, name string) bool {
	word, _, err := shell.FirstWord(command)
	return err == nil && filepath.IsAbs(word) && filepath.Base(word) == name
}
