package version

import "testing"

// A build from a work tree has no version, and goes with any.
func TestDiffer(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"v1", "v1", false}, {"v1", "v2", true}, {"v1", unknown, false}, {unknown, "v1", false}, {"v1", "", true},
	} {
		if got := Differ(c.a, c.b); got != c.want {
			t.Errorf("Differ(%q, %q) = %v, want %v", c.a, c.b, got, c.want)
		}
	}
}
