package docstest

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	demoPort   = regexp.MustCompile(`localhost:[0-9]+`)
	demoFolder = regexp.MustCompile(`gatepass-demo-[0-9]+`)
)

// TestTheTranscript holds the transcript of the README against what gatepass demo shows:
// each of its lines, in their order.
func TestTheTranscript(t *testing.T) {
	if testing.Short() {
		t.Skip("plays the whole demo")
	}
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), filepath.Join(programs(t), "gatepass"), "demo")
	cmd.Env = append(cmd.Environ(), "NO_COLOR=1", "TMPDIR=/tmp")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("gatepass demo: %v\n%s", err, out)
	}
	shown := demoFolder.ReplaceAllString(demoPort.ReplaceAllString(string(out), "localhost:39483"), "gatepass-demo")
	_, page, ok := strings.Cut(read(t, "README.md"), "```console\n")
	transcript, _, end := strings.Cut(page, "```\n")
	if !ok || !end || strings.Count(transcript, "\n") < 8 {
		t.Fatal("the README has no transcript")
	}
	rest := shown
	for line := range strings.Lines(transcript) {
		_, after, found := strings.Cut(rest, "\n"+line)
		if !found {
			t.Fatalf("%q does not come next in what gatepass demo shows:\n%s", line, rest)
		}
		rest = "\n" + after
	}
}
