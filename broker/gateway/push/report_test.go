package push

import (
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/gatepass/gatepass/broker/gateway/pktline"
)

// banded puts a report into the side-band, in pieces of n bytes, with text in between.
func banded(report string, n int) string {
	to := pktline.AppendBand(nil, pktline.Progress, []byte("remote: ok refs/heads/a\n"))
	for len(report) > 0 {
		piece := report[:min(n, len(report))]
		to = pktline.AppendBand(to, pktline.Report, []byte(piece))
		to = append(to, pktline.KeepAlive...)
		report = report[len(piece):]
	}
	return string(to) + "0000"
}

func TestReport(t *testing.T) {
	const none = "unknown unknown"
	for _, c := range []struct{ name, in, want string }{
		{"both moved", pkts("unpack ok\n", "ok refs/heads/a\n", "ok refs/heads/b\n") + "0000", "ok ok"},
		{"without line breaks", pkts("unpack ok", "ok refs/heads/b", "ok refs/heads/a") + "0000", "ok ok"},
		{"one refused", pkts("unpack ok\n", "ok refs/heads/a\n", "ng refs/heads/b protected branch hook declined\n") + "0000", "ok refused:protected branch hook declined"},
		{"refused without a reason", pkts("unpack ok\n", "ok refs/heads/a\n", "ng refs/heads/b\n") + "0000", "ok refused:"},
		{"no pack", pkts("unpack index-pack abnormal exit\n", "ng refs/heads/a unpacker error\n", "ng refs/heads/b unpacker error\n") + "0000", "failed:unpack index-pack abnormal exit: unpacker error failed:unpack index-pack abnormal exit: unpacker error"},
		{"options that say the same", pkts("unpack ok\n", "ok refs/heads/a\n", "option refname refs/heads/a\n", "option new-oid "+oidY+"\n", "option forced-update\n", "ok refs/heads/b\n") + "0000", "ok ok"},
		{"another ref moved", pkts("unpack ok\n", "ok refs/heads/a\n", "option refname refs/heads/main\n", "ok refs/heads/b\n") + "0000", "unknown:the server did something else: option refname refs/heads/main ok"},
		{"another object", pkts("unpack ok\n", "ok refs/heads/a\n", "option new-oid "+oidX+"\n", "ok refs/heads/b\n") + "0000", "unknown:the server did something else: option new-oid " + oidX + " ok"},
		{"one not mentioned", pkts("unpack ok\n", "ok refs/heads/a\n") + "0000", "ok unknown"},
		{"an escape in a reason", pkts("unpack ok\n", "ng refs/heads/a x\x1b[1m\n", "ok refs/heads/b\n") + "0000", `refused:x\x1b[1m ok`},

		{"a token in a reason", pkts("unpack ok\n", "ng refs/heads/a no ghs_"+strings.Repeat("x", 36)+"\n", "ok refs/heads/b\n") + "0000", `refused:no [redacted] ok`},

		{"nothing", "", none},
		{"an end and nothing else", "0000", none},
		{"no end", pkts("unpack ok\n", "ok refs/heads/a\n"), none},
		{"half a line", pkts("unpack ok\n", "ok refs/heads/a\n") + "00", none},
		{"no unpack", pkts("ok refs/heads/a\n", "ok refs/heads/b\n") + "0000", none},
		{"unpack twice", pkts("unpack ok\n", "unpack ok\n", "ok refs/heads/a\n") + "0000", none},
		{"ok without its pack", pkts("unpack no\n", "ok refs/heads/a\n") + "0000", none},
		{"a ref twice", pkts("unpack ok\n", "ng refs/heads/a x\n", "ok refs/heads/a\n") + "0000", none},
		{"a ref that was not asked for", pkts("unpack ok\n", "ok refs/heads/a\n", "ok refs/heads/c\n") + "0000", none},
		{"a ref again after other options", pkts("unpack ok\n", "ok refs/heads/a\n", "option fall-through\n", "ok refs/heads/a\n") + "0000", none},
		{"an option of nothing", pkts("unpack ok\n", "option refname x\n", "ok refs/heads/a\n") + "0000", none},
		{"an option of a refusal", pkts("unpack ok\n", "ng refs/heads/a x\n", "option refname x\n") + "0000", none},
		{"an unknown line", pkts("unpack ok\n", "maybe refs/heads/a\n") + "0000", none},
		{"a special packet", pkts("unpack ok\n", "ok refs/heads/a\n") + "0001" + "0000", none},
		{"more behind the end", pkts("unpack ok\n", "ok refs/heads/a\n") + "0000" + "0000", none},
		{"no packets", "<html>502 Bad Gateway</html>", none},
		{"an error packet", pkts("ERR no") + "0000", none},
	} {
		q := requestOf("update refs/heads/a", "update refs/heads/b")
		for _, flags := range []Capability{ReportStatusV2, ReportStatusV2 | SideBand64k} {
			q.Capabilities.flags = flags
			texts := []string{c.in}
			if flags&SideBand64k != 0 {
				texts = []string{banded(c.in, 1), banded(c.in, 7), banded(c.in, 60000)}
			}
			for _, text := range texts {
				if got := outcomes(q, text); got != c.want {
					t.Errorf("%s: outcomes = %q, want %q", c.name, got, c.want)
				}
			}
		}
	}
}

