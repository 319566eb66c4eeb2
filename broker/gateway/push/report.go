package push

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strings"

	"github.com/gatepass/gatepass/broker/gateway/pktline"
	"github.com/gatepass/gatepass/internal/redact"
)

// A State is the outcome of one command.
type State int

// The states that the server reported.
const (
	Unknown State = iota // not reported, or the report cannot be read
	OK                   // the ref has its new object
	Refused              // the server refused the command
	Failed               // the server could not read the pack
)

// String returns the state's name in the audit log.
func (s State) String() string {
	return [...]string{Unknown: "unknown", OK: "ok", Refused: "refused", Failed: "failed"}[s]
}

// An Outcome is what the server reported for one command.
type Outcome struct {
	Command Command
	State   State
	Reason  string // the server's text, as one line of about 400 bytes at most; empty for OK
}

// A Report reads the server's answer to a push while it is copied to the client. It is
// an io.Writer that never fails and buffers at most two packets.
//
// If the answer is incomplete or malformed anywhere, every outcome is [Unknown].
type Report struct {
	request  *Request
	outcomes map[string]*Outcome // by ref
	outer    *pktline.Feed       // parses the answer
	inner    *pktline.Feed       // parses the report inside it
	current  *Outcome            // of the last ok; option lines follow it
	unpacked string              // "", "ok", or why the pack could not be read
	ended    bool                // the report has ended
	closed   bool                // the side-band has ended
	broken   bool                // the answer is malformed
	code     string              // the check that GitHub names, such as "GH013"
	isSecret bool                // GitHub says that the push contains a secret
	tail     []byte              // the end of the text so far, in which a phrase may begin
}

// NewReport returns a Report for the answer to q.
func NewReport(q *Request) *Report {
	r := &Report{request: q, outcomes: make(map[string]*Outcome, len(q.Commands))}
	for _, c := range q.Commands {
		r.outcomes[c.Ref] = &Outcome{Command: c}
	}
	r.inner = &pktline.Feed{Packet: r.line}
	r.outer = r.inner
	if q.Capabilities.Has(SideBand64k) {
		r.outer = &pktline.Feed{Packet: r.band}
	}
	return r
}

// Write takes the next bytes of the answer.
func (r *Report) Write(p []byte) (int, error) {
	if _, err := r.outer.Write(p); err != nil {
		r.broken = true
	}
	return len(p), nil
}

// Outcomes returns the outcome of each command, in the request's order. Call it after
// the answer has ended.
func (r *Report) Outcomes() []Outcome {
	all := make([]Outcome, len(r.request.Commands))
	for i, c := range r.request.Commands {
		all[i] = Outcome{Command: c}
		if r.isComplete() {
			all[i] = *r.outcomes[c.Ref]
		}
	}
	return all
}

func (r *Report) isComplete() bool {
	hasBand := r.outer != r.inner
	return !r.broken && r.ended && r.closed == hasBand && !r.outer.Pending()
}

var errReport = errors.New("not the report of a push")

// band handles a packet of the side-band.
func (r *Report) band(kind pktline.Kind, payload []byte) error {
	switch {
	case r.closed:
		return errReport
	case kind == pktline.Flush:
		r.closed = true
		return nil
	case kind != pktline.Data || len(payload) == 0:
		return errReport
	}
	switch pktline.Band(payload[0]) {
	case pktline.Report:
		_, err := r.inner.Write(payload[1:])
		return err
	case pktline.Progress:
		r.progress(payload[1:])
		return nil
	}
	return errReport
}

// progress searches text that git prints after "remote: " for what GitHub refused. It
// may come in any pieces.
func (r *Report) progress(text []byte) {
	text = append(r.tail, text...)
	if found := githubCode.FindSubmatch(text); r.code == "" && found != nil {
		r.code = string(found[1])
	}
	r.isSecret = r.isSecret || bytes.Contains(text, secretText)
	r.tail = append(r.tail[:0], text[max(0, len(text)-len(secretText)):]...)
}

// secretText is part of GitHub's text about a push with a secret. The report itself
// only mentions a rule, as for other refusals.
var secretText = []byte("Push cannot contain secrets")

// githubCode matches GitHub's name for the check that refused a push, in text that git
// prints after "remote: "
// (https://docs.github.com/en/repositories/working-with-files/managing-large-files/about-large-files-on-github,
// https://docs.github.com/en/code-security/secret-scanning/working-with-secret-scanning-and-push-protection).
var githubCode = regexp.MustCompile(`\b(GH0[0-9]{2}):`)

// Class returns which of GitHub's checks refused o: workflow, ruleset, secret, size, or
// "" for another.
func (r *Report) Class(o Outcome) string {
	switch {
	case o.State != Refused:
		return ""
	case strings.HasPrefix(o.Reason, "refusing to allow") && strings.Contains(o.Reason, "workflow"):
		return "workflow"
	case strings.Contains(o.Reason, "secret") || r.code == "GH009" || r.isSecret:
		return "secret"
	case strings.Contains(o.Reason, "rule violations") || r.code == "GH013" || r.code == "GH006":
		return "ruleset"
	case r.code == "GH001":
		return "size"
	}
	return ""
}

