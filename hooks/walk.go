package hooks

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"strings"

	"github.com/gatepass/gatepass/hooks/refs"
)

const (
	maxWalked = 200_000   // commits read by one walk
	maxSteps  = 5_000_000 // parents followed in them, for all changes together
)

// walk proves fast-forwards of many changes with a single git: it lists the commits of
// the new tips that the old ones lack, with parents, and follows the parents. A proof
// is a chain of parents from the new commit to the old one. A missing proof means
// nothing: the chain may pass through commits that another old tip has too.
func walk(ctx context.Context, changes []refs.Change) map[refs.Change]bool {
	var in bytes.Buffer
	for _, c := range changes {
		fmt.Fprintf(&in, "%s\n^%s\n", c.New, c.Old)
	}
	cmd := offlineGit(ctx, "rev-list", "--ignore-missing", "--parents", fmt.Sprintf("--max-count=%d", maxWalked), "--stdin")
	cmd.Stdin = &in
	out, err := cmd.Output()
	if err != nil {
		return nil
	}
	parents := make(map[string][]string)
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		commit := strings.Fields(lines.Text())
		parents[commit[0]] = commit[1:]
	}
	proven := make(map[refs.Change]bool, len(changes))
	steps := maxSteps
	for _, c := range changes {
		proven[c] = reaches(parents, c, &steps)
	}
	return proven
}

// reaches reports whether the parents of c.New lead to c.Old, within the remaining
// steps.
func reaches(parents map[string][]string, c refs.Change, steps *int) bool {
	seen := map[string]bool{c.New: true}
	for todo := []string{c.New}; len(todo) > 0; {
		commit := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, parent := range parents[commit] {
			if *steps--; *steps < 0 {
				return false
			}
			if parent == c.Old {
				return true
			}
			if !seen[parent] {
				seen[parent] = true
				todo = append(todo, parent)
			}
		}
	}
	return false
}
