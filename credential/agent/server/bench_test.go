package server

import (
	"os"
	"testing"
)

// BenchmarkGitOperation reads this process and all above it, as if git were not among
// them.
func BenchmarkGitOperation(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		gitOperation(os.Getpid())
	}
}
