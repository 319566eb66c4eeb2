package push

import (
	"slices"
	"strings"

	"github.com/gatepass/gatepass/broker/gateway/pktline"
	"github.com/gatepass/gatepass/hooks/refs"
)

// FastForwardOnly returns the indexes of the commands that change a branch which the policy
// lets be updated and not forced, whatever the command says of its old value. Whoever
// verifies pushes has the server refuse the forced ones among them.
//
// Commands that create or delete are not among them: a server refuses one whose old value
// is not the ref's, so they are what they say.
func (v *Verdict) FastForwardOnly() []int {
	var found []int
	for i, c := range v.Request.Commands {
		if u := c.Update(); u.Creates() || u.Deletes() || !strings.HasPrefix(c.Ref, heads) {
			continue
		}
		if !slices.ContainsFunc(v.policy.Matching(c.Ref), func(r *refs.Rule) bool { return r.Allows(refs.Force) }) {
			found = append(found, i)
		}
	}
	return found
}

// Quarantine has Head ask the server to create other refs, which are given by the index of
// a command, in place of what these commands change. The server then has their objects, and
// the refs of the commands are as they were.
func (v *Verdict) Quarantine(instead map[int]string) {
	forwarded := *v.Request
	forwarded.Commands = slices.Clone(v.Request.Commands)
	for i, ref := range instead {
		c := &forwarded.Commands[i]
		c.Old, c.Ref = strings.Repeat("0", len(c.Old)), ref
	}
	v.forwarded = &forwarded
}

// Forwarded returns the request that Head writes. The server's [Report] is on that one. Its
// commands have the order of the client's.
func (v *Verdict) Forwarded() *Request {
	if v.forwarded != nil {
		return v.forwarded
	}
	return v.Request
}

// Results returns the body of an answer that reports an outcome for every command of q, in
// their order. What is not [OK] is reported as refused, with its reason. The client shows
// the text behind "remote:".
func Results(q *Request, outcomes []Outcome, text string) []byte {
	report := pktline.Append(nil, "unpack ok\n")
	for i, c := range q.Commands {
		if outcomes[i].State == OK {
			report = pktline.Append(report, "ok "+c.Ref+"\n")
			continue
		}
		reason := outcomes[i].Reason
		if reason == "" {
			reason = "gatepass: no reason was given"
		}
		report = pktline.Append(report, "ng "+c.Ref+" "+line(reason)+"\n")
	}
	report = append(report, pktline.FlushPacket...)
	if !q.Capabilities.Has(SideBand64k) {
		return report
	}
	to := pktline.AppendBand(nil, pktline.Progress, []byte(text))
	to = pktline.AppendBand(to, pktline.Report, report)
	return append(to, pktline.FlushPacket...)
}

// A Progress is written the server's answer to q, and passes on what is text in it, with
// the names of refs replaced. What cannot be read is left out. Its error is that of to.
type Progress struct {
	feed pktline.Feed
	out  []byte // packets to pass on
	to   func([]byte) error
	has  bool
}

// NewProgress returns a Progress that calls to with whole packets. names has pairs of what
// the server calls a ref and what the client does.
func NewProgress(q *Request, names []string, to func([]byte) error) *Progress {
	p := &Progress{to: to, has: q.Capabilities.Has(SideBand64k)}
	client := strings.NewReplacer(names...)
	p.feed.Packet = func(kind pktline.Kind, payload []byte) error {
		if kind == pktline.Data && len(payload) > 0 && pktline.Band(payload[0]) != pktline.Report {
			p.out = pktline.AppendBand(p.out, pktline.Progress, []byte(client.Replace(string(payload[1:]))))
		}
		return nil
	}
	return p
}

// Write takes the next bytes of the answer.
func (p *Progress) Write(b []byte) (int, error) {
	if p.has {
		_, _ = p.feed.Write(b) // the Report says what is wrong with it
	}
	if len(p.out) == 0 {
		return len(b), nil
	}
	out := p.out
	p.out = nil
	return len(b), p.to(out)
}
