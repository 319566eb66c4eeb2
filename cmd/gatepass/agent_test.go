package main

import (
	"strings"
	"testing"

	"github.com/gatepass/gatepass/credential/agent"
)

func TestStatusNamesAnAgentOfTheVersionBefore(t *testing.T) {
	for name, c := range map[string]struct {
		agent agent.State
		want  string
	}{
		"replaced":     {agent.State{Version: "(devel)", Program: "/bin/a", Replaced: true}, "warning: /bin/a was replaced; this agent is still of the version before\n"},
		"this version": {agent.State{Version: "(devel)"}, ""},
	} {
		var out strings.Builder
		w := &app{stdout: &out}
		if err := w.printAgent(c.agent); err != nil || !strings.Contains(out.String(), c.want) || c.want == "" && strings.Contains(out.String(), "warning") {
			t.Errorf("%s: %q, %v, want %q", name, &out, err, c.want)
		}
	}
}
