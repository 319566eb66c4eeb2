// Package version returns the version of this gatepass.
package version

// number is set at link time: -X …/internal/version.number=v1.2.3.
var number = unknown

// unknown is the version of a build from a work tree.
const unknown = "(devel)"

// String returns the version, "(devel)" for a build from a work tree.
func String() string { return number }

// Differ reports whether two programs are known to have different versions.
func Differ(a, b string) bool { return a != b && a != unknown && b != unknown }
