// Package filestore reads tokens from files: file:///path. It is for development, with
// a token on the developer's own disk; a workspace uses SSM, Vault or a broker instead.
//
// It reads a file only if it belongs to the user alone: a regular file of this user
// without any permission for group or world. It refuses a symbolic link, which could
// make another private file the token.
package filestore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"time"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/internal/usererr"
)

// A Source is one file or, with placeholders, one file per workspace, host, owner or
// repository.
type Source struct{ path credential.Template }

// Open reads a URL file:///path. Each call of Token opens the file anew.
func Open(u *url.URL, workspace string) (*Source, error) {
	switch {
	case u.Scheme != "file":
		return nil, usererr.New("source", "its scheme is not file", "")
	case u.Host != "" || u.Opaque != "" || u.Path == "" || u.Path == "/":
		return nil, usererr.New("source "+u.Redacted(), "a file source must be an absolute path on this machine", "write file:///path, with three slashes")
	case u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return nil, usererr.New("source file://"+u.Path, "a file source must have only a path", "write %3F for a ? and %23 for a #")
	}
	path, err := credential.ParseTemplate(u.Path, workspace)
	if err != nil {
		return nil, err
	}
	return &Source{path: path}, nil
}

// Key returns the same key for requests that read the same file, which share a token.
func (s *Source) Key(req credential.Request) string { return s.path.Key(req) }

// Token reads the file. A bare token expires an hour after the file was written; a JSON
// object {"token","expires_at"} states its expiry.
func (s *Source) Token(ctx context.Context, req credential.Request) (credential.Token, error) {
	if err := ctx.Err(); err != nil {
		return credential.Token{}, err
	}
	path, err := s.path.Expand(req)
	if err != nil {
		return credential.Token{}, err
	}
	data, written, err := read(path)
	if err != nil {
		return credential.Token{}, err
	}
	token, err := credential.ParseToken(data, written)
	if err != nil {
		return credential.Token{}, usererr.Wrap("read "+path, err, "")
	}
	if !token.Expiry.After(time.Now()) {
		return credential.Token{}, usererr.New("read "+path, "the token in it expired at "+token.Expiry.UTC().Format(time.RFC3339),
			`write a fresh one, or {"token","expires_at"} for one that lives longer than an hour`)
	}
	return token, nil
}

// read checks the open file and not its name, so that it reads exactly what it checked.
func read(path string) (data []byte, written time.Time, err error) {
	f, err := openFile(path)
	if err != nil {
		return nil, time.Time{}, openError(path, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, time.Time{}, usererr.Wrap("read "+path, err, "")
	}
	if err := check(path, info); err != nil {
		return nil, time.Time{}, err
	}
	data, err = io.ReadAll(io.LimitReader(f, credential.MaxStored+1))
	if err != nil {
		return nil, time.Time{}, usererr.Wrap("read "+path, err, "")
	}
	if len(data) > credential.MaxStored {
		return nil, time.Time{}, tooLong(path)
	}
	return data, info.ModTime(), nil
}

func check(path string, info fs.FileInfo) error {
	what := "read " + path
	switch {
	case !info.Mode().IsRegular():
		return usererr.New(what, "it is not a regular file", "name the file that holds the token")
	case info.Mode().Perm()&0o077 != 0:
		return usererr.New(what, fmt.Sprintf("other users can use it (mode %04o)", info.Mode().Perm()), "run chmod 600 "+path)
	case !ownedByUs(info):
		return usererr.New(what, "it belongs to another user", "use a file of this user")
	case info.Size() > credential.MaxStored:
		return tooLong(path)
	}
	return nil
}

func tooLong(path string) error {
	return usererr.New("read "+path, "it is longer than 8 KiB", "name the file that holds the token")
}

func openError(path string, err error) error {
	what := "read " + path
	switch {
	case isSymlink(err):
		return &usererr.Error{Op: what, Reason: "it is a symbolic link", Hint: "name the file itself", Err: err}
	case errors.Is(err, fs.ErrNotExist):
		return &usererr.Error{Op: what, Reason: "there is no such file", Hint: "write the token there with mode 0600, or correct source in the workspace file", Err: err}
	case errors.Is(err, fs.ErrPermission):
		return &usererr.Error{Op: what, Reason: "this user may not open it", Hint: "use a file of this user with mode 0600", Err: err}
	}
	if pathErr, ok := errors.AsType[*os.PathError](err); ok {
		err = pathErr.Err // the path is named already
	}
	return usererr.Wrap(what, err, "")
}
