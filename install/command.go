package install

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/gatepass/gatepass/internal/usererr"
)

// The programs that git runs.
const (
	helperName = "git-credential-gatepass"
	guardName  = "gatepass-pre-push"
)

// usualDirs are the directories in which an image's programs are looked up.
var usualDirs = []string{"/usr/local/bin", "/usr/bin", "/bin"}

// binaries finds the helper and the guard.
func (pl *planner) binaries() error {
	var err error
	if pl.helper, err = pl.find(helperName); err != nil {
		return err
	}
	if pl.Guard == GuardNone {
		return nil
	}
	pl.guard, err = pl.find(guardName)
	return err
}

// find returns the path of a program as git will see it.
func (pl *planner) find(name string) (string, error) {
	dirs := pl.binDirs()
	for _, dir := range dirs {
		path := filepath.Join(dir, name)
		if !filepath.IsAbs(path) || pl.From == "" && !pl.isExecutable(path) {
			continue
		}
		if err := CheckPath(path); err != nil {
			return "", err
		}
		return path, nil
	}
	where := "beside gatepass and on PATH"
	switch {
	case pl.BinDir != "":
		where = "in " + dirs[0]
	case pl.Scope == Image:
		where = "in " + strings.Join(usualDirs, ", ")
	}
	if pl.Scope == Image {
		where += " of " + pl.Root
	}
	return "", usererr.New("find "+name, "it is not there ("+where+")",
		"put the gatepass binaries into one directory and name it with --bin-dir DIR")
}

func (pl *planner) binDirs() []string {
	switch {
	case pl.BinDir != "" && pl.Scope == Image:
		return []string{filepath.Join("/", pl.BinDir)}
	case pl.BinDir != "":
		dir, err := filepath.Abs(pl.BinDir)
		if err != nil {
			dir = pl.BinDir
		}
		return []string{dir}
	case pl.Scope == Image:
		return usualDirs
	}
	var dirs []string
	if pl.Executable != "" {
		dirs = append(dirs, filepath.Dir(pl.Executable))
		if real, err := filepath.EvalSymlinks(pl.Executable); err == nil {
			dirs = append(dirs, filepath.Dir(real))
		}
	}
	return append(dirs, filepath.SplitList(pl.Getenv("PATH"))...)
}

func (pl *planner) isExecutable(path string) bool {
	if pl.Scope == Image {
		info := pl.lookInside(path)
		return info != nil && executable(info)
	}
	info, err := os.Stat(path)
	return err == nil && executable(info)
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
			return usererr.New("use "+path, "the path holds a control character", "choose another directory")
		}
	}
	return nil
}

// commandPath returns an absolute path as a value of credential.helper. Git
// distinguishes a path from a name by the leading slash, and then passes the whole
// value to the shell; so the quotes start after the slash.
func commandPath(path string) string {
	if strings.IndexFunc(path, special) < 0 {
		return path
	}
	return "/" + shellQuote(path[1:])
}

// special reports whether a character has a meaning in a shell.
func special(r rune) bool {
	return r < 0x80 && !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' ||
		strings.ContainsRune("/._-+,:=@%", r))
}

// shellQuote returns s as one word of a POSIX shell.
func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

var errQuoting = errors.New("unfinished quotation")

// shellWord reads the first word of a shell command, which may have plain text, single
// quotes and backslashes, and returns it with the rest.
func shellWord(s string) (word, rest string, err error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == ' ':
			return b.String(), strings.TrimLeft(s[i:], " "), nil
		case c == '\'':
			end := strings.IndexByte(s[i+1:], '\'')
			if end < 0 {
				return "", "", errQuoting
			}
			b.WriteString(s[i+1 : i+1+end])
			i += 1 + end
		case c == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		case special(rune(c)):
			return "", "", fmt.Errorf("%q is not plain text", c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), "", nil
}

// isCommand reports whether a configured command is an absolute path that ends in the
// name, with or without arguments.
func isCommand(command, name string) bool {
	word, _, err := shellWord(command)
	return err == nil && filepath.IsAbs(word) && filepath.Base(word) == name
}
