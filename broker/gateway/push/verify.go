package push

import (
	"slices"
	"strings"

	"github.com/gatepass/gatepass/broker/gateway/pktline"
	"github.com/gatepass/gatepass/hooks/refs"
)

// FastForwardOnly returns the indexes of the commands that change a branch which the
// policy allows to update but not to force, whatever old value the command states. To
// verify the push, make the server refuse those of them that are not fast-forwards.
//
// Commands that create or delete are not among them: the server refuses such a command
// if its old value is wrong, so they can be trusted.
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

// Quarantine makes Head create other refs instead of changing those of some commands.
// instead has the other ref by the command's index. The server then gets the objects,
// and the commands' own refs stay as they are.
func (v *Verdict) Quarantine(instead map[int]string) {
	forwarded := *v.Request
	forwarded.Commands = slices.Clone(v.Request.Commands)
	for i, ref := range instead {
		c := &forwarded.Commands[i]
		c.Old, c.Ref = strings.Repeat("0", len(c.Old)), ref
	}
	v.forwarded = &forwarded
}

// Forwarded returns the request that Head writes. The server's [Report] is about it.
// Its commands are in the client's order.
func (v *Verdict) Forwarded() *Request {
	if v.forwarded != nil {
		return v.forwarded
	}
	return v.Request
}

// Results returns the body of an answer that reports an outcome for every command of q,
// in order. An outcome other than [OK] is reported as refused, with its reason. The
// client prints text after "remote:".
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

// A Progress reads the server's answer to q and passes on its text, with the names of
// refs replaced. It drops what it cannot read. Write's error is that of to.
type Progress struct {
	feed pktline.Feed
	out  []byte // packets to pass on
	to   func([]byte) error
	has  bool
}

// NewProgress returns a Progress that calls to with whole packets. names has pairs: a
// ref's name at the server, and its name for the client.
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
		_, _ = p.feed.Write(b) // the Report has the error, too
	}
	if len(p.out) == 0 {
		return len(b), nil
	}
	out := p.out
	p.out = nil
	return len(b), p.to(out)
}
