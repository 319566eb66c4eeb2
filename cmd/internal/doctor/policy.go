package doctor

import (
	"context"
	"strconv"
	"strings"

	"github.com/gatepass/gatepass/hooks/refs"
)

func (c *chart) lookAtPolicy(context.Context) []Finding {
	if c.workspace == nil {
		return nil // reported already
	}
	rules := c.policy.Rules()
	if c.policy == nil {
		_, err := refs.Compile(c.workspace.Refs)
		return []Finding{{
			Level: Failure, Text: "the refs of " + c.path + " cannot be used, so every push is refused: " + strings.ReplaceAll(err.Error(), "\n", ", "),
			Mend: "correct the file; see gatepass policy explain",
		}}
	}
	if len(rules) == 0 {
		return []Finding{{Level: Warning, Text: c.path + " lists no refs: nothing may be pushed", Mend: "add refs: [BRANCH, …] to " + c.path}}
	}
	var found []Finding
	for _, r := range rules {
		if f, ok := shortStar(r); ok {
			found = append(found, f)
		}
	}
	if found == nil {
		text := strconv.Itoa(len(rules)) + " rules say what may be pushed"
		if len(rules) == 1 {
			text = "one rule says what may be pushed"
		}
		found = []Finding{{Level: OK, Text: text + ": " + names(rules)}}
	}
	return found
}

// maxNamed is the largest number of rules that are named.
const maxNamed = 6

func names(rules []*refs.Rule) string {
	var texts []string
	for _, r := range rules {
		if len(texts) == maxNamed {
			texts = append(texts, "…")
			break
		}
		texts = append(texts, r.String())
	}
	return strings.Join(texts, ", ")
}

// shortStar warns about a pattern whose last part is a lone star. In a shell and many
// other tools such a star crosses slashes; here, and in GitHub's rulesets, it does not.
func shortStar(r *refs.Rule) (Finding, bool) {
	base, ok := strings.CutSuffix(r.Ref, "*")
	if !ok || base != "" && !strings.HasSuffix(base, "/") {
		return Finding{}, false
	}
	return Finding{
		Level: Warning, Text: "the pattern " + r.Ref + " allows " + base + "x and not " + base + "x/y: * stays between two slashes",
		Mend: "write " + base + "** for everything below, or name the refs",
	}, true
}
