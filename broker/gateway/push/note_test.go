package push

import (
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/gatepass/gatepass/broker/gateway/pktline"
)

// GitHub's answers as they are seen, each line of which reaches the client as it is.
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
