package push

import (
	"io"
	"strings"

	"github.com/gatepass/gatepass/broker/gateway/pktline"
	"github.com/gatepass/gatepass/hooks/refs"
	"github.com/gatepass/gatepass/internal/usererr"
)

const (
	maxReason = 400 // bytes of a reason, without the mark that it was cut
	maxListed = 12  // rules that the answer lists
)

// Answer writes the body of the answer to a refused push, in one write. Its type is
// application/x-git-receive-pack-result, its status 200. git prints "! [remote
// rejected] REF (gatepass: REASON)" for every ref, and after "remote:" the refs that
// may be pushed.
//
// Check [Request.CanReport] and read the request to its end first: a client that is
// still sending does not read the answer.
func (v *Verdict) Answer(w io.Writer) error {
	_, err := w.Write(v.answer())
	return err
}

func (v *Verdict) answer() []byte {
	report := pktline.Append(nil, "unpack ok\n")
	for i, c := range v.Request.Commands {
		report = pktline.Append(report, "ng "+c.Ref+" "+v.reason(i)+"\n")
	}
	report = append(report, pktline.FlushPacket...)
	if !v.Request.Capabilities.Has(SideBand64k) {
		return report
	}
	to := pktline.AppendBand(nil, pktline.Progress, []byte(v.text()))
	to = pktline.AppendBand(to, pktline.Report, report)
	return append(to, pktline.FlushPacket...)
}

// reason returns what git prints after a ref.
func (v *Verdict) reason(i int) string {
	if v.Reasons == nil {
		return "gatepass: no decision was made on this push"
	}
	return "gatepass: " + line(v.Reasons[i])
}

// line returns text as one line of limited length.
func line(text string) string {
	text = usererr.Escape(text)
	if short := usererr.Cut(text, maxReason); short != text {
		return short + "…"
	}
	return text
}

// text returns what git prints after "remote: ".
func (v *Verdict) text() string {
	const refused = "gatepass: the whole push is refused; nothing was forwarded\n"
	rules := v.policy.Rules()
	if len(rules) == 0 {
		return refused + "gatepass: this workspace may not push anything\n"
	}
	listed := make([]string, min(len(rules), maxListed))
	for i := range listed {
		listed[i] = line(rules[i].String())
	}
	if len(rules) > maxListed {
		listed = append(listed, "…")
	}
	text := refused + "gatepass: allowed: " + strings.Join(listed, ", ") + "\n"
	if example := example(v.policy); example != "" {
		text += "gatepass: for example: git push origin HEAD:" + usererr.Quote(example) + "\n"
	}
	return text
}

// example returns a branch that may be created, or "".
func example(policy *refs.Policy) string {
	names := namesFor(policy, nil)
	for _, rule := range policy.Rules() {
		ref := strings.NewReplacer("**", "work", "*", "work", "?", "x").Replace(rule.Full)
		if !strings.HasPrefix(ref, heads) || !rule.Allows(refs.Create) || names.check(ref) != "" {
			continue
		}
		if _, err := policy.Check(ref, refs.Create); err == nil {
			return ref
		}
	}
	return ""
}

// KeepAlive returns bytes to send every few seconds before an answer, while the request
// is drained, so that no proxy closes the connection as idle. If it is nil, the client
// has no side-band: send nothing.
func (q *Request) KeepAlive() []byte {
	if !q.Capabilities.Has(SideBand64k) {
		return nil
	}
	return []byte(pktline.KeepAlive)
}
