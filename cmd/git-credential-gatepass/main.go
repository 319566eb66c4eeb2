// Command git-credential-gatepass is a git credential helper. It answers git for this
// workspace's hosts and repositories, through gatepass-agent.
package main

import (
	"os"
	"strings"

	"github.com/gatepass/gatepass/credential/forward"
	"github.com/gatepass/gatepass/internal/version"
)

const usage = `usage: git-credential-gatepass [--gateway URL] get|store|erase|capability

git runs this program; set it up with: gatepass install
`

func main() {
	forward.NoCoreFile()
	os.Exit(run(os.Args[1:], forward.Environment{
		Getenv: os.Getenv, Getwd: os.Getwd, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
	}))
}

func run(args []string, w forward.Environment) int {
	if len(args) > 1 && args[0] == "--gateway" {
		w.Gateway, args = args[1], args[2:]
	}
	if len(args) == 0 || strings.ContainsAny(w.Gateway, " \n") {
		_, _ = w.Stderr.Write([]byte(usage))
		return 2
	}
	switch args[0] {
	case "--version":
		_, _ = w.Stdout.Write([]byte("git-credential-gatepass " + version.String() + "\n"))
		return 0
	case "-h", "--help":
		_, _ = w.Stdout.Write([]byte(usage))
		return 0
	}
	return forward.Helper(args[0], w)
}
