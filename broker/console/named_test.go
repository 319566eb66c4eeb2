package console

import (
	"strings"
	"testing"

	"github.com/gatepass/gatepass/test/brokertest"
	"github.com/gatepass/gatepass/test/fakegithub"
)

// A workspace is told what keeps it from a token where that is not the broker's
// business: an organization that was renamed, a permission, an IP allow list.
func TestWhatGitHubDoesNotGrantIsNamed(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(*brokertest.GitHub) error
		want  string
	}{
		{"a renamed organization", func(g *brokertest.GitHub) error { return g.RenameAccount("acme", "newcorp") }, "it belongs to newcorp now"},
		{"a permission", func(g *brokertest.GitHub) error {
			return g.SetPermissions(g.Installations["acme"], fakegithub.Permissions{"contents": "read", "metadata": "read"})
		}, "lacks contents: write (granted: read); have "},
		{"an IP allow list", func(g *brokertest.GitHub) error {
			g.Fail(fakegithub.To("POST", "/access_tokens"), fakegithub.NotOnIPAllowList("acme"), -1)
			return nil
		}, "IP allow list"},
	} {
		b := brokertest.NewBroker(brokertest.NewGitHub(t), nil)
		if err := c.spoil(b.GitHub); err != nil {
			t.Fatal(err)
		}
		if got := b.Token("ci", "acme/widgets", "write"); got.Code != 403 || !strings.Contains(got.Body.String(), c.want) {
			t.Errorf("%s: %d %s, want 403 and %q", c.name, got.Code, got.Body, c.want)
		}
	}
}
