package fakegithub

import (
	"fmt"
	"testing"

	"github.com/gatepass/gatepass/test/openapi"
)

func loadContract(t *testing.T) openapi.Contract {
	t.Helper()
	return openapi.Load(t, "testdata/openapi/schemas.json")
}

func TestAnswersMatchGitHubsDescription(t *testing.T) {
	c := loadContract(t)
	w := newWorld(t, Options{})
	suspended, err := w.gh.AddInstallation(Installation{AppID: w.app.ID, Account: "octocat", AccountType: User, Suspended: true})
	w.must(err)
	token := w.token(nil)
	mint := fmt.Sprintf("/app/installations/%d/access_tokens", w.inst.ID)
	for _, test := range []struct {
		method, path, bearer, body string
		schema                     string
		status                     int
	}{
		{"GET", "/app", w.jwt(), "", "integration", 200},
		{"GET", "/app/installations", w.jwt(), "", "x-app-installations", 200},
		{"GET", fmt.Sprintf("/app/installations/%d", w.inst.ID), w.jwt(), "", "installation", 200},
		{"GET", fmt.Sprintf("/app/installations/%d", suspended.ID), w.jwt(), "", "installation", 200},
		{"GET", "/orgs/acme/installation", w.jwt(), "", "installation", 200},
		{"GET", "/users/octocat/installation", w.jwt(), "", "installation", 200},
		{"GET", "/repos/acme/widgets/installation", w.jwt(), "", "installation", 200},
		{"POST", mint, w.jwt(), "", "installation-token", 201},
		{"POST", mint, w.jwt(), `{"repositories":["widgets"],"permissions":{"contents":"read"}}`, "installation-token", 201},
		{"GET", "/installation/repositories", token, "", "x-installation-repositories", 200},
		{"GET", "/repos/acme/widgets", token, "", "full-repository", 200},
		{"GET", "/repos/acme/site", "", "", "full-repository", 200},
		{"GET", "/repos/acme/widgets/contents/README.md", token, "", "content-file", 200},
		{"GET", "/repos/acme/site/contents/README.md?ref=main", "", "", "content-file", 200},
		{"GET", "/repos/acme/widgets/contents/nothing", token, "", "basic-error", 404},
		{"GET", "/rate_limit", token, "", "rate-limit-overview", 200},
		{"GET", "/app", "", "", "basic-error", 401},
		{"GET", "/repos/acme/widgets", "", "", "basic-error", 404},
		{"GET", "/installation/repositories", "bad", "", "basic-error", 401},
		{"POST", mint, w.jwt(), `{"repositories":["other"]}`, "basic-error", 422},
		{"POST", fmt.Sprintf("/app/installations/%d/access_tokens", suspended.ID), w.jwt(), "", "basic-error", 403},
	} {
		for _, prefix := range []string{"", "/api/v3"} {
			t.Run(test.method+" "+prefix+test.path, func(t *testing.T) {
				got := w.rest(test.method, prefix+test.path, test.bearer, test.body)
				if got.status != test.status {
					t.Fatalf("status = %d, want %d: %s", got.status, test.status, got.raw)
				}
				if err := c.Validate(t, test.schema, got.raw); err != nil {
					t.Error(err)
				}
			})
		}
	}
}
