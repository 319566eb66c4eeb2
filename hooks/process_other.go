//go:build !linux

package hooks

// ancestors returns nil: only Linux shows other processes' arguments without special
// rights or libraries.
func ancestors() []process { return nil }
