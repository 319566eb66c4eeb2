package hub

import (
	"strconv"
	"strings"
	"time"

	"github.com/gatepass/gatepass/test/fakegithub"
)

// A review of a pull request.
type review struct {
	id                  int64
	state, body, author string // state in GraphQL's words, as in APPROVED
	commit              string
	submitted           time.Time
}

// reviewStates maps the event of a review to its state.
var reviewStates = map[string]string{"APPROVE": "APPROVED", "REQUEST_CHANGES": "CHANGES_REQUESTED", "COMMENT": "COMMENTED"}

func (h *Hub) reviewRoutes() {
	h.in("GET", "/pulls/{number}/reviews", "pull_requests:read", ofNumber(func(r request, i *issue) fakegithub.Answer {
		return listed(r, i.pull.reviews, func(v *review) object { return r.showReview(i, v) })
	}))
	h.in("POST", "/pulls/{number}/reviews", "pull_requests:write", ofNumber(postReview))
	h.in("GET", "/pulls/{number}/comments", "pull_requests:read", ofNumber(func(r request, i *issue) fakegithub.Answer { return ok([]object{}) }))
	h.in("GET", "/pulls/{number}/files", "pull_requests:read", ofNumber(pullFiles))
}

// ofNumber finds the pull request of the path.
func ofNumber(do func(request, *issue) fakegithub.Answer) handler {
	return func(r request) fakegithub.Answer {
		i := r.st.pullRequest(r.number())
		if i == nil {
			return r.notFound()
		}
		r.refresh(i)
		return do(r, i)
	}
}

func postReview(r request, i *issue) fakegithub.Answer {
	var in struct {
		Body, Event string
		CommitID    string `json:"commit_id"`
	}
	if no := r.Decode(&in); no != nil {
		return *no
	}
	v, f := r.review(i, in.Event, in.Body)
	if f != nil {
		return r.failed(f)
	}
	return ok(r.showReview(i, v))
}

// review adds a review to a pull request. An App cannot approve its own.
func (r request) review(i *issue, event, body string) (*review, *failure) {
	state := reviewStates[event]
	switch {
	case state == "":
		return nil, unprocessable("Variable $event of type PullRequestReviewEvent was provided invalid value")
	case state != "COMMENTED" && i.author == r.Bot():
		return nil, unprocessable("Can not %s your own pull request", strings.ToLower(strings.ReplaceAll(event, "_", " ")))
	case state != "APPROVED" && body == "":
		return nil, unprocessable("Body can't be blank")
	}
	v := &review{r.h.s.NextID(), state, body, r.Bot(), i.pull.headSHA, r.h.s.Now()}
	i.pull.reviews = append(i.pull.reviews, v)
	return v, nil
}

func addPullRequestReview(g graph, in object) (object, *failure) {
	r, i, f := g.find(text(in, "pullRequestId"), "PR")
	if f == nil && !allowed(g.Call, r.repo, "pull_requests:write") {
		f = forbidden
	}
	if f != nil {
		return nil, f
	}
	v, f := r.review(i, text(in, "event"), text(in, "body"))
	if f != nil {
		return nil, f
	}
	return object{"pullRequestReview": r.reviewEntity(i, v), "reviewEdge": nil}, nil
}

func (r request) showReview(i *issue, v *review) object {
	page := r.page(i) + "#pullrequestreview-" + strconv.FormatInt(v.id, 10)
	return object{
		"id": v.id, "node_id": nodeID("PRR", r.repo.ID, strconv.FormatInt(v.id, 10)), "user": r.user(v.author), "body": v.body, "state": v.state,
		"html_url": page, "pull_request_url": r.api("/pulls/%d", i.number), "submitted_at": timestamp(v.submitted), "commit_id": v.commit,
		"author_association": "NONE", "_links": object{"html": object{"href": page}, "pull_request": object{"href": r.api("/pulls/%d", i.number)}},
	}
}

func (r request) reviewEntity(i *issue, v *review) entity {
	return entity{"PullRequestReview", object{
		"id": nodeID("PRR", r.repo.ID, strconv.FormatInt(v.id, 10)), "author": actor(r.Call, v.author), "authorAssociation": "NONE", "body": v.body, "state": v.state,
		"submittedAt": timestamp(v.submitted), "commit": r.commitEntity(v.commit), "reactionGroups": []any{}, "includesCreatedEdit": false,
		"url": r.page(i) + "#pullrequestreview-" + strconv.FormatInt(v.id, 10),
	}}
}

// decision returns the result of the reviews; null if there is none.
func (i *issue) decision() any {
	for _, v := range newestFirst(i.pull.reviews) {
		if v.state != "COMMENTED" {
			return v.state
		}
	}
	return nil
}

func pullFiles(r request, i *issue) fakegithub.Answer {
	return listed(r, r.changedFiles(i), func(e entity) object {
		path := e.fields["path"].(string)
		sha := r.blobAt(i.pull.head, path)
		added, removed := e.fields["additions"].(int), e.fields["deletions"].(int)
		return object{
			"filename": path, "sha": sha, "status": "modified", "additions": added, "deletions": removed, "changes": added + removed,
			"blob_url": r.html("/blob/%s/%s", i.pull.headSHA, path), "raw_url": r.html("/raw/%s/%s", i.pull.headSHA, path), "contents_url": r.api("/contents/%s?ref=%s", path, i.pull.headSHA),
		}
	})
}
