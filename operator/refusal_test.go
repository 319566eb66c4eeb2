package operator

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"

	v1 "github.com/gatepass/gatepass/operator/api/v1"
	"github.com/gatepass/gatepass/test/fakegithub"
)

// Users who may create Tokens choose the tokens' owners. A request that the policies
// refuse does not use up the App's requests, and does not reveal where the App is
// installed.
func testRefusalAsksNothing(w *world) {
	asked := func() int {
		return w.gh.Count(func(r fakegithub.Request) bool {
			return strings.Contains(r.Path, "/zeta") || strings.Contains(r.Path, "/4711")
		})
	}
	namespace := w.tenant()
	for name, change := range map[string]func(*v1.Token){
		"an-owner-outside":        func(t *v1.Token) { t.Spec.Owner = "zeta-1" },
		"an-app-outside":          func(t *v1.Token) { t.Namespace, t.Spec.Owner = "default", "zeta-2" },
		"a-permission-outside":    func(t *v1.Token) { t.Spec.InstallationID, t.Spec.Permissions["administration"] = 4711, "write" },
		"an-unknown-installation": func(t *v1.Token) { t.Namespace, t.Spec.InstallationID = "default", 4711 },
	} {
		got := token(namespace, name, change)
		w.create(got)
		w.until(got, "refused", hasReason(v1.ReasonNotPermitted))
	}
	if n := asked(); n != 0 {
		w.t.Errorf("GitHub is asked %d times about Tokens that the policies refuse", n)
	}
}

// "404" and "422" do not tell a user what to change.
func testConditionNamesTheFix(w *world) {
	namespace := w.tenant()
	approved := fakegithub.Permissions{"contents": "write", "issues": "write"}
	if err := w.gh.SetPermissions(w.installation, fakegithub.Permissions{"contents": "write", "issues": "read"}); err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = w.gh.SetPermissions(w.installation, approved) }()
	for name, c := range map[string]struct {
		change func(*v1.Token)
		want   string
	}{
		"a-repository": {
			func(t *v1.Token) { t.Spec.Repositories = []string{"gizmos"} },
			"find acme/gizmos: it does not exist, or the installation cannot reach it; grant it to the App, and ask an owner of the account to approve it",
		},
		"a-permission": {
			func(t *v1.Token) { t.Spec.Permissions = map[string]v1.PermissionLevel{"issues": "write"} },
			"check the permissions: the installation on acme lacks issues: write (granted: read); ask ",
		},
	} {
		got := token(namespace, name, c.change)
		w.create(got)
		says := func(t *v1.Token) bool {
			ready := meta.FindStatusCondition(t.Status.Conditions, v1.ConditionReady)
			return ready != nil && strings.HasPrefix(ready.Message, c.want)
		}
		w.until(got, fmt.Sprintf("not ready with %q", c.want), says)
	}
}
