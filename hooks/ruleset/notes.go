package ruleset

import (
	"fmt"
	"strings"

	"github.com/gatepass/gatepass/hooks/refs"
)

// general are the limits of every export.
var general = []string{
	"the rulesets hold for everyone who pushes to the repository, not for this workspace alone; whom they shall not hold, name with --bypass",
	"they know branches and tags only: other refs, such as refs/notes/, GitHub leaves to the token's permissions",
}

// unsaid returns what the rulesets cannot express of r.
func unsaid(r *refs.Rule) []string {
	branches, tags := patterns(r.Full, "heads"), patterns(r.Full, "tags")
	var notes []string
	note := func(format string, args ...any) {
		notes = append(notes, "rule "+r.Ref+": "+fmt.Sprintf(format, args...))
	}
	switch {
	case lost(r.Full):
		note("a ** that is only some of the first part cannot be said; the server refuses refs that the guard lets through")
	case len(branches)+len(tags) == 0:
		note("it names neither branches nor tags; nothing is exported for it")
	case !strings.HasPrefix(r.Full, "refs/heads/") && !strings.HasPrefix(r.Full, "refs/tags/"):
		note("of its refs only the branches and tags are exported")
	}
	if len(branches) > 0 && r.Allows(refs.Force) && !r.Allows(refs.Update) {
		note("GitHub cannot allow force without update; where no other rule allows update, neither may be done on the server")
	}
	return notes
}

// lost reports whether within cannot convert the pattern, or one of the patterns that
// it includes.
func lost(full string) bool {
	first, rest, more := strings.Cut(strings.TrimPrefix(full, "refs/"), "/")
	if first == "**" {
		return more && lost("refs/"+rest)
	}
	return strings.Contains(first, "**")
}
