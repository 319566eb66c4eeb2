package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gatepass/gatepass/hooks/refs"
	"github.com/gatepass/gatepass/internal/usererr"
)

// forAgents is a paragraph for a file that coding agents read first, such as AGENTS.md, so
// that they know what may be pushed before something is refused.
func (r policyReport) forAgents() (string, error) {
	var patterns []string
	by := "The pre-push guard"
	if r.Gateway != nil {
		if r.Gateway.Error != "" {
			return "", usererr.New("say what may be pushed", "the gateway could not be asked: "+r.Gateway.Error, "")
		}
		by, patterns = "The git gateway", r.Gateway.Refs
	} else {
		for _, e := range r.Rules {
			patterns = append(patterns, e.Ref)
		}
	}
	var b strings.Builder
	b.WriteString("## Pushing from this workspace\n\n")
	if len(patterns) == 0 {
		return b.String() + by + " refuses every push from here. Do not try; hand over your changes in another way.\n", nil
	}
	fmt.Fprintf(&b, "%s lets only these refs be pushed, and refuses a push as a whole when one ref in it is another:\n\n", by)
	for _, p := range patterns {
		fmt.Fprintf(&b, "- `%s`\n", strings.ReplaceAll(usererr.Escape(p), "`", ""))
	}
	if ref := pushable(patterns); ref != "" {
		fmt.Fprintf(&b, "\nPush your work like this: `git push origin HEAD:%s`, and open a pull request from there.", ref)
	}
	b.WriteString("\nDo not change files through GitHub's API instead of a push, and do not look for another token: that is refused as well.\n")
	return b.String(), nil
}

// pushable is a branch that the patterns allow, of those with a wildcard before others, and ""
// where there is none to be found.
func pushable(patterns []string) string {
	inOrder := slices.Clone(patterns)
	slices.SortStableFunc(inOrder, func(a, b string) int { return strings.Count(b, "*") - strings.Count(a, "*") })
	for _, p := range inOrder {
		policy, err := refs.Compile([]refs.Entry{{Ref: p}})
		if err != nil || isTag(policy.Rules()[0].Full) {
			continue
		}
		ref := strings.NewReplacer("**", "work", "*", "work", "?", "x").Replace(policy.Rules()[0].Full)
		if _, err := policy.Check(ref, refs.Create); err == nil {
			return ref
		}
	}
	return ""
}
