//go:build linux

package main

import (
	"context"
	"errors"
	"path/filepath"
)

const postgresComponent = "PostgreSQL"

// A postgresPackage is the server of Debian's PostgreSQL. Tests start their own servers
// with its programs.
type postgresPackage struct{ debianPackage }

func postgres() postgresPackage {
	return postgresPackage{debianPackage{name: postgresComponent, pkg: "postgresql"}}
}

// Find returns the version of the newest server.
func (p postgresPackage) Find(ctx context.Context) (string, error) {
	folder := p.programs()
	if folder == "" {
		return "", errors.New("PostgreSQL is not installed; apt-get install postgresql")
	}
	text, err := output(command(ctx, filepath.Join(folder, "postgres"), "--version"))
	return firstVersion(text), err
}

// programs returns the folder of the newest server's programs, or "".
func (p postgresPackage) programs() string {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres") // the pattern is well-formed
	if len(found) == 0 {
		return ""
	}
	return filepath.Dir(found[len(found)-1])
}

// findPostgres tells the suites that need servers where the programs are.
func (r *runner) findPostgres(p postgresPackage) {
	if !r.absent[p.name] {
		r.postgres = append(r.postgres, "GATEPASS_TEST_POSTGRES="+p.programs())
	}
}
