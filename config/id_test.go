package config

import (
	"strings"
	"testing"
)

func TestIsWorkspaceID(t *testing.T) {
	for _, id := range []string{"a", "sb-1a2b3c", "A.b_c-9", strings.Repeat("a", 128)} {
		if !isWorkspaceID(id) {
			t.Errorf("isWorkspaceID(%q) = false, want true", id)
		}
	}
	for _, id := range []string{"", ".", "..", "-a", "_a", "a/b", "a b", "a\n", "\na", "é", "a\x00", strings.Repeat("a", 129)} {
		if isWorkspaceID(id) {
			t.Errorf("isWorkspaceID(%q) = true, want false", id)
		}
	}
}
