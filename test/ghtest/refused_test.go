package ghtest_test

import (
	"maps"
	"strconv"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/test/ghtest"
)

// checkRefused tries what gh can do with a token of its user's and not here: nothing of it
// moves a ref or sees another repository, and gh says why.
func checkRefused(t *testing.T, p *ghtest.Place, w ghtest.Scene) {
	t.Helper()
	before, err := w.Hub.Refs("acme", "widgets")
	must(t, err)
	const fenced, ours = "Resource not accessible by integration", "gatepass: this session is for acme/widgets, not for acme/other"
	repo, pull := p.Host+"/acme/widgets", strconv.Itoa(w.Pull)
	dir := t.TempDir()
	for _, c := range []struct {
		says string
		args []string
	}{
		{fenced, []string{"pr", "merge", pull, "--merge", "-R", repo}},
		{fenced, []string{"api", "repos/acme/widgets/git/refs", "-f", "ref=refs/heads/evil", "-f", "sha=" + before["refs/heads/main"]}},
		{fenced, []string{"api", "-X", "DELETE", "repos/acme/widgets/git/refs/heads/other"}},
		{fenced, []string{"api", "-X", "PUT", "repos/acme/widgets/contents/evil.txt", "-f", "message=evil", "-f", "content=ZXZpbAo="}},
		{"gatepass: GitHub requires contents=write; the token of this workspace has", []string{"api", "-X", "DELETE", "repos/acme/widgets/git/refs/heads/other"}},
		{fenced, []string{"release", "create", "v9", "--notes", "evil", "-R", repo}},
		{ours, []string{"api", "repos/acme/other"}},
		{"Could not resolve to a Repository", []string{"pr", "list", "-R", p.Host + "/acme/other"}},
		{"gatepass: /app is for the App's owner", []string{"api", "app/installations"}},
		{"gatepass: /installation is for the App's owner", []string{"api", "-X", "DELETE", "installation/token"}},
	} {
		out, errs, err := p.Try(dir, c.args...)
		if err == nil || !strings.Contains(out+errs, c.says) {
			t.Errorf("gh %s: %v, want %q\n%s%s", strings.Join(c.args, " "), err, c.says, out, errs)
		}
	}
	after, err := w.Hub.Refs("acme", "widgets")
	must(t, err)
	if !maps.Equal(before, after) {
		t.Errorf("refs moved: %v, were %v", after, before)
	}
}
