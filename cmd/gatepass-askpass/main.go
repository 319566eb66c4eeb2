// Command gatepass-askpass answers git's prompts for https user names and
// passwords, for programs that know GIT_ASKPASS but no credential helper.
package main

import (
	"os"

	"github.com/gatepass/gatepass/credential/forward"
	"github.com/gatepass/gatepass/internal/version"
)

const usage = `usage: gatepass-askpass PROMPT

git runs this program if GIT_ASKPASS names it.
`

func main() {
	forward.NoCoreFile()
	os.Exit(run(os.Args[1:], forward.Environment{
		Getenv: os.Getenv, Getwd: os.Getwd, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
	}))
}

func run(args []string, w forward.Environment) int {
	if len(args) != 1 {
		_, _ = w.Stderr.Write([]byte(usage))
		return 1
	}
	switch args[0] {
	case "--version":
		_, _ = w.Stdout.Write([]byte("gatepass-askpass " + version.String() + "\n"))
		return 0
	case "-h", "--help":
		_, _ = w.Stdout.Write([]byte(usage))
		return 0
	}
	return forward.Askpass(args[0], w)
}
