package refs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

const (
	maxInput = 64 << 20  // bytes of standard input
	maxLine  = 256 << 10 // bytes of one line; a local ref is one argument of git push
)

// A RefUpdate is one line of a pre-push hook's standard input.
type RefUpdate struct {
	// LocalRef is the source as the user typed it, spaces included, or "(delete)". No
	// decision depends on it.
	LocalRef string
	LocalOID string // the new object of the remote ref; all zeros to delete it

	RemoteRef string // a full, valid name, "refs/…"
	RemoteOID string // the current object of the remote ref; all zeros if it does not exist
}

// Deletes reports whether u deletes the remote ref. It reads the object id: "git push
// origin 0000…:refs/heads/x" also deletes, with another LocalRef.
func (u RefUpdate) Deletes() bool { return isZero(u.LocalOID) }

// Creates reports whether the remote ref does not exist yet.
func (u RefUpdate) Creates() bool { return isZero(u.RemoteOID) && !u.Deletes() }

func isZero(oid string) bool { return strings.Trim(oid, "0") == "" }

// ReadUpdates reads the standard input of a pre-push hook to its end. It also returns
// the bytes, for the hooks that run afterwards. Input over 64 MiB is an error.
func ReadUpdates(r io.Reader) (raw []byte, updates []RefUpdate, err error) {
	raw, err = io.ReadAll(io.LimitReader(r, maxInput+1))
	if err != nil {
		return nil, nil, err
	}
	if len(raw) > maxInput {
		return nil, nil, fmt.Errorf("git sent more than %d bytes", maxInput)
	}
	updates, err = ParseUpdates(raw)
	return raw, updates, err
}

// ParseUpdates parses the lines that git sends to a pre-push hook (githooks(5)):
//
//	<local-ref> SP <local-oid> SP <remote-ref> SP <remote-oid> LF
//
// The local ref is as typed, and "git push origin 'HEAD@{1 day ago}:main'" is legal, so
// lines are split from the right. A local ref may even contain a line break; the
// resulting lines do not parse, which is an error. A local ref that looks like whole
// lines only adds updates to check: what git will do is always complete at the end of a
// line.
//
// One bad line makes the whole input an error, as does a last line without LF.
func ParseUpdates(data []byte) ([]RefUpdate, error) {
	updates := make([]RefUpdate, 0, bytes.Count(data, []byte{'\n'}))
	for number := 1; len(data) > 0; number++ {
		line, rest, whole := bytes.Cut(data, []byte{'\n'})
		if !whole {
			return nil, fmt.Errorf("line %d has no line end", number)
		}
		u, err := parseUpdate(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		if len(updates) > 0 && len(u.LocalOID) != len(updates[0].LocalOID) {
			return nil, fmt.Errorf("line %d: its object IDs differ in length from those before", number)
		}
		updates, data = append(updates, u), rest
	}
	return updates, nil
}

func parseUpdate(line []byte) (RefUpdate, error) {
	if len(line) > maxLine {
		return RefUpdate{}, fmt.Errorf("it is longer than %d bytes", maxLine)
	}
	s := string(line)
	s, remoteOID, ok1 := cutLast(s)
	s, remoteRef, ok2 := cutLast(s)
	local, localOID, ok3 := cutLast(s)
	switch {
	case !ok1 || !ok2 || !ok3 || local == "":
		return RefUpdate{}, errors.New("want <local ref> <oid> <remote ref> <oid>; gatepass cannot check a local ref with a line break")
	case !isOID(localOID) || !isOID(remoteOID) || len(localOID) != len(remoteOID):
		return RefUpdate{}, errors.New("want two object IDs of 40 or of 64 hex digits")
	}
	if err := CheckRef(remoteRef); err != nil {
		return RefUpdate{}, fmt.Errorf("remote ref %q: %w", remoteRef, err)
	}
	return RefUpdate{LocalRef: local, LocalOID: localOID, RemoteRef: remoteRef, RemoteOID: remoteOID}, nil
}

// cutLast splits s around its last space.
func cutLast(s string) (before, after string, found bool) {
	i := strings.LastIndexByte(s, ' ')
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// isOID reports whether s is a full SHA-1 or SHA-256 object id, as git prints it.
func isOID(s string) bool {
	return (len(s) == 40 || len(s) == 64) && strings.Trim(s, "0123456789abcdef") == ""
}
