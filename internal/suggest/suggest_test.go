package suggest

import "testing"

func TestClosest(t *testing.T) {
	known := []string{"hosts", "source", "repos", "refs", "cache"}
	for typed, want := range map[string]string{
		"sourcee": "source", "refz": "refs", "host": "hosts", "csche": "cache", "workspace_id": "", "": "",
	} {
		if got := Closest(typed, known); got != want {
			t.Errorf("Closest(%q) = %q, want %q", typed, got, want)
		}
	}
}
