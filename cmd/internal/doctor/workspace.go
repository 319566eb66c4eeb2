package doctor

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/gatepass/gatepass/config"
	"github.com/gatepass/gatepass/hooks/refs"
	"github.com/gatepass/gatepass/internal/usererr"
)

// skewedFile is how far in the future a file's time may be before the clock counts as
// wrong.
const skewedFile = 5 * time.Minute

// A fileCheck checks the workspace file.
type fileCheck struct{ *setup }

func (c fileCheck) checkFile(context.Context) []Finding {
	if c.loadErr != nil {
		return []Finding{unread(c.loadErr)}
	}
	info, err := os.Stat(c.path)
	if err != nil {
		return []Finding{{Level: Failure, Text: err.Error(), Fix: "look at " + c.path}}
	}
	found := []Finding{c.ownership(info)}
	if ahead := time.Until(info.ModTime()); ahead > skewedFile {
		found = append(found, Finding{
			Level: Warning, Text: c.path + " was written " + ahead.Round(time.Second).String() + " in the future: this clock is behind",
			Fix: "set the clock; see timedatectl",
		})
	}
	if c.workspace.Source == nil {
		found = append(found, Finding{Level: Failure, Text: c.path + " has no source", Fix: "add source: URL to " + c.path})
	}
	return found
}

// unread reports why the workspace file could not be read. It gives the fix only once.
func unread(err error) Finding {
	line, ok := errors.AsType[*usererr.Error](err)
	if !ok {
		return Finding{Level: Failure, Text: err.Error(), Fix: "name the workspace file with " + config.PathVariable}
	}
	text := *line
	text.Hint = ""
	return Finding{Level: Failure, Text: text.Error(), Fix: line.Hint}
}

// ownership reports who can change the file. The file could be read, so it belongs to
// root or this user.
func (c fileCheck) ownership(info os.FileInfo) Finding {
	if owner, known := ownerOf(info); known && owner != 0 {
		return Finding{
			Level: Warning, Text: c.path + " belongs to this user: any program of this user can widen it",
			Fix: "sudo chown root " + usererr.Quote(c.path) + " && sudo chmod 644 " + usererr.Quote(c.path),
		}
	}
	return Finding{Level: OK, Text: c.path + " belongs to root, and no one else can write to it"}
}

func (c fileCheck) checkPolicy(context.Context) []Finding {
	if c.workspace == nil {
		return nil // reported already
	}
	rules := c.policy.Rules()
	if c.policy == nil {
		_, err := refs.Compile(c.workspace.Refs)
		return []Finding{{
			Level: Failure, Text: "the refs of " + c.path + " cannot be used, so every push is refused: " + strings.ReplaceAll(err.Error(), "\n", ", "),
			Fix: "correct the file; see gatepass policy explain",
		}}
	}
	if len(rules) == 0 {
		return []Finding{{Level: Warning, Text: c.path + " has no refs, so nothing may be pushed", Fix: "add refs: [BRANCH, …] to " + c.path}}
	}
	var found []Finding
	for _, r := range rules {
		if f, ok := shortStar(r); ok {
			found = append(found, f)
		}
	}
	if found == nil {
		text := strconv.Itoa(len(rules)) + " rules allow pushes"
		if len(rules) == 1 {
			text = "one rule allows pushes"
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
		Level: Warning, Text: "the pattern " + r.Ref + " allows " + base + "x but not " + base + "x/y: * does not cross slashes",
		Fix: "write " + base + "** to match everything below, or name the refs",
	}, true
}
