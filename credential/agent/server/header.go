package server

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/credential/agent"
	"github.com/gatepass/gatepass/internal/gitsafety"
)

// maxConfigFile is how much of a configuration file is searched, in bytes. For a longer
// file, git itself is asked.
const maxConfigFile = 256 << 10

// applyOwnHeader changes req if the calling git sends its own Authorization header to the
// target (http.extraHeader, as actions/checkout sets it).
//
// In that case the server uses the header and not our token. git gets a user name and
// password, which curl leaves out when there is a header: two headers would make the
// server answer 400. What git reports about our token after the server's answer is then
// ignored; the result ignore means that the whole request is to be ignored.
func applyOwnHeader(ctx context.Context, operation string, pid int, req *credential.Request) (ignore bool) {
	switch {
	case operation == agent.Get && !req.AuthType && len(req.State) == 0:
		return false
	case operation != agent.Get && operation != agent.Erase:
		return false
	}
	if !(caller{pid}).sendsOwnHeader(ctx, gitsafety.Target{Host: req.Host, Path: req.Path}) {
		return false
	}
	req.AuthType, req.Multi, req.State = false, false, nil
	return operation == agent.Erase
}

// sendsOwnHeader reports whether the calling git is configured to send an Authorization
// header to t. It asks git only if a configuration file or the environment mentions the
// setting or includes another file. If it cannot find the git, it assumes there is no
// such header.
func (a caller) sendsOwnHeader(ctx context.Context, t gitsafety.Target) bool {
	environ, err := a.environ()
	if err != nil || !a.mentionsHeader(environ) {
		return false
	}
	list, err := a.settings(ctx, environ)
	return err == nil && t.OwnHeader(list) != nil
}

func (a caller) mentionsHeader(environ []string) bool {
	if slices.ContainsFunc(environ, func(entry string) bool { return mentionsHeader([]byte(entry)) }) {
		return true
	}
	dir, err := os.Readlink(procFile(a.pid, "cwd"))
	if err != nil {
		return false
	}
	for _, file := range configFiles(dir, environ) {
		if text := head(file); len(text) == maxConfigFile || mentionsHeader(text) || mentions(text, "include") {
			return true
		}
	}
	return false
}

func mentionsHeader(text []byte) bool { return mentions(text, "extraheader") }

func mentions(text []byte, word string) bool {
	return bytes.Contains(bytes.ToLower(text), []byte(word))
}

// head returns up to maxConfigFile bytes of a file, or nil if it cannot be read.
func head(file string) []byte {
	f, err := os.Open(file)
	if err != nil {
		return nil
	}
	defer f.Close()
	text, _ := io.ReadAll(io.LimitReader(f, maxConfigFile))
	return text
}

// configFiles returns the files that git may read in dir (git-config(1), "FILES").
// Other builds of git may have their system file elsewhere.
func configFiles(dir string, environ []string) []string {
	home := lookUp(environ, "HOME")
	files := []string{
		"/etc/gitconfig", "/usr/local/etc/gitconfig", lookUp(environ, "GIT_CONFIG_SYSTEM"), lookUp(environ, "GIT_CONFIG_GLOBAL"),
		filepath.Join(lookUp(environ, "XDG_CONFIG_HOME"), "git", "config"), filepath.Join(home, ".config", "git", "config"), filepath.Join(home, ".gitconfig"),
	}
	if repository := gitDirectory(dir, environ); repository != "" {
		common := repository
		if text := head(filepath.Join(repository, "commondir")); text != nil {
			common = below(repository, strings.TrimSpace(string(text)))
		}
		files = append(files, filepath.Join(common, "config"), filepath.Join(repository, "config"), filepath.Join(repository, "config.worktree"))
	}
	return files
}

// gitDirectory finds the repository of dir as git does: GIT_DIR, the nearest .git
// above, or a bare repository; "" if there is none.
func gitDirectory(dir string, environ []string) string {
	if named := lookUp(environ, "GIT_DIR"); named != "" {
		return below(dir, named)
	}
	for {
		dotGit := filepath.Join(dir, ".git")
		switch info, err := os.Stat(dotGit); {
		case err == nil && info.IsDir():
			return dotGit
		case err == nil:
			if target, ok := strings.CutPrefix(string(head(dotGit)), "gitdir: "); ok {
				return below(dir, strings.TrimSpace(target))
			}
		default:
			if info, err := os.Stat(filepath.Join(dir, "objects")); err == nil && info.IsDir() {
				return dir
			}
		}
		if dir == filepath.Dir(dir) {
			return ""
		}
		dir = filepath.Dir(dir)
	}
}

// lookUp returns the value of a variable in environ; "" if it is not set.
func lookUp(environ []string, name string) string {
	for _, entry := range environ {
		if value, ok := strings.CutPrefix(entry, name+"="); ok {
			return value
		}
	}
	return ""
}

// below resolves path relative to dir.
func below(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}
