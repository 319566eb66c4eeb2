package push

import (
	"errors"
	"io"

	"github.com/gatepass/gatepass/broker/gateway/pktline"
)

// workflowNote explains what GitHub's own text does not: GitHub counts files that the
// branch lacks as changed, so it refuses pushes that touch no workflow.
const workflowNote = "gatepass: GitHub wants the permission workflows for this push. If you changed no file below .github/workflows, the branch lacks newer ones: rebase it on the default branch. " +
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
