package server

import (
	"os"
	"testing"
)

// BenchmarkGitOperation looks at this process and all above it, as for a git
// that is not there.
func BenchmarkGitOperation(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		gitOperation(os.Getpid())
	}
}
