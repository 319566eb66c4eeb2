// Package agent is the client of gatepass-agent, the process that holds the sources and
// the tokens. It finds the agent's socket, starts the agent, and defines the protocol.
//
// The helper and askpass link this package in every git operation, so it uses only raw
// sockets and small parts of the standard library: net alone would cost a tenth of the
// helper's time.
package agent

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
)

// Operations of a Call.
const (
	Get      = "get"      // the request and the answer are git's
	Erase    = "erase"    // the same
	Username = "username" // the request is an askpass prompt; the answer is the user name
	Password = "password" // the same; the answer is the token
	Status   = "status"   // no request; the answer is JSON
	Stop     = "stop"     // no request; the agent ends

	// The request names what a person's program wants to access; the answer is JSON
	// with the token and its details. Get gives the same caller the same token, so this
	// reveals nothing more.
	Token      = "token"       // a token for writing, or for reading where writing is refused
	TokenRead  = "token-read"  // one for reading, if the source distinguishes
	TokenWrite = "token-write" // one for writing

	// Session is like Token, for a session of the gateway. The session opens only the
	// repository of the request or, without a path, all repositories of the workspace.
	Session = "session"

	// Fresh is a suffix for those four: the agent then asks the source, whatever is in
	// its cache.
	Fresh = "-fresh"

	// The payload is a [PushReport] of the guard. There is no answer; the agent passes
	// the report to the source if that is a broker.
	PushRefused = "push-refused"
)

// Through returns the operation for a workspace whose git uses gateway although its
// file does not name it: "get@https://broker.example". With an empty gateway it returns
// operation.
func Through(operation, gateway string) string {
	if gateway == "" {
		return operation
	}
	return operation + "@" + gateway
}

// A Call is one request to the agent.
type Call struct {
	Operation string        // one of the constants, or of [Through]
	Config    string        // the workspace file, absolute; one agent serves one file
	Identity  string        // of the [Place]; "" for a child, which has the caller's environment
	Timeout   time.Duration // how long the agent may take
	Payload   []byte        // a git-credential request
	Asker     int           // the calling process, if the agent cannot see it itself; else 0
}

// A Reply is what the calling program prints and its exit status.
type Reply struct {
	Exit   int
	Stdout []byte
	Stderr []byte
}

const (
	magic     = "gatepass/2"
	maxHeader = 8 << 10
	// noIdentity replaces an empty identity.
	noIdentity = "-"
	// MaxMessage is the largest message that either side reads, in bytes.
	MaxMessage = 2 << 20
)

var errWire = errors.New("the agent speaks another version of the protocol; stop it with gatepass agent stop")

// timeToAnswer returns how much of the caller's time the agent may use. The agent knows
// why there is no token, and its answer must arrive before the caller gives up.
func timeToAnswer(deadline time.Time) time.Duration {
	left := time.Until(deadline)
	return left - min(left/8, 500*time.Millisecond)
}

// AppendCall writes c in the form "gatepass/2 OPERATION TIMEOUT_MS ASKER LENGTH
// IDENTITY CONFIG\n", followed by the payload.
func AppendCall(b []byte, c Call) []byte {
	b = append(b, magic+" "+c.Operation+" "...)
	b = strconv.AppendInt(b, min(c.Timeout.Milliseconds(), math.MaxInt32), 10)
	b = strconv.AppendInt(append(b, ' '), int64(c.Asker), 10)
	b = strconv.AppendInt(append(b, ' '), int64(len(c.Payload)), 10)
	identity := c.Identity
	if identity == "" {
		identity = noIdentity
	}
	b = append(b, " "+identity+" "+c.Config+"\n"...)
	return append(b, c.Payload...)
}

// ParseCall reads the output of AppendCall. whole is false if data is only the start of
// a call.
func ParseCall(data []byte) (c Call, whole bool, err error) {
	header, payload, found, err := cutHeader(data)
	if err != nil || !found {
		return Call{}, false, err
	}
	f := strings.SplitN(header, " ", 7)
	if len(f) != 7 || f[0] != magic || strings.IndexByte(f[6], '/') != 0 {
		return Call{}, false, errWire
	}
	millis, err1 := strconv.ParseUint(f[2], 10, 31)
	asker, err2 := strconv.ParseUint(f[3], 10, 31)
	size, err3 := strconv.ParseUint(f[4], 10, 31)
	if err1 != nil || err2 != nil || err3 != nil || size > MaxMessage || len(payload) > int(size) {
		return Call{}, false, errWire
	}
	c = Call{Operation: f[1], Timeout: time.Duration(millis) * time.Millisecond, Asker: int(asker), Config: f[6], Payload: payload}
	if f[5] != noIdentity {
		c.Identity = f[5]
	}
	return c, len(payload) == int(size), nil
}

// AppendReply writes r in the form "gatepass/2 EXIT STDOUT_LENGTH STDERR_LENGTH\n",
// followed by the two texts.
func AppendReply(b []byte, r Reply) []byte {
	b = strconv.AppendInt(append(b, magic+" "...), int64(r.Exit), 10)
	b = strconv.AppendInt(append(b, ' '), int64(len(r.Stdout)), 10)
	b = strconv.AppendInt(append(b, ' '), int64(len(r.Stderr)), 10)
	b = append(append(b, '\n'), r.Stdout...)
	return append(b, r.Stderr...)
}

// ParseReply reads the output of AppendReply. whole is false if data is only the start
// of a reply.
func ParseReply(data []byte) (r Reply, whole bool, err error) {
	header, body, found, err := cutHeader(data)
	if err != nil || !found {
		return Reply{}, false, err
	}
	f := strings.Split(header, " ")
	if len(f) != 4 || f[0] != magic {
		return Reply{}, false, errWire
	}
	exit, err1 := strconv.ParseUint(f[1], 10, 7)
	out, err2 := strconv.ParseUint(f[2], 10, 31)
	errs, err3 := strconv.ParseUint(f[3], 10, 31)
	total := int(out + errs)
	if err1 != nil || err2 != nil || err3 != nil || total > MaxMessage || len(body) > total {
		return Reply{}, false, errWire
	}
	if len(body) < total {
		return Reply{}, false, nil
	}
	return Reply{Exit: int(exit), Stdout: body[:out], Stderr: body[out:]}, true, nil
}

func cutHeader(data []byte) (header string, rest []byte, found bool, err error) {
	for i, c := range data {
		if c == '\n' {
			return string(data[:i]), data[i+1:], true, nil
		}
		if i >= maxHeader || i < len(magic) && c != magic[i] {
			return "", nil, false, errWire
		}
	}
	return "", nil, false, nil
}
