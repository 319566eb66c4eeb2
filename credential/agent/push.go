package agent

import (
	"strings"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"
)

// A PushReport is the guard's report of a push that it refused; see [PushRefused].
type PushReport struct {
	Host    string // canonical
	Repo    string // "owner/name"
	Updates []PushUpdate
}

// A PushUpdate is one ref of a refused push. Its texts have no control
// characters.
type PushUpdate struct {
	Action string // create, update, force, delete, move or unknown
	Ref    string // in full
	Reason string
}

// MaxPushUpdates is the largest number of refs in a report.
const MaxPushUpdates = 32

// AppendPush writes p in lines that are unlike those of a git-credential request, so
// that an agent that does not know the operation ignores them.
//
//	repository HOST OWNER/NAME
//	update ACTION REF REASON
func AppendPush(b []byte, p PushReport) []byte {
	b = append(b, "repository "+p.Host+" "+p.Repo+"\n"...)
	for _, u := range p.Updates {
		b = append(b, "update "+u.Action+" "+u.Ref+" "+u.Reason+"\n"...)
	}
	return b
}

// ParsePush reads the output of AppendPush. ok is false for anything else. It does not
// check the content of the texts.
func ParsePush(data []byte) (p PushReport, ok bool) {
	if !utf8.Valid(data) {
		return PushReport{}, false
	}
	text, ok := strings.CutSuffix(string(data), "\n")
	head, rest, hasUpdates := strings.Cut(text, "\n")
	words := strings.Split(head, " ")
	if !ok || !hasUpdates || len(words) != 3 || words[0] != "repository" || !isPlain(words[1]) || !isPlain(words[2]) {
		return PushReport{}, false
	}
	p.Host, p.Repo = words[1], words[2]
	for line := range strings.SplitSeq(rest, "\n") {
		words := strings.SplitN(line, " ", 4)
		if len(p.Updates) == MaxPushUpdates || len(words) != 4 || words[0] != "update" || !isPlain(words[1]) || !isPlain(words[2]) || !isPlain(words[3]) {
			return PushReport{}, false
		}
		p.Updates = append(p.Updates, PushUpdate{Action: words[1], Ref: words[2], Reason: words[3]})
	}
	return p, true
}

func isPlain(s string) bool { return s != "" && !strings.ContainsFunc(s, unicode.IsControl) }

// Notify makes a call without waiting for an answer. It does nothing if no agent runs. It
// returns before the deadline or soon after, whatever the agent does.
func Notify(c Call, getenv func(string) string, deadline time.Time) error {
	if strings.ContainsAny(c.Config, "\n\r\x00") {
		return errWire
	}
	place, err := Locate(c.Config, getenv)
	if err != nil {
		return err
	}
	c.Identity = place.Identity
	fd, err := dial(place.Socket, deadline)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	c.Timeout = timeToAnswer(deadline)
	data := AppendCall(make([]byte, 0, 512+len(c.Payload)), c)
	for len(data) > 0 {
		if err := limit(fd, deadline); err != nil { // each write needs a new timeout
			return err
		}
		n, err := syscall.Write(fd, data)
		if err != nil && err != syscall.EINTR {
			return connectionError(err)
		}
		data = data[max(n, 0):]
	}
	return nil
}
