package push

import (
	"io"
	"strings"

	"github.com/gatepass/gatepass/broker/gateway/pktline"
	"github.com/gatepass/gatepass/hooks/refs"
	"github.com/gatepass/gatepass/internal/usererr"
)

const (
	maxReason = 400 // bytes of a reason, before the mark that it goes on
	maxListed = 12  // rules that the answer names
)

// Answer writes the body of the answer to a refused push, of type
// application/x-git-receive-pack-result and with status 200, in one write. git prints
// "! [remote rejected] REF (gatepass: REASON)" for every ref, and lists behind "remote:"
// the refs that may be pushed.
//
// Read the request to its end first: a client that is still sending does not read the
// answer. Check [Request.CanReport] first, too.
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

// reason is what git prints behind a ref.
func (v *Verdict) reason(i int) string {
	if v.Reasons == nil {
		return "gatepass: no decision was made on this push"
	}
	return "gatepass: " + line(v.Reasons[i])
}

// line returns text as one line that is not too long.
func line(text string) string {
	text = usererr.Escape(text)
	if short := usererr.Cut(text, maxReason); short != text {
		return short + "…"
	}
	return text
}

// text is what git prints behind "remote: ".
func (v *Verdict) text() string {
	const refused = "gatepass: this push is refused as a whole; nothing of it was forwarded\n"
	rules := v.policy.Rules()
	if len(rules) == 0 {
		return refused + "gatepass: nothing may be pushed from here\n"
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

// KeepAlive returns bytes to send every few seconds in front of an answer while the request
// is drained, so that no proxy closes the connection as idle. It is nil if the client has no
// side-band; send nothing then.
func (q *Request) KeepAlive() []byte {
	if !q.Capabilities.Has(SideBand64k) {
		return nil
	}
	return []byte(pktline.KeepAlive)
}
