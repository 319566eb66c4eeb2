package workspace

import (
	"strings"
	"testing"

	"github.com/gatepass/gatepass/workspace/profile"
)

func TestWhatKMAllowedAndGatepassDoesNot(t *testing.T) {
	for text, want := range map[string]string{
		"spec: {sourceAccess: {github: {allowedRepos: [a/b]}}}":                               "no allowedRefs",
		"spec: {sourceAccess: {github: {allowedRepos: [a/b], allowedRefs: [\"release/*\"]}}}": "release/* stays",
		"spec: {sourceAccess: {github: {allowedRepos: [a/b], allowedRefs: [main]}}}":          "forced pushes",
	} {
		p, err := profile.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(stricter(p), "\n"); !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q in it", text, got, want)
		}
	}
}
