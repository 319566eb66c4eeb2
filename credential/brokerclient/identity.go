package brokerclient

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/internal/usererr"
)

// identity is the place of the bearer identity. It may be rotated at any time, like a
// projected service account token, so it is read for every call.
type identity struct {
	file     string // "" means the environment variable
	optional bool   // over a socket
}

func newIdentity(file, workspace string, optional bool) (identity, error) {
	file, err := fixed(file, workspace)
	return identity{file: file, optional: optional}, err
}

// where names the place for error messages.
func (id identity) where() string {
	if id.file == "" {
		return "the variable " + IdentityVariable
	}
	return id.file
}

// authorization returns the header of one call.
func (id identity) authorization(context.Context) (string, error) {
	text, err := id.read()
	if err != nil || text == "" {
		return "", err
	}
	return "Bearer " + text, nil
}

// read returns the identity; "" if none is needed. A file that cannot be read is an
// error; read does not fall back to the variable.
func (id identity) read() (string, error) {
	if id.file == "" {
		return id.check(os.Getenv(IdentityVariable))
	}
	text, err := readFile(id.file)
	if err != nil {
		return "", usererr.Wrap("read the identity "+id.file, err, "correct identity_file in the source")
	}
	return id.check(text)
}

// readFile reads a file up to slightly more than the longest secret.
func readFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		if pathErr, ok := errors.AsType[*os.PathError](err); ok {
			err = pathErr.Err // the path is named already
		}
		return "", err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, credential.MaxToken+2))
	if err != nil {
		return "", errors.New("it cannot be read")
	}
	return string(data), nil
}

func (id identity) check(text string) (string, error) {
	text = strings.TrimSuffix(text, "\n")
	if text == "" && id.file == "" {
		if id.optional {
			return "", nil
		}
		return "", usererr.New("ask the broker", "this workspace has no identity",
			"add identity_file=PATH to the source or set "+IdentityVariable)
	}
	if credential.CheckSecret(text) != nil {
		return "", usererr.New("read the identity in "+id.where(), "it is no bearer identity (empty, blanks, control characters or over 8 KiB)",
			"write the bare token there")
	}
	return text, nil
}
