// Package push decides on a push by the command list in its body. The git gateway of the
// broker uses it. It has no network and no state.
//
// [ReadRequest] reads the head of a git-receive-pack request and stops before the pack.
// [Decide] checks every command against the policy that the guard uses. The gateway
// forwards an allowed push with [Verdict.Head], a head that is written from the parsed
// request: no byte of the client's head is forwarded. It answers a refused push with
// [Verdict.Answer], which git prints as "[remote rejected]". [Report] reads the
// server's report on each ref.
//
// git and GitHub parse some bytes differently. ReadRequest refuses every request that
// two servers could read in different ways, so that an accepted request means the same
// to all.
package push

import (
	"fmt"
	"strings"

	"github.com/gatepass/gatepass/broker/gateway/pktline"
	"github.com/gatepass/gatepass/hooks/refs"
)

// A Request is the head of a push: everything in its body before the pack.
type Request struct {
	Shallow      []string // the commits where the client's history ends
	Commands     []Command
	Capabilities Capabilities

	// Objection says why Decide refuses the request, whatever its commands are. For
	// example, it asks for push options. It is empty for most requests.
	Objection string
}

// A Command asks the server to move one ref from one object to another. All ids of a request
// are in lower case and have the same length, 40 or 64 digits. All zeros mean no object.
type Command struct {
	Old, New string
	Ref      string // a full, valid name, "refs/…", of at most 1024 bytes
}

// Deletes reports whether the command removes the ref.
func (c Command) Deletes() bool { return isZero(c.New) }

// Update returns the command in the guard's form.
func (c Command) Update() refs.RefUpdate {
	return refs.RefUpdate{LocalRef: c.Ref, LocalOID: c.New, RemoteRef: c.Ref, RemoteOID: c.Old}
}

// IsProbe reports whether the request has no commands. git sends "0000" to test the
// connection before a large push, and a shallow clone with nothing to push sends only its
// shallow lines. Answer it with status 200 and an empty body, and do not forward it.
func (q *Request) IsProbe() bool { return len(q.Commands) == 0 }

// HasPack reports whether a pack follows the head. It does, unless all commands delete.
func (q *Request) HasPack() bool {
	for _, c := range q.Commands {
		if !c.Deletes() {
			return true
		}
	}
	return false
}

// CanReport reports whether the client reads a report on its refs. If it does not,
// refuse the request with status 403: the client would not show the reasons of an
// Answer.
func (q *Request) CanReport() bool {
	return q.Capabilities.Has(ReportStatus) || q.Capabilities.Has(ReportStatusV2)
}

// A RequestError says why ReadRequest refuses the bytes of a request. Answer it with status
// 400, or with 413 if TooLarge is true.
type RequestError struct {
	Offset   int64 // how many bytes had been read, from the start of the body
	Why      string
	TooLarge bool
	Err      error // the cause; may be nil
}

func (e *RequestError) Error() string {
	return fmt.Sprintf("the push cannot be read (byte %d): %s", e.Offset, e.Why)
}

// Unwrap returns the cause, if any.
func (e *RequestError) Unwrap() error { return e.Err }

func isZero(oid string) bool { return strings.Trim(oid, "0") == "" }

// isOID reports whether s is a full object id in lower case.
func isOID(s string) bool {
	return (len(s) == 40 || len(s) == 64) && strings.Trim(s, "0123456789abcdef") == ""
}

// encode writes the request as git would. [ReadRequest] reads it back unchanged.
func (q *Request) encode() []byte {
	to := make([]byte, 0, q.size())
	line := make([]byte, 0, maxLine)
	for _, oid := range q.Shallow {
		line = append(append(append(line[:0], "shallow "...), oid...), '\n')
		to = pktline.Append(to, line)
	}
	for i, c := range q.Commands {
		line = append(append(append(line[:0], c.Old...), ' '), c.New...)
		line = append(append(line, ' '), c.Ref...)
		if i == 0 {
			line = q.Capabilities.append(append(line, 0))
		}
		to = pktline.Append(to, line)
	}
	return append(to, pktline.FlushPacket...)
}

// size estimates how many bytes encode writes.
func (q *Request) size() int {
	size := 512 + 80*len(q.Shallow)
	for _, c := range q.Commands {
		size += len(c.Ref) + 2*len(c.Old) + 8
	}
	return size
}
