package controlplane

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Scripts stand for the programs: one that ends ends the others, and is what the
// error is about.
func TestStartWithAProgramThatEnds(t *testing.T) {
	for _, c := range []struct{ name, etcd, apiServer, want string }{
		{"etcd", "echo no room >&2; exit 1", "exec sleep 60", "etcd: it ended before it answered: no room"},
		{"neither is there", "", "", "no such file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			programs := t.TempDir()
			for name, script := range map[string]string{Etcd: c.etcd, APIServer: c.apiServer} {
				if script == "" {
					continue
				}
				if err := os.WriteFile(filepath.Join(programs, name), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			began := time.Now()
			_, err := Start(t.Context(), Options{Programs: programs, Dir: t.TempDir()})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Start = %v, want %q in it", err, c.want)
			}
			if took := time.Since(began); took > patience {
				t.Errorf("it took %v, want that it waits for no answer", took)
			}
		})
	}
}

func TestFreeAddressesDiffer(t *testing.T) {
	a, err := freeAddresses(3)
	if err != nil || len(a) != 3 || a[0] == a[1] || a[1] == a[2] || a[0] == a[2] {
		t.Errorf("freeAddresses(3) = %v, %v, want three", a, err)
	}
}
