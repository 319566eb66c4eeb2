package fakegithub_test

import (
	"fmt"
	"time"

	"github.com/gatepass/gatepass/test/fakegithub"
)

func Example() {
	gh, err := fakegithub.New(fakegithub.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer gh.Close()

	app, _ := gh.AddApp(fakegithub.App{Slug: "gatepass", Permissions: fakegithub.Permissions{"contents": "write"}})
	_, _ = gh.AddRepository(fakegithub.Repository{Owner: "acme", Name: "widgets"})
	_, _ = gh.AddRepository(fakegithub.Repository{Owner: "acme", Name: "gadgets"})
	inst, _ := gh.AddInstallation(fakegithub.Installation{AppID: app.ID, Account: "acme", RepositorySelection: "all"})

	token, _ := gh.MintFor(inst.ID, []string{"widgets"}, fakegithub.Permissions{"contents": "read"})
	for _, t := range gh.Tokens() {
		fmt.Println(t.Repositories, t.Permissions, t.Expires.Sub(t.Created).Round(time.Minute))
	}
	fmt.Println(gh.Revoke(token), len(gh.Tokens()))
	// Output:
	// [acme/widgets] map[contents:read metadata:read] 1h0m0s
	// true 0
}
