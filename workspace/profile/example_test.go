package profile_test

import (
	"fmt"

	"github.com/gatepass/gatepass/workspace/profile"
)

const profileText = `
metadata: {name: agent}
spec:
  sourceAccess:
    github:
      allowedRepos: [acme/widgets]
      allowedRefs: ["agent/**"]
`

// If refs may be pushed and the profile does not name permissions, a token may push.
func ExampleParse() {
	p, err := profile.Parse([]byte(profileText))
	fmt.Println(p.Name, p.Repositories, p.Permissions.Levels(), err)
	_, err = profile.Parse([]byte("spec: {sourceAccess: {github: {allowedRepo: [acme/widgets]}}}"))
	fmt.Println(err)
	// Output:
	// agent [acme/widgets] map[contents:write] <nil>
	// line 1 column 32: unknown key "allowedRepo" in github: did you mean "allowedRepos"?
}
