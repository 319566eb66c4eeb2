package doctor

import (
	"strings"
	"testing"

	"github.com/gatepass/gatepass/credential/agent"
	"github.com/gatepass/gatepass/internal/version"
)

// An agent of the previous version goes on as that version.
func TestAnAgentOfTheVersionBeforeIsNamed(t *testing.T) {
	for name, c := range map[string]struct {
		agent agent.State
		level Level
		text  string
	}{
		"this version": {agent.State{PID: 7, Version: version.String()}, OK, "process 7, version " + version.String()},
		"replaced":     {agent.State{PID: 7, Version: version.String(), Program: "/bin/a", Replaced: true}, Warning, "/bin/a was replaced since"},
	} {
		if f := ageOf(c.agent); f.Level != c.level || !strings.Contains(f.Text, c.text) || (f.Mend == "") != (c.level == OK) {
			t.Errorf("%s: %+v, want %s and %q", name, f, c.level, c.text)
		}
	}
}
