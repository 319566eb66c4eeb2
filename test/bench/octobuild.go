package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gatepass/gatepass/test/extbuild"
)

const (
	octoProgram = "octo-sts"
	octoPackage = "github.com/octo-sts/app"
	octoBuild   = 10 * time.Minute // at most; one core takes a minute and a half, and the downloads
)

// octoModule is the one that asks for the server, from the root of the module.
var octoModule = extbuild.Module{Dir: "test/bench/octosts"}

// octoSTS is the path of the program, which is built once, unless there is a
// hurry.
func (b *bench) octoSTS() (string, error) {
	cache, err := extbuild.CacheDir()
	if err != nil {
		return "", err
	}
	entry, err := octoModule.Entry(cache)
	if err != nil {
		return "", err
	}
	program := filepath.Join(entry, octoProgram)
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	if b.quick {
		return "", errors.New("not built yet, which takes a run without -quick")
	}
	fmt.Fprintf(b.log, "exchange: building %s, once, in about two minutes\n", octoProgram)
	ctx, cancel := context.WithTimeout(b.ctx, octoBuild)
	defer cancel()
	return program, octoModule.Build(ctx, cache, "-s -w", map[string]string{octoProgram: octoPackage + "/cmd/app"})
}