// Which of GitHub's checks refused a push, by GitHub's observed texts.
func TestClass(t *testing.T) {
	for _, c := range []struct{ name, reason, progress, want string }{
		{"a workflow file", "refusing to allow a GitHub App to create or update workflow `.github/workflows/x.yml` without `workflows` permission", "", "workflow"},
		{"a ruleset", "push declined due to repository rule violations", "error: GH013: Repository rule violations found for refs/heads/a.\n", "ruleset"},
		{"a protected branch", "protected branch hook declined", "error: GH006: Protected branch update failed for refs/heads/a.\n", "ruleset"},
		{"a secret", "push declined due to a detected secret", "error: GH009: Secrets detected! This push failed.\n", "secret"},
		{"a secret, by a rule", "push declined due to repository rule violations", "error: GH013: Repository rule violations found for refs/heads/a.\n- GITHUB PUSH PROTECTION\n    - Push cannot contain secrets\n", "secret"},
		{"a large file", "pre-receive hook declined", "error: GH001: Large files detected.\n", "size"},
		{"another reason", "pre-receive hook declined", "error: no\n", ""},
		{"a code in a name", "pre-receive hook declined", "branch XGH0131:\n", ""},
		{"a code in another name", "pre-receive hook declined", "branch GH013\n", ""},
	} {
		for _, size := range []int{len(c.progress) + 1, 7} { // size of the pieces of text
			q := requestOf("update refs/heads/a")
			q.Capabilities.flags = ReportStatus | SideBand64k
			r := NewReport(q)
			for piece := range slices.Chunk([]byte(c.progress), size) {
				_, _ = r.Write(pktline.AppendBand(nil, pktline.Progress, piece))
			}
			_, _ = r.Write([]byte(banded(pkts("unpack ok\n", "ng refs/heads/a "+c.reason+"\n")+"0000", 60000)))
			if got := r.Class(r.Outcomes()[0]); got != c.want {
				t.Errorf("%s, in pieces of %d: Class = %q, want %q", c.name, size, got, c.want)
			}
		}
	}
}

func TestReportInABandThatIsNotWhole(t *testing.T) {
	q := requestOf("update refs/heads/a")
	good := banded(pkts("unpack ok\n", "ok refs/heads/a\n")+"0000", 7)
	for _, c := range []struct{ name, in, want string }{
		{"whole", good, "ok"},
		{"without its end", strings.TrimSuffix(good, "0000"), "unknown"},
		{"with an error in front", pkts("\x03died") + good, "unknown"},
		{"with an unknown band", pkts("\x04x") + good, "unknown"},
		{"with an empty packet", "0004" + good, "unknown"},
		{"with more behind it", good + pkts("\x02x"), "unknown"},
		{"without a band", pkts("unpack ok\n", "ok refs/heads/a\n") + "0000", "unknown"},
	} {
		if got := outcomes(q, c.in); got != c.want {
			t.Errorf("%s: outcomes = %q, want %q", c.name, got, c.want)
		}
	}
}

// outcomes feeds an answer to a Report, in small pieces, and returns the outcomes.
func outcomes(q *Request, answer string) string {
	r := NewReport(q)
	for len(answer) > 0 {
		n, _ := r.Write([]byte(answer[:min(5, len(answer))]))
		answer = answer[n:]
	}
	return texts(r.Outcomes())
}

// texts returns outcomes as text, in the order of their commands.
func texts(outcomes []Outcome) string {
	var all []string
	for _, o := range outcomes {
		text := o.State.String()
		if o.Reason != "" || o.State == Refused {
			text += ":" + o.Reason
		}
		all = append(all, text)
	}
	return strings.Join(all, " ")
}

// Whatever a server answers, a ref is OK only if the answer contains an ok with its
// name.
func FuzzReport(f *testing.F) {
	whole := pkts("unpack ok\n", "ok refs/heads/a\n", "ng refs/heads/b no\n") + "0000"
	f.Add([]byte(whole), false)
	f.Add([]byte(banded(whole, 9)), true)
	f.Add([]byte(pkts("unpack ok\n", "ok refs/heads/a\n", "option refname refs/heads/b\n")+"0000"), false)
	f.Fuzz(func(t *testing.T, answer []byte, band bool) {
		q := requestOf("update refs/heads/a", "update refs/heads/b")
		q.Capabilities.flags = ReportStatusV2
		if band {
			q.Capabilities.flags |= SideBand64k
		}
		r := NewReport(q)
		_, _ = r.Write(answer)
		text := string(answer)
		if band {
			text = clientBand(text)
		}
		for _, o := range r.Outcomes() {
			if o.State == OK && !clientLines(text)["ok "+o.Command.Ref] {
				t.Errorf("%s is OK, and the client is not told so by %q", o.Command.Ref, answer)
			}
		}
	})
}

