package push

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/broker/gateway/pktline"
	"github.com/gatepass/gatepass/hooks/refs"
)

func TestFastForwardOnly(t *testing.T) {
	policy := policyOf(t, entry("agent/**", "create", "update", "delete"), entry("agent/own/*", "force"), entry("both", "update", "force"), entry("refs/tags/*", "create", "update", "move"))
	for _, c := range []struct {
		commands []string
		want     []int
	}{
		{[]string{"update refs/heads/agent/x"}, []int{0}},
		{[]string{"create refs/heads/agent/x", "update refs/heads/agent/y", "delete refs/heads/agent/z", "update refs/heads/agent/a/b"}, []int{1, 3}},
		{[]string{"update refs/heads/agent/own/x"}, nil}, // permissions of several rules add up
		{[]string{"update refs/heads/both"}, nil},
		{[]string{"update refs/tags/v1"}, nil},
	} {
		v := Decide(t.Context(), refs.Guard{Policy: policy, Ancestry: FastForwards}, requestOf(c.commands...))
		if got := v.FastForwardOnly(); !v.Allowed() || !slices.Equal(got, c.want) {
			t.Errorf("FastForwardOnly of %q (allowed: %v) = %d, want %d", c.commands, v.Allowed(), got, c.want)
		}
	}
	// A client that claims that nothing changes is not believed.
	q := requestOf("update refs/heads/agent/x")
	q.Commands[0].New = q.Commands[0].Old
	if got := Decide(t.Context(), refs.Guard{Policy: policy, Ancestry: FastForwards}, q).FastForwardOnly(); len(got) != 1 {
		t.Errorf("FastForwardOnly of a command that changes nothing = %d, want it", got)
	}
}

func TestQuarantine(t *testing.T) {
	policy := policyOf(t, entry("**", "create", "update", "delete"))
	q := requestOf("create refs/heads/a", "update refs/heads/b", "delete refs/heads/c")
	q.Shallow = []string{oidX}
	v := Decide(t.Context(), refs.Guard{Policy: policy, Ancestry: FastForwards}, q)
	before := v.Head()
	v.Quarantine(map[int]string{1: "refs/gatepass/x-1"})
	got, err := ReadRequest(bytes.NewReader(append(v.Head(), emptyPack...)), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	want := []Command{q.Commands[0], {zero, oidY, "refs/gatepass/x-1"}, q.Commands[2]}
	if !slices.Equal(got.Commands, want) || !slices.Equal(got.Shallow, q.Shallow) || got.Capabilities != q.Capabilities {
		t.Errorf("Head has %+v, want the commands %v", got, want)
	}
	if !slices.Equal(v.Forwarded().Commands, want) || !bytes.Equal(v.Request.encode(), before) {
		t.Errorf("Forwarded = %v and Request = %v, want the one that is sent and the client's", v.Forwarded().Commands, v.Request.Commands)
	}
	v = Refuse(policy, q, "no")
	if v.Quarantine(map[int]string{0: "refs/gatepass/x-1"}); v.Head() != nil {
		t.Errorf("Head of a refused push = %q, want none", v.Head())
	}
}

func TestResults(t *testing.T) {
	q := requestOf("update refs/heads/a", "update refs/heads/b", "create refs/heads/c")
	q.Capabilities.flags = ReportStatus | SideBand64k
	results := []Outcome{{State: OK}, {State: Refused, Reason: "gatepass: no\x1b[1m\nok refs/heads/b"}, {}}
	want := pkts("unpack ok\n", "ok refs/heads/a\n", "ng refs/heads/b gatepass: no\\x1b[1m\\nok refs/heads/b\n", "ng refs/heads/c gatepass: no reason was given\n") + "0000"
	text := string(Results(q, results, "some\n"))
	if got := pkts("\x02some\n") + string(pktline.AppendBand(nil, pktline.Report, []byte(want))) + "0000"; got != text {
		t.Errorf("Results = %q, want %q", text, got)
	}
	// A reader of reports must read the same.
	if got := outcomes(q, text); got != `ok refused:gatepass: no\x1b[1m\nok refs/heads/b refused:gatepass: no reason was given` {
		t.Errorf("the report says %s", got)
	}
	q.Capabilities.flags = ReportStatus
	if got := string(Results(q, results, "some\n")); got != want {
		t.Errorf("Results without a side-band = %q, want %q", got, want)
	}
}

func TestProgress(t *testing.T) {
	q := requestOf("update refs/heads/a")
	q.Capabilities.flags = SideBand64k
	in := pkts("\x02to refs/gatepass/x-1\n", "\x01000eunpack ok\n", "\x02half of refs/gate", "\x02pass/x-1\n", "\x03fatal of refs/gatepass/x-1", "") + "0000"
	want := "to refs/heads/a\n|half of refs/gate|pass/x-1\n|fatal of refs/heads/a"
	for _, n := range []int{1, 7, 1000} {
		var got []string
		feed := &pktline.Feed{Packet: func(_ pktline.Kind, payload []byte) error { got = append(got, string(payload[1:])); return nil }}
		p := NewProgress(q, []string{"refs/gatepass/x-1", "refs/heads/a"}, func(b []byte) error { _, err := feed.Write(b); return err })
		for rest := in; rest != ""; rest = rest[min(n, len(rest)):] {
			if _, err := p.Write([]byte(rest[:min(n, len(rest))])); err != nil {
				t.Fatal(err)
			}
		}
		if text := strings.Join(got, "|"); text != want {
			t.Errorf("in pieces of %d: %q, want %q", n, text, want)
		}
	}
	q.Capabilities.flags = 0
	p := NewProgress(q, nil, func(b []byte) error { return fmt.Errorf("%q", b) })
	if _, err := p.Write([]byte(in)); err != nil {
		t.Errorf("without a side-band there is no text: %v", err)
	}
}
