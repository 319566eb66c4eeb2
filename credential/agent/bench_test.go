package agent

import (
	"os"
	"strings"
	"testing"
)

// Each question of git looks up the place of the agent.
func BenchmarkLocate(b *testing.B) {
	b.Setenv("XDG_RUNTIME_DIR", b.TempDir())
	b.Setenv("AWS_SESSION_TOKEN", strings.Repeat("x", 1000))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Locate("/etc/gatepass/workspace.yaml", os.Getenv); err != nil {
			b.Fatal(err)
		}
	}
}
