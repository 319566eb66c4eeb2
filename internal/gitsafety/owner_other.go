//go:build !unix

package gitsafety

func onlyRoots(string) bool { return false }
