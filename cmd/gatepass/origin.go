package main

import (
	"bytes"
	"context"
	"errors"
	"net/url"
	"os/exec"
	"strings"

	"github.com/gatepass/gatepass/hooks"
	"github.com/gatepass/gatepass/internal/gitname"
	"github.com/gatepass/gatepass/internal/redact"
	"github.com/gatepass/gatepass/internal/usererr"
)

// A place is a repository on a host, or with an empty path the host alone.
type place struct {
	host string // canonical
	path string // "owner/name", as written
}

const nameOne = "run it in a clone, or name the repository with --repo OWNER/NAME"

// origin asks git where the working directory's repository comes from: the URL
// of its remote "origin", after url.*.insteadOf.
func origin(ctx context.Context) (place, error) {
	var stderr bytes.Buffer
	git := exec.CommandContext(ctx, "git", "remote", "get-url", "origin")
	git.Stderr = &stderr
	out, err := git.Output()
	if _, ended := errors.AsType[*exec.ExitError](err); ended {
		return place{}, usererr.New("find the repository", gitSaid(stderr.String()), nameOne)
	}
	if err != nil {
		return place{}, usererr.Wrap("find the repository", err, nameOne)
	}
	return parseRemote(strings.TrimSuffix(string(out), "\n"))
}

// gitSaid is the first line of git's complaint.
func gitSaid(stderr string) string {
	line, _, _ := strings.Cut(stderr, "\n")
	for _, prefix := range []string{"fatal: ", "error: "} {
		line = strings.TrimPrefix(line, prefix)
	}
	return redact.Text(line, 200)
}

// parseRemote reads the URL of a remote: https, or one of the two spellings of
// ssh, which name the same repository. Whether the host is one of ours is for
// the agent to say.
func parseRemote(remote string) (place, error) {
	host, path, ok := splitRemote(remote)
	canonical, valid := gitname.Host(host)
	path = strings.Trim(path, "/")
	if _, _, named := gitname.Path(path); !ok || !valid || !named {
		return place{}, usererr.New("find the repository", "origin is "+hooks.RedactURL(remote)+", which is no https or ssh URL of HOST/OWNER/NAME", nameOne)
	}
	return place{canonical, path}, nil
}

func splitRemote(remote string) (host, path string, ok bool) {
	if !strings.Contains(remote, "://") {
		// scp's spelling, [user@]host:path. A slash before the colon makes it a
		// file name.
		login, path, ok := strings.Cut(remote, ":")
		return login[strings.LastIndexByte(login, '@')+1:], path, ok && !strings.Contains(login, "/")
	}
	u, err := url.Parse(remote)
	if err != nil {
		return "", "", false
	}
	switch u.Scheme {
	case "https":
		return u.Host, u.Path, true
	case "ssh", "git+ssh", "ssh+git":
		return u.Hostname(), u.Path, true
	}
	return "", "", false
}
