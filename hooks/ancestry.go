package hooks

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/gatepass/gatepass/hooks/refs"
)

const (
	// ancestryTime limits all history questions of one push together.
	ancestryTime = 15 * time.Second
	// manyChanges is the number of changes from which a single walk over all of them is
	// tried before asking about each.
	manyChanges  = 4
	maxProcesses = 4 // git processes at a time
)

// GitAncestry is the [refs.Ancestry] of the repository in the current directory,
// according to git. It never fetches, however the repository is configured. It ignores
// replacement objects and grafts, which the remote does not know. A relation that git
// cannot tell within 15 seconds is unknown.
func GitAncestry(ctx context.Context, changes []refs.Change) []refs.Relation {
	ctx, cancel := context.WithTimeout(ctx, ancestryTime)
	defer cancel()
	var proven map[refs.Change]bool
	distinct := distinct(changes)
	if len(distinct) > manyChanges {
		proven = walk(ctx, distinct)
	}
	answers := checkEach(ctx, distinct, proven)
	relations := make([]refs.Relation, len(changes))
	for i, c := range changes {
		relations[i] = answers[c]
	}
	return relations
}

func distinct(changes []refs.Change) []refs.Change {
	seen := make(map[refs.Change]bool, len(changes))
	var kept []refs.Change
	for _, c := range changes {
		if !seen[c] {
			seen[c] = true
			kept = append(kept, c)
		}
	}
	return kept
}

// checkEach asks git about every change that is not yet proven.
func checkEach(ctx context.Context, changes []refs.Change, proven map[refs.Change]bool) map[refs.Change]refs.Relation {
	answers := make(map[refs.Change]refs.Relation, len(changes))
	var mu sync.Mutex // guards answers
	var wg sync.WaitGroup
	slots := make(chan struct{}, maxProcesses)
	for _, c := range changes {
		if proven[c] {
			mu.Lock()
			answers[c] = refs.Relation{FastForward: true}
			mu.Unlock()
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			relation := isAncestor(ctx, c)
			mu.Lock()
			answers[c] = relation
			mu.Unlock()
			<-slots
		})
	}
	wg.Wait()
	return answers
}

// isAncestor asks git-merge-base(1), which peels tags. It exits with 0 for yes, 1 for
// no, and another status if an object is missing or is not a commit.
func isAncestor(ctx context.Context, c refs.Change) refs.Relation {
	if ctx.Err() != nil {
		return refs.Relation{Unknown: tooLong}
	}
	err := offlineGit(ctx, "merge-base", "--is-ancestor", c.Old, c.New).Run()
	if err == nil {
		return refs.Relation{FastForward: true}
	}
	exit, exited := errors.AsType[*exec.ExitError](err)
	switch {
	case ctx.Err() != nil:
		return refs.Relation{Unknown: tooLong}
	case !exited:
		return refs.Relation{Unknown: "counted as forced: git could not be run"}
	case exit.ExitCode() == 1:
		return refs.Relation{}
	default:
		return refs.Relation{Unknown: "counted as forced: this repository does not have the remote's commit " + short(c.Old) + "; fetch it first"}
	}
}

const tooLong = "counted as forced: git did not answer in time"

func short(oid string) string { return oid[:min(12, len(oid))] }

// offlineGit returns a git command that uses only the objects on this machine. Only git
// 2.45 and later (and the last 2.39 to 2.44) know GIT_NO_LAZY_FETCH; allowing no
// protocol stops the fetch that older versions start in a partial clone.
func offlineGit(ctx context.Context, args ...string) *exec.Cmd {
	cmd := gitCommand(ctx, args...)
	cmd.Env = append(os.Environ(),
		"GIT_NO_LAZY_FETCH=1", "GIT_ALLOW_PROTOCOL=none",
		"GIT_NO_REPLACE_OBJECTS=1", "GIT_GRAFT_FILE="+os.DevNull)
	return cmd
}

// gitCommand runs the git on PATH; inside a hook, that is the git that called it. It
// keeps the environment as git set it.
func gitCommand(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.WaitDelay = 5 * time.Second // time to read the output of a git that has ended, on a slow machine
	return cmd
}
