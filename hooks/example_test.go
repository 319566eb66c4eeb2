package hooks_test

import (
	"fmt"

	"github.com/gatepass/gatepass/hooks"
)

// Whether a push goes to a host that a workspace file lists.
func ExampleTargetOf() {
	for _, remote := range []string{
		"https://github.com/acme/widgets.git",
		"git@github.com:acme/widgets.git",
		"https://github.com.evil.example/acme/widgets.git",
		"../widgets",
	} {
		target := hooks.TargetOf(remote)
		fmt.Printf("%s: host %q, a path: %t, listed: %t\n", remote, target.Host, target.Path, target.In([]string{"github.com"}))
	}
	// Output:
	// https://github.com/acme/widgets.git: host "github.com", a path: false, listed: true
	// git@github.com:acme/widgets.git: host "github.com", a path: false, listed: true
	// https://github.com.evil.example/acme/widgets.git: host "github.com.evil.example", a path: false, listed: false
	// ../widgets: host "", a path: true, listed: false
}

// A remote's URL may hold a password; a message shows it without.
func ExampleRedactURL() {
	fmt.Println(hooks.RedactURL("https://me:ghp_secret@github.com/acme/widgets.git?token=x"))
	// Output:
	// https://github.com/acme/widgets.git
}
