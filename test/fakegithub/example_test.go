package fakegithub_test

import (
	"fmt"
	"net/http"
	"time"

	"github.com/gatepass/gatepass/test/fakegithub"
)

// withToken makes a GitHub with one repository, and a token that reads it.
func withToken() (gh *fakegithub.Server, token string) {
	gh, err := fakegithub.New(fakegithub.Options{})
	if err != nil {
		panic(err)
	}
	app, _ := gh.AddApp(fakegithub.App{Slug: "gatepass", Permissions: fakegithub.Permissions{"contents": "write"}})
	_, _ = gh.AddRepository(fakegithub.Repository{Owner: "acme", Name: "widgets"})
	_, _ = gh.AddRepository(fakegithub.Repository{Owner: "acme", Name: "gadgets"})
	inst, _ := gh.AddInstallation(fakegithub.Installation{AppID: app.ID, Account: "acme", RepositorySelection: "all"})
	token, err = gh.MintFor(inst.ID, []string{"widgets"}, fakegithub.Permissions{"contents": "read"})
	if err != nil {
		panic(err)
	}
	return gh, token
}

// get asks for a repository with a token.
func get(gh *fakegithub.Server, repo, token string) string {
	r, err := http.NewRequest(http.MethodGet, gh.URL()+"/api/v3/repos/"+repo, nil)
	if err != nil {
		return err.Error()
	}
	r.Header.Set("Authorization", "Bearer "+token)
	answer, err := gh.Client().Do(r)
	if err != nil {
		return err.Error()
	}
	defer answer.Body.Close()
	return answer.Status
}

// A test makes a GitHub of its own, and looks at the tokens that are alive there.
func Example() {
	gh, token := withToken()
	defer gh.Close()

	for _, t := range gh.Tokens() {
		fmt.Println(t.Repositories, t.Permissions, t.Expires.Sub(t.Created).Round(time.Minute))
	}
	fmt.Println(gh.Revoke(token), len(gh.Tokens()))
	// Output:
	// [acme/widgets] map[contents:read metadata:read] 1h0m0s
	// true 0
}

// A token opens its repositories, for an hour by the double's clock.
func ExampleServer_Advance() {
	gh, token := withToken()
	defer gh.Close()

	fmt.Println(get(gh, "acme/widgets", token))
	fmt.Println(get(gh, "acme/gadgets", token))
	gh.Advance(time.Hour)
	fmt.Println(get(gh, "acme/widgets", token))
	// Output:
	// 200 OK
	// 404 Not Found
	// 401 Unauthorized
}

// GitHub is out of order for one request, and a test counts how often it was asked.
func ExampleServer_Fail() {
	gh, token := withToken()
	defer gh.Close()

	isRead := fakegithub.To(http.MethodGet, "/repos/acme/widgets")
	gh.Fail(isRead, fakegithub.Status(http.StatusBadGateway), 1)
	fmt.Println(get(gh, "acme/widgets", token))
	fmt.Println(get(gh, "acme/widgets", token))
	fmt.Println(gh.Count(func(r fakegithub.Request) bool { return r.Method == http.MethodGet }))
	// Output:
	// 502 Bad Gateway
	// 200 OK
	// 2
}
