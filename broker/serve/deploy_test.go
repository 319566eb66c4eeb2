package serve

import (
	"strings"
	"testing"

	"github.com/gatepass/gatepass/broker/config"
	"github.com/gatepass/gatepass/deploy"
)

// The units start the program with valid options, and their socket can be configured.
func TestTheUnits(t *testing.T) {
	starts, sockets := 0, 0
	for _, name := range []string{"gatepass-broker.service", "gatepass-broker.socket"} {
		text, err := deploy.Files.ReadFile("systemd/" + name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			switch key {
			case "ExecStart", "ExecStartPre":
				starts++
				args := strings.Fields(value)
				o, err := parse(args[1:])
				if err != nil || args[0] != "/usr/local/bin/gatepass-broker" || o.check != (key == "ExecStartPre") || o.config != config.DefaultPath {
					t.Errorf("%s: %s: %+v, %v", name, line, o, err)
				}
			case "ListenStream":
				sockets++
				if err := config.CheckListen("unix://" + value); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			case "PrivateUsers":
				t.Errorf("%s hides who calls: %s", name, line)
			}
		}
	}
	if starts != 2 || sockets != 1 {
		t.Errorf("the units start the program %d times and open %d sockets", starts, sockets)
	}
}
