package main

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/test/fakegithub"
)

// Whoever asks why a sandbox lost its access reads it from the workspace itself.
func TestWorkspaceShowsItsEvents(t *testing.T) {
	w := newIssuingWorld(t)
	w.write("one.yaml", "spec: {sourceAccess: {github: {allowedRepos: [acme/widgets]}}}\n")
	w.do("workspace", "create", "one.yaml", "--id", "sb-1")
	up := w.Fail(fakegithub.To(http.MethodPost, "/access_tokens"), fakegithub.Status(http.StatusForbidden), -1)
	for range 2 {
		if _, _, status := w.gatepass("workspace", "refresh", "sb-1", "--force"); status != 1 {
			t.Fatalf("workspace refresh = %d, want GitHub's refusal", status)
		}
	}
	up()
	w.do("workspace", "refresh", "sb-1", "--force", "--revoke")
	r := w.report("workspace", "show", "sb-1", "--events")
	var got []string
	for _, e := range r.Events {
		got = append(got, e.What)
	}
	if want := []string{"minted", "delivered", "failed", "minted", "delivered", "revoked"}; !slices.Equal(got, want) || r.Events[2].Times != 2 || !strings.Contains(r.Events[2].Why, "403") {
		t.Errorf("workspace show --events --json has %+v, want %q with the reason", r.Events, want)
	}
	out := w.do("workspace", "show", "sb-1", "--events")
	for _, line := range []string{
		`(?m)^    20\S+Z +minted +acme +sha256:\S+ *$`, `(?m)^    20\S+Z +failed, 2 times +acme +- .*403`, `(?m)^    20\S+Z +revoked +acme +sha256:\S+ +another took its place$`,
	} {
		if !regexp.MustCompile(line).MatchString(out) {
			t.Errorf("workspace show --events prints\n%s\nwant a line of %s", out, line)
		}
	}
	if out := w.do("workspace", "show", "sb-1"); strings.Contains(out, "events") {
		t.Errorf("workspace show prints events unasked: %s", out)
	}
}
