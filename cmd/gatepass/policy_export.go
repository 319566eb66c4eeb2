package main

import (
	"fmt"
	"io"

	"github.com/gatepass/gatepass/hooks/ruleset"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/urfave/cli/v2"
)

const rulesetFormat = "github-ruleset"

func (w *app) policyExport(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	if format := c.String("format"); format != rulesetFormat {
		return usage(c, fmt.Sprintf("--format %q is not known; it is %s", format, rulesetFormat))
	}
	var bypass []ruleset.Actor
	for _, text := range c.StringSlice("bypass") {
		actor, err := ruleset.ParseActor(text)
		if err != nil {
			return usage(c, fmt.Sprintf("--bypass %q: %v", text, err))
		}
		bypass = append(bypass, actor)
	}
	p, err := w.policyOf(c)
	if err != nil {
		return err
	}
	sets, notes := ruleset.Export(p.refs, bypass...)
	for _, n := range notes {
		_, _ = io.WriteString(w.stderr, "note: "+usererr.Escape(n)+"\n")
	}
	return writeJSON(w.stdout, sets)
}
