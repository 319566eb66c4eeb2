//go:build !unix

package transport

func onlyRoots(string) bool { return false }
