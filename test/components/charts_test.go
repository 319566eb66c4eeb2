//go:build linux

package main

import "testing"

func TestHelmFlags(t *testing.T) {
	const at = " -X helm.sh/helm/v3/"
	const want = "-s -w" + at + "internal/version.version=v3.22.0" +
		at + "pkg/chartutil.k8sVersionMajor=1" + at + "pkg/chartutil.k8sVersionMinor=37" +
		at + "pkg/lint/rules.k8sVersionMajor=1" + at + "pkg/lint/rules.k8sVersionMinor=37"
	if got := helmFlags("3.22.0", "0.37.0"); got != want {
		t.Errorf("helmFlags = %s, want %s", got, want)
	}
}
