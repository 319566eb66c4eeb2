// Package gitconfig parses git's configuration as git lists it: each setting with its
// scope and file.
package gitconfig

import (
	"errors"
	"strconv"
	"strings"
)

// Arguments returns the arguments of the git command whose output [Parse] reads. Git
// has --show-scope since 2.26.
func Arguments() []string {
	return []string{"config", "-z", "--show-scope", "--show-origin", "--list"}
}

// The scopes, in git's words, from the widest to the narrowest. A later one overrides
// an earlier one.
const (
	System   = "system"
	Global   = "global"
	Local    = "local"
	Worktree = "worktree"
	Command  = "command" // git -c, GIT_CONFIG_PARAMETERS and GIT_CONFIG_COUNT
)

// A Setting is one variable with one value.
type Setting struct {
	Scope   string // one of the scopes above
	Origin  string // "file:/etc/gitconfig", "command line:"
	Key     string // section and name in lower case, the subsection as written
	Value   string
	NoValue bool // written without "=", which means true
}

var errList = errors.New("git's list of settings has an unknown form")

// Parse parses "scope NUL origin NUL key LF value NUL", repeated. Anything else is an
// error, so that no setting is missed.
func Parse(out []byte) ([]Setting, error) {
	if len(out) == 0 {
		return nil, nil
	}
	text, ended := strings.CutSuffix(string(out), "\x00")
	fields := strings.Split(text, "\x00")
	if !ended || len(fields)%3 != 0 {
		return nil, errList
	}
	list := make([]Setting, 0, len(fields)/3)
	for i := 0; i < len(fields); i += 3 {
		key, value, assigned := strings.Cut(fields[i+2], "\n")
		if fields[i] == "" || !strings.Contains(key, ".") {
			return nil, errList
		}
		list = append(list, Setting{Scope: fields[i], Origin: fields[i+1], Key: key, Value: value, NoValue: !assigned})
	}
	return list, nil
}

// Parts splits the key at its first and its last dot. The section and the name
// are in lower case.
func (s Setting) Parts() (section, subsection, name string) {
	first, last := strings.IndexByte(s.Key, '.'), strings.LastIndexByte(s.Key, '.')
	if first < 0 {
		return strings.ToLower(s.Key), "", ""
	}
	section, name = strings.ToLower(s.Key[:first]), strings.ToLower(s.Key[last+1:])
	if first < last {
		subsection = s.Key[first+1 : last]
	}
	return section, subsection, name
}

// True reports whether git reads the value as true. A value that git would refuse
// counts as false.
func (s Setting) True() bool {
	if s.NoValue {
		return true
	}
	switch strings.ToLower(s.Value) {
	case "true", "yes", "on":
		return true
	}
	n, err := strconv.ParseInt(s.Value, 0, 32)
	return err == nil && n != 0
}

// Trusted reports whether the setting is from the machine's or the user's
// configuration, and not from a repository or one command.
func (s Setting) Trusted() bool { return s.Scope == System || s.Scope == Global }

// File returns the file of the setting; "" if it is not from a file.
func (s Setting) File() string {
	file, ok := strings.CutPrefix(s.Origin, "file:")
	if !ok {
		return ""
	}
	return file
}

// Last returns the last of the settings with the key, which is the one in effect; nil
// if there is none.
func Last(list []Setting, key string) *Setting {
	for i := len(list) - 1; i >= 0; i-- {
		if list[i].Key == key {
			return &list[i]
		}
	}
	return nil
}
