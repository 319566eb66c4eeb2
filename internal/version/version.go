// Package version says which gatepass this is.
package version

// number is set at link time: -X …/internal/version.number=v1.2.3.
var number = "(devel)"

// String returns the version, "(devel)" for a build from a work tree.
func String() string { return number }