// clientBand returns what a client without checks takes for the report.
func clientBand(text string) string {
	var report strings.Builder
	for _, packet := range clientPackets(text) {
		if strings.HasPrefix(packet, "\x01") {
			report.WriteString(packet[1:])
		}
	}
	return report.String()
}

func clientLines(report string) map[string]bool {
	lines := map[string]bool{}
	for _, packet := range clientPackets(report) {
		lines[strings.TrimSuffix(packet, "\n")] = true
	}
	return lines
}

// clientPackets parses packets with strconv, independently of package pktline.
func clientPackets(text string) (packets []string) {
	for len(text) >= 4 {
		n, err := strconv.ParseUint(text[:4], 16, 16)
		if err != nil || int(n) > len(text) {
			return packets
		}
		if n < 4 {
			text = text[4:]
			continue
		}
		packets, text = append(packets, text[4:n]), text[n:]
	}
	return packets
}

// GitHub's observed answers. The client gets each line unchanged.
func TestNotes(t *testing.T) {
	const (
		workflow = "refusing to allow a GitHub App to create or update workflow `.github/workflows/x.yml` without `workflows` permission"
		ruleset  = "push declined due to repository rule violations"
		rules    = "error: GH013: Repository rule violations found for refs/heads/a.\n\nReview all repository rules at https://github.com/acme/widgets/rules?ref=refs%2Fheads%2Fa\n\n- Cannot update this protected ref.\n\n"
	)
	answer := func(progress, line string) string {
		return string(pktline.AppendBand(nil, pktline.Progress, []byte(progress))) + banded(pkts("unpack ok\n", line+"\n")+"0000", 60000)
	}
	end := "0000"
	note := string(pktline.AppendBand(nil, pktline.Progress, []byte(workflowNote)))
	for _, c := range []struct {
		name, in, want string
		flags          Capabilities
	}{
		{"a workflow", answer("", "ng refs/heads/a "+workflow), strings.TrimSuffix(answer("", "ng refs/heads/a "+workflow), end) + note + end, Capabilities{flags: ReportStatus | SideBand64k}},
		{"a ruleset, with its links", answer(rules, "ng refs/heads/a "+ruleset), answer(rules, "ng refs/heads/a "+ruleset), Capabilities{flags: ReportStatus | SideBand64k}},
		{"a push that worked", answer("", "ok refs/heads/a"), answer("", "ok refs/heads/a"), Capabilities{flags: ReportStatus | SideBand64k}},
		{"a workflow, without its end", strings.TrimSuffix(answer("", "ng refs/heads/a "+workflow), end), strings.TrimSuffix(answer("", "ng refs/heads/a "+workflow), end), Capabilities{flags: ReportStatus | SideBand64k}},
		{"a workflow, without a side-band", pkts("unpack ok\n", "ng refs/heads/a "+workflow+"\n") + end, pkts("unpack ok\n", "ng refs/heads/a "+workflow+"\n") + end, Capabilities{flags: ReportStatus}},
		{"nothing", "", "", Capabilities{flags: ReportStatus | SideBand64k}},
		{"less than a packet", "00", "00", Capabilities{flags: ReportStatus | SideBand64k}},
	} {
		for name, slow := range map[string]func(io.Reader) io.Reader{"at once": func(r io.Reader) io.Reader { return r }, "by bytes": iotest.OneByteReader, "with its end": iotest.DataErrReader} {
			q := requestOf("update refs/heads/a")
			q.Capabilities.flags = c.flags.flags
			r := NewReport(q)
			got, err := io.ReadAll(io.TeeReader(r.WithNote(slow(strings.NewReader(c.in))), r))
			if err != nil || string(got) != c.want {
				t.Errorf("%s, %s: the client reads %q, %v, want %q", c.name, name, got, err, c.want)
			}
			if strings.HasSuffix(c.in, end) && r.Outcomes()[0].State == Unknown {
				t.Errorf("%s, %s: the outcome is unknown", c.name, name)
			}
		}
	}
	r := NewReport(requestOf("update refs/heads/a"))
	broken := iotest.TimeoutReader(iotest.OneByteReader(strings.NewReader("0123456789")))
	r.request.Capabilities.flags = SideBand64k
	if got, err := io.ReadAll(r.WithNote(broken)); err == nil || string(got) != "0" {
		t.Errorf("an answer that breaks off: %q, %v, want what came and the error", got, err)
	}
}
