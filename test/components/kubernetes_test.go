//go:build linux

package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestVersioned(t *testing.T) {
	const want = "-s -w -X k8s.io/component-base/version.gitVersion=v1.37.2 -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=37"
	if got := versioned("1.37.2"); got != want {
		t.Errorf("versioned(1.37.2) = %s, want %s", got, want)
	}
}

// TestStartKubernetesThatEnds has scripts stand for the programs: one that ends
// ends the other, and is what the error is about.
func TestStartKubernetesThatEnds(t *testing.T) {
	for _, c := range []struct{ name, etcd, apiServer, want string }{
		{"etcd", "echo no room >&2; exit 1", "exec sleep 60", "etcd: it ended before it answered: no room"},
		{"neither is there", "", "", "no such file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			programs, dir := t.TempDir(), t.TempDir()
			for name, script := range map[string]string{etcdProgram: c.etcd, apiServerProgram: c.apiServer} {
				if script == "" {
					continue
				}
				if err := os.WriteFile(filepath.Join(programs, name), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Second)
			defer cancel()
			began := time.Now()
			_, err := startKubernetes(ctx, programs, dir)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("startKubernetes = %v, want %q in it", err, c.want)
			}
			if took := time.Since(began); took > 40*time.Second {
				t.Errorf("it took %v, want that nothing is waited for", took)
			}
		})
	}
}

func TestFreePortsDiffer(t *testing.T) {
	ports, err := freePorts(3)
	if err != nil || len(ports) != 3 || ports[0] == ports[1] || ports[1] == ports[2] || ports[0] == ports[2] {
		t.Errorf("freePorts(3) = %v, %v, want three", ports, err)
	}
}
