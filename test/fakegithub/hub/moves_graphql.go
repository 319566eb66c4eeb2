package hub

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/gatepass/gatepass/test/fakegithub"
)

var (
	withIssues = map[string]string{"contents": "write", "issues": "write"}
	withPulls  = map[string]string{"contents": "write", "pull_requests": "write"}
)

func graphQLMoves() []Move {
	return append([]Move{
		mutationMove("createRef", contentsOnly, func(s scene) (object, error) {
			sha, err := s.main()
			return object{"repositoryId": s.id(), "name": "refs/heads/" + s.branch, "oid": sha}, err
		}),
		mutationMove("updateRef", contentsOnly, func(s scene) (object, error) {
			sha, err := s.ahead()
			return object{"refId": s.refID("refs/heads/main"), "oid": sha, "force": true}, err
		}),
		mutationMove("updateRefs", contentsOnly, func(s scene) (object, error) {
			sha, err := s.main()
			return object{"repositoryId": s.id(), "refUpdates": []object{{"name": "refs/heads/" + s.branch, "afterOid": sha}}}, err
		}),
		mutationMove("deleteRef", contentsOnly, func(s scene) (object, error) {
			_, err := s.ahead()
			return object{"refId": s.refID("refs/heads/" + s.branch)}, err
		}),
		mutationMove("createCommitOnBranch", contentsOnly, func(s scene) (object, error) {
			sha, err := s.main()
			text := base64.StdEncoding.EncodeToString([]byte(s.branch))
			return object{
				"branch":          object{"repositoryNameWithOwner": s.owner + "/" + s.name, "branchName": "main"},
				"expectedHeadOid": sha, "message": object{"headline": "Add it"},
				"fileChanges": object{"additions": []object{{"path": s.branch + ".txt", "contents": text}}},
			}, err
		}),
		mutationMove("mergeBranch", contentsOnly, func(s scene) (object, error) {
			_, err := s.diverged()
			return object{"repositoryId": s.id(), "base": "main", "head": s.branch}, err
		}),
		mutationMove("createLinkedBranch", withIssues, func(s scene) (object, error) {
			sha, err := s.main()
			if err != nil {
				return nil, err
			}
			n, err := s.h.AddIssue(s.owner, s.name, s.owner, "Do it")
			return object{"issueId": s.node("I", n), "oid": sha, "name": s.branch}, err
		}),
		{
			Name: "mutation createDeployment with autoMerge", Needs: map[string]string{"deployments": "write"}, Fence: "deployments",
			prepare: func(s scene) (body, error) {
				_, err := s.diverged()
				return s.mutation("createDeployment", object{"repositoryId": s.id(), "refId": s.refID("refs/heads/" + s.branch)}), err
			},
		},
	}, pullMoves()...)
}

// pullMoves returns the calls that need a pull request.
func pullMoves() []Move {
	ofPull := func(s scene) (object, error) {
		n, err := s.pull()
		return object{"pullRequestId": s.node("PR", n)}, err
	}
	auto := mutationMove("enablePullRequestAutoMerge", withPulls, func(s scene) (object, error) {
		n, err := s.pull()
		if err == nil {
			err = s.h.HoldPull(s.owner, s.name, n, true)
		}
		return object{"pullRequestId": s.node("PR", n)}, err
	})
	auto.after = func(s scene) error { return s.h.HoldPull(s.owner, s.name, s.lastPull(), false) }
	return []Move{
		mutationMove("mergePullRequest", contentsOnly, ofPull),
		auto,
		mutationMove("updatePullRequestBranch", withPulls, ofPull),
		mutationMove("enqueuePullRequest", withPulls, ofPull),
		mutationMove("revertPullRequest", withPulls, func(s scene) (object, error) {
			n, err := s.pull()
			if err == nil {
				err = s.h.MergePull(s.owner, s.name, n)
			}
			return object{"pullRequestId": s.node("PR", n)}, err
		}),
	}
}

// mutationMove returns a mutation whose fence is contents.
func mutationMove(name string, needs map[string]string, input func(scene) (object, error)) Move {
	return Move{Name: "mutation " + name, Needs: needs, Fence: "contents", prepare: func(s scene) (body, error) {
		in, err := input(s)
		return s.mutation(name, in), err
	}}
}

func (s scene) mutation(name string, in object) body {
	kind := strings.ToUpper(name[:1]) + name[1:] + "Input"
	query := fmt.Sprintf("mutation($input: %s!) { %s(input: $input) { clientMutationId } }", kind, name)
	return body{http.MethodPost, "/graphql", object{"query": query, "variables": object{"input": in}}}
}

// id returns the repository's ID.
func (s scene) id() string {
	repo, _ := s.h.s.Repository(s.owner, s.name)
	return fakegithub.NodeID("Repository", repo.ID)
}

func (s scene) refID(full string) string {
	repo, _ := s.h.s.Repository(s.owner, s.name)
	return nodeID("REF", repo.ID, full)
}

// node returns the ID of an issue or pull request.
func (s scene) node(kind string, number int) string {
	repo, _ := s.h.s.Repository(s.owner, s.name)
	return nodeID(kind, repo.ID, strconv.Itoa(number))
}

// lastPull returns the number of the latest pull request.
func (s scene) lastPull() int {
	repo, _ := s.h.s.Repository(s.owner, s.name)
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	pulls := s.h.of(repo).pulls()
	return pulls[len(pulls)-1].number
}
