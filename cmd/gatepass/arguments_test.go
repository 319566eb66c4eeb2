package main

import (
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

func TestOptionsFirst(t *testing.T) {
	commands := []*cli.Command{
		{Name: "policy", Subcommands: []*cli.Command{{
			Name: "check", Aliases: []string{"c"},
			Flags: []cli.Flag{&cli.StringSliceFlag{Name: "verb"}, &cli.BoolFlag{Name: "json"}},
		}}},
		{Name: execName, Flags: []cli.Flag{&cli.StringFlag{Name: "repo"}}},
	}
	for typed, want := range map[string]string{
		"":                                     "",
		"--help":                               "--help",
		"policy":                               "policy",
		"policy nope --json":                   "policy nope --json",
		"policy check main":                    "policy check main",
		"policy check main --verb force dev":   "policy check --verb force main dev",
		"policy c main --verb=force --json":    "policy c --verb=force --json main",
		"policy check a --verb":                "policy check --verb a",
		"policy check a - b --nope c":          "policy check --nope a - b c",
		"policy check a -- --verb b":           "policy check -- a --verb b",
		"policy check a --json -- -b":          "policy check --json -- a -b",
		"exec --repo a/b gh pr list --repo c":  "exec --repo a/b gh pr list --repo c",
		"exec -- gh --json x":                  "exec -- gh --json x",
		"policy check main --verb -- --json x": "policy check --verb -- --json main x",
	} {
		if got := strings.Join(optionsFirst(commands, strings.Fields(typed)), " "); got != want {
			t.Errorf("optionsFirst(%q) = %q, want %q", typed, got, want)
		}
	}
}
