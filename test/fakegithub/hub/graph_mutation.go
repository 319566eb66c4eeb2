package hub

import (
	"maps"
	"strings"
)

// A mutation carries out a mutation of the schema with its input, and returns its
// payload.
type mutation func(g graph, in object) (object, *failure)

// mutations returns the modeled mutations. The type of a payload is the mutation's name
// with "Payload".
func mutations() map[string]mutation {
	out := map[string]mutation{
		"createPullRequest":             createPullRequest,
		"updatePullRequest":             ofPull("pull_requests:write", updatePullRequest),
		"closePullRequest":              ofPull("pull_requests:write", closePullRequest),
		"reopenPullRequest":             ofPull("pull_requests:write", reopenPullRequest),
		"markPullRequestReadyForReview": ofPull("pull_requests:write", func(r request, i *issue, _ object) *failure { i.pull.draft = false; return nil }),
		"convertPullRequestToDraft":     ofPull("pull_requests:write", func(r request, i *issue, _ object) *failure { i.pull.draft = true; return nil }),
		"disablePullRequestAutoMerge":   ofPull("contents:write,pull_requests:write", func(r request, i *issue, _ object) *failure { i.pull.autoMerge = ""; return nil }),
		"createIssue":                   createIssue,
		"updateIssue":                   ofIssue(updateIssue),
		"closeIssue":                    ofIssue(closeIssue),
		"reopenIssue":                   ofIssue(reopenIssue),
		"addPullRequestReview":          addPullRequestReview,
		"addLabelsToLabelable":          labelsMutation(false),
		"removeLabelsFromLabelable":     labelsMutation(true),
		"addComment":                    addComment,
	}
	maps.Copy(out, refMutations())
	return out
}

func (g graph) mutation() entity {
	fields := object{}
	for name, do := range mutations() {
		fields[name] = lazy(func(args object) (any, *failure) {
			in, _ := args["input"].(object)
			out, f := do(g, in)
			if f != nil {
				return nil, f
			}
			out["clientMutationId"] = orNull(text(in, "clientMutationId"))
			return entity{strings.ToUpper(name[:1]) + name[1:] + "Payload", out}, nil
		})
	}
	return entity{"Mutation", fields}
}

// ofPull returns a mutation of a pull request, whose payload is the pull request.
func ofPull(needs string, do func(request, *issue, object) *failure) mutation {
	return func(g graph, in object) (object, *failure) {
		r, i, f := g.find(text(in, "pullRequestId"), "PR")
		if f == nil && !allowed(g.Call, r.repo, needs) {
			f = forbidden
		}
		if f == nil {
			f = do(r, i, in)
		}
		if f != nil {
			return nil, f
		}
		return object{"pullRequest": r.pullEntity(i), "actor": nil}, nil
	}
}

// ofIssue is like ofPull, for an issue.
func ofIssue(do func(request, *issue, object)) mutation {
	return func(g graph, in object) (object, *failure) {
		id := text(in, "issueId")
		if id == "" {
			id = text(in, "id")
		}
		r, i, f := g.find(id, "I")
		if f == nil && !allowed(g.Call, r.repo, "issues:write") {
			f = forbidden
		}
		if f != nil {
			return nil, f
		}
		do(r, i, in)
		return object{"issue": r.issueEntity(i), "actor": nil}, nil
	}
}

// writer returns the repository that an input names, if the token has the needed
// permission there.
func (g graph) writer(in object, needs string) (request, *failure) {
	r, f := g.repositoryWith(text(in, "repositoryId"))
	if f == nil && !allowed(g.Call, r.repo, needs) {
		f = forbidden
	}
	return r, f
}

func createPullRequest(g graph, in object) (object, *failure) {
	r, f := g.writer(in, "pull_requests:write")
	if f != nil {
		return nil, f
	}
	draft, _ := in["draft"].(bool)
	branch := func(key string) string { return strings.TrimPrefix(text(in, key), "refs/heads/") }
	i, f := r.createPull(text(in, "title"), text(in, "body"), branch("headRefName"), branch("baseRefName"), draft)
	if f != nil {
		return nil, f
	}
	return object{"pullRequest": r.pullEntity(i)}, nil
}

// set returns a text of the input, or nil if the input does not have it.
func set(in object, key string) *string {
	if s, is := in[key].(string); is {
		return &s
	}
	return nil
}

func updatePullRequest(r request, i *issue, in object) *failure {
	if base := text(in, "baseRefName"); base != "" {
		if r.git().branch(base) == "" {
			return invalid("PullRequest", "base", "invalid", "")
		}
		i.pull.base = base
		r.refresh(i)
	}
	r.rewrite(i, set(in, "title"), set(in, "body"), nil)
	return nil
}

func closePullRequest(r request, i *issue, _ object) *failure {
	closed := "closed"
	r.rewrite(i, nil, nil, &closed)
	return nil
}

func reopenPullRequest(r request, i *issue, _ object) *failure {
	if !i.pull.merged.IsZero() || r.git().branch(i.pull.head) == "" {
		return unprocessable("Could not open the pull request.")
	}
	open := "open"
	r.rewrite(i, nil, nil, &open)
	return nil
}

func createIssue(g graph, in object) (object, *failure) {
	r, f := g.writer(in, "issues:write")
	if f != nil {
		return nil, f
	}
	if text(in, "title") == "" {
		return nil, unprocessable("Title can't be blank")
	}
	return object{"issue": r.issueEntity(r.newIssue(text(in, "title"), text(in, "body")))}, nil
}

func updateIssue(r request, i *issue, in object) {
	r.rewrite(i, set(in, "title"), set(in, "body"), nil)
}

func closeIssue(r request, i *issue, in object) {
	closed := "closed"
	r.rewrite(i, nil, nil, &closed)
	if reason := text(in, "stateReason"); reason != "" {
		i.reason = strings.ToLower(reason)
	}
}

func reopenIssue(r request, i *issue, _ object) {
	open := "open"
	r.rewrite(i, nil, nil, &open)
}

func addComment(g graph, in object) (object, *failure) {
	r, i, f := g.find(text(in, "subjectId"), "")
	if f != nil {
		return nil, f
	}
	if !allowed(g.Call, r.repo, "issues:write|pull_requests:write") {
		return nil, forbidden
	}
	if text(in, "body") == "" {
		return nil, unprocessable("Body can't be blank")
	}
	c := r.commentEntity(i, r.comment(i, text(in, "body")))
	return object{"commentEdge": entity{"IssueCommentEdge", object{"node": c, "cursor": cursor(len(i.comments) - 1)}}, "subject": r.either(i), "timelineEdge": nil}, nil
}
