// Package push decides on a push by its own command list, which is what the gateway of the
// broker goes by. It has no network and keeps nothing.
//
// [ReadRequest] reads the head of a git-receive-pack request and leaves the pack where it
// is. [Decide] judges every command by the policy of the guard, and what it allows is
// forwarded as [Verdict.Head], written anew from what was understood: no byte of the
// caller's head goes on. What it refuses is refused as a whole, and [Verdict.Answer] is
// what every git shows as "[remote rejected]". [Report] reads what the server says became
// of the refs.
//
// Servers read the same bytes differently, git and GitHub among them, so everything that
// could be read in two ways is refused here. A request that is accepted means the same to
// all of them.
package push

import (
	"fmt"
	"strings"

	"github.com/gatepass/gatepass/hooks/refs"
)

// A Request is the head of a push: everything in front of the pack.
type Request struct {
	Shallow      []string // the commits where the caller's history ends
	Commands     []Command
	Capabilities Capabilities

	// Objection says why the request is refused whatever its commands are, such as that
	// it has push options. It is empty for most.
	Objection string
}

// A Command is one ref that is to go from one object to another. The ids are in lower case
// and all of one length, 40 or 64; all zeros stand for no object.
type Command struct {
	Old, New string
	Ref      string // a full, valid name, "refs/…", of at most 1024 bytes
}

// Deletes reports whether the command removes the ref.
func (c Command) Deletes() bool { return isZero(c.New) }

// Update returns the command as the guard knows it.
func (c Command) Update() refs.RefUpdate {
	return refs.RefUpdate{LocalRef: c.Ref, LocalOID: c.New, RemoteRef: c.Ref, RemoteOID: c.Old}
}

// IsProbe reports whether nothing is asked for: git sends "0000" to find out whether it may
// send more, and a shallow clone with nothing to push sends where it ends. The answer is
// empty, with status 200.
func (q *Request) IsProbe() bool { return len(q.Commands) == 0 }

// HasPack reports whether a pack follows the head: some command needs an object.
func (q *Request) HasPack() bool {
	for _, c := range q.Commands {
		if !c.Deletes() {
			return true
		}
	}
	return false
}

// CanReport reports whether the caller can be told what became of its refs. One that cannot
// is answered with status 403.
func (q *Request) CanReport() bool {
	return q.Capabilities.Has(ReportStatus) || q.Capabilities.Has(ReportStatusV2)
}

// A RequestError says why bytes are not a request that is forwarded. Such a request is
// answered with status 400, or 413 where TooLarge is true.
type RequestError struct {
	Offset   int64 // how many bytes had been read, from the start of the body
	Why      string
	TooLarge bool
	Err      error // what lies below; may be nil
}

func (e *RequestError) Error() string {
	return fmt.Sprintf("the push cannot be read (byte %d): %s", e.Offset, e.Why)
}

// Unwrap returns the error below, if any.
func (e *RequestError) Unwrap() error { return e.Err }

func isZero(oid string) bool { return strings.Trim(oid, "0") == "" }

// isOID reports whether s is a whole object id in lower case.
func isOID(s string) bool {
	return (len(s) == 40 || len(s) == 64) && strings.Trim(s, "0123456789abcdef") == ""
}
