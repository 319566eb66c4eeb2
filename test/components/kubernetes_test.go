//go:build linux

package main

import "testing"

func TestVersioned(t *testing.T) {
	const want = "-s -w -X k8s.io/component-base/version.gitVersion=v1.37.2 -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=37"
	if got := versioned("1.37.2"); got != want {
		t.Errorf("versioned(1.37.2) = %s, want %s", got, want)
	}
}