// line handles a packet of the report.
func (r *Report) line(kind pktline.Kind, payload []byte) error {
	switch {
	case r.ended:
		return errReport
	case kind == pktline.Flush:
		r.ended = true
		return nil
	case kind != pktline.Data:
		return errReport
	}
	word, rest, _ := strings.Cut(strings.TrimSuffix(string(payload), "\n"), " ")
	if (word == "unpack") != (r.unpacked == "") || rest == "" {
		return errReport // unpack must be the first line, and come once
	}
	switch word {
	case "unpack":
		r.unpacked = rest
		return nil
	case "ok":
		return r.ok(rest)
	case "ng":
		return r.refused(rest)
	case "option":
		return r.option(rest)
	}
	return errReport
}

func (r *Report) ok(ref string) error {
	o, err := r.outcome(ref)
	if err != nil || r.unpacked != "ok" {
		return errReport
	}
	o.State, r.current = OK, o
	return nil
}

func (r *Report) refused(rest string) error {
	ref, reason, _ := strings.Cut(rest, " ")
	o, err := r.outcome(ref)
	if err != nil {
		return err
	}
	o.State, o.Reason, r.current = Refused, shown(reason), nil
	if r.unpacked != "ok" {
		o.State, o.Reason = Failed, shown("unpack "+r.unpacked+": "+reason)
	}
	return nil
}

// outcome returns the outcome of a ref that was requested and has not been reported
// yet.
func (r *Report) outcome(ref string) (*Outcome, error) {
	o := r.outcomes[ref]
	if o == nil || o.State != Unknown || o.Reason != "" {
		return nil, errReport
	}
	return o, nil
}

// option handles what report-status-v2 adds to an ok. If the server did something other
// than the command, the outcome becomes Unknown.
func (r *Report) option(rest string) error {
	if r.current == nil || !r.request.Capabilities.Has(ReportStatusV2) {
		return errReport
	}
	name, value, _ := strings.Cut(rest, " ")
	c := r.current.Command
	same := map[string]string{"refname": c.Ref, "old-oid": c.Old, "new-oid": c.New, "forced-update": ""}
	if want, ok := same[name]; !ok || want != value {
		r.current.State = Unknown
		r.current.Reason = shown("the server did something else: option " + rest)
	}
	return nil
}

// shown returns a text by the server that is safe for a log.
func shown(text string) string { return line(redact.Text(text, maxReason)) }

// workflowNote explains what GitHub's own text does not: GitHub counts files that the
// branch lacks as changed, so it refuses pushes that touch no workflow.
const workflowNote = "gatepass: GitHub requires the permission workflows for this push. If you changed no file below .github/workflows, the branch has old workflow files: rebase it on the default branch. " +
	"Otherwise ask for the verb workflow in the workspace's profile\n"

// Note returns a line for the client about GitHub's refusal, or "" if GitHub's own text
// is enough. It can be called before the answer ends.
func (r *Report) Note() string {
	for _, o := range r.outcomes {
		if r.Class(*o) == "workflow" {
			return workflowNote
		}
	}
	return ""
}

// WithNote returns the server's answer with [Report.Note] inserted before its end, if
// the client has a side-band. The caller must write what it reads to r. The rest of the
// answer is unchanged.
func (r *Report) WithNote(answer io.Reader) io.Reader {
	if !r.request.Capabilities.Has(SideBand64k) {
		return answer
	}
	return &noted{from: answer, r: r}
}

// A noted is an answer whose last bytes are held back until it is known that they are
// the last.
type noted struct {
	from io.Reader
	r    *Report
	held [len(pktline.FlushPacket)]byte
	n    int    // bytes in held
	end  []byte // bytes to return after from has ended
	err  error  // from's end
}

func (t *noted) Read(p []byte) (int, error) {
	if len(p) < 2*len(t.held) {
		return 0, io.ErrShortBuffer
	}
	for t.err == nil {
		copy(p, t.held[:t.n])
		n, err := t.from.Read(p[t.n:])
		n += t.n
		t.n = min(n, len(t.held))
		copy(t.held[:], p[n-t.n:n])
		t.err = err
		if given := n - t.n; given > 0 {
			return given, nil
		}
	}
	if t.n > 0 {
		t.end = t.held[:t.n]
		t.n = 0
		if note := t.r.Note(); note != "" && errors.Is(t.err, io.EOF) && string(t.end) == pktline.FlushPacket {
			t.end = append(pktline.AppendBand(nil, pktline.Progress, []byte(note)), t.end...)
		}
	}
	n := copy(p, t.end)
	if t.end = t.end[n:]; n > 0 {
		return n, nil
	}
	return 0, t.err
}
