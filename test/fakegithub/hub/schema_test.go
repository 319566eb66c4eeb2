package hub

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/test/openapi"
)

// An answer to a list is checked by its items: the key is where they are, "." for the
// answer itself.
func TestAnswersMatchGitHubsDescription(t *testing.T) {
	if testing.Short() {
		t.Skip("calls every endpoint")
	}
	t.Parallel()
	c := openapi.Load(t, "testdata/openapi/schemas.json")
	w := newWorld(t)
	_, err := w.h.Commit("acme", "widgets", "topic", "Change it\n\nFor good.", map[string]string{"a/b.txt": "b"})
	w.must(err)
	pull, err := w.h.AddPull("acme", "widgets", "acme", "Change it", "topic", "main")
	w.must(err)
	issue, err := w.h.AddIssue("acme", "widgets", "acme", "It squeaks", "so it does")
	w.must(err)
	run, err := w.h.AddRun("acme", "widgets", Run{Workflow: "CI", Branch: "topic", Jobs: []Job{{Name: "build", Steps: []Step{{"Compile", "ok"}}}}, Artifacts: map[string]map[string]string{"report": {"a": "b"}}})
	w.must(err)
	workflow, err := w.h.AddWorkflow("acme", "widgets", "CI")
	w.must(err)
	w.must(w.h.AddAutofix("acme", "widgets", 3, "fixed.txt", "fixed"))
	main, token := w.refs()["refs/heads/main"], w.token(everything)
	readme := (scene{h: w.h, owner: "acme", name: "widgets", branch: "main"}).blob("README.md")
	for _, test := range []struct {
		call, body string
		status     int
		key        string
		schema     string
	}{
		{"GET pulls?state=all", "", 200, "[]", "pull-request-simple"},
		{fmt.Sprintf("GET pulls/%d", pull), "", 200, ".", "pull-request"},
		{fmt.Sprintf("GET pulls/%d/commits", pull), "", 200, "[]", "commit"},
		{fmt.Sprintf("PATCH pulls/%d", pull), `{"title":"Change that"}`, 200, ".", "pull-request"},
		{"GET pulls/99", "", 404, ".", "basic-error"},
		{"GET issues?state=all", "", 200, "[]", "issue"},
		{fmt.Sprintf("GET issues/%d", issue), "", 200, ".", "issue"},
		{fmt.Sprintf("GET issues/%d", pull), "", 200, ".", "issue"},
		{fmt.Sprintf("PATCH issues/%d", issue), `{"state":"closed","labels":["bug"]}`, 200, ".", "issue"},
		{fmt.Sprintf("POST issues/%d/labels", issue), `{"labels":["ui"]}`, 200, "[]", "label"},
		{fmt.Sprintf("GET issues/%d/comments", issue), "", 200, "[]", "issue-comment"},
		{fmt.Sprintf("POST issues/%d/comments", issue), `{"body":"yes"}`, 201, ".", "issue-comment"},
		{"POST issues", `{"title":"It is red","body":"why"}`, 201, ".", "issue"},
		{"GET git/ref/heads/main", "", 200, ".", "git-ref"},
		{"GET git/matching-refs/heads/", "", 200, "[]", "git-ref"},
		{"POST git/refs", `{"ref":"refs/heads/made","sha":"` + main + `"}`, 201, ".", "git-ref"},
		{"PATCH git/refs/heads/made", `{"sha":"` + main + `"}`, 200, ".", "git-ref"},
		{"GET git/commits/" + main, "", 200, ".", "git-commit"},
		{"GET git/trees/main?recursive=1", "", 200, ".", "git-tree"},
		{"POST git/trees", `{"base_tree":"` + main + `","tree":[{"path":"x","mode":"100644","type":"blob","content":"x"}]}`, 201, ".", "git-tree"},
		{"GET git/blobs/" + readme, "", 200, ".", "blob"},
		{"POST git/blobs", `{"content":"aGk=","encoding":"base64"}`, 201, ".", "short-blob"},
		{"GET commits/main", "", 200, ".", "commit"},
		{"GET commits?sha=topic&path=a/b.txt", "", 200, "[]", "commit"},
		{"GET compare/main...topic", "", 200, ".", "commit-comparison"},
		{"GET commits/topic/status", "", 200, ".", "combined-commit-status"},
		{"GET commits/topic/check-runs", "", 200, "check_runs", "check-run"},
		{"GET labels", "", 200, "[]", "label"},
		{"POST labels", `{"name":"squeaky","color":"ff0000"}`, 201, ".", "label"},
		{fmt.Sprintf("GET pulls/%d/files", pull), "", 200, "[]", "diff-entry"},
		{fmt.Sprintf("POST pulls/%d/reviews", pull), `{"event":"APPROVE"}`, 200, ".", "pull-request-review"},
		{fmt.Sprintf("GET pulls/%d/reviews", pull), "", 200, "[]", "pull-request-review"},
		{"GET branches", "", 200, "[]", "short-branch"},
		{"GET branches/main", "", 200, ".", "branch-with-protection"},
		{"POST branches/made/rename", `{"new_name":"renamed"}`, 201, ".", "branch-with-protection"},
		{"PUT contents/new.txt", `{"message":"Add it","content":"aGk=","branch":"renamed"}`, 201, ".", "file-commit"},
		{"POST merges", `{"base":"renamed","head":"topic"}`, 201, ".", "commit"},
		{"GET actions/runs", "", 200, "workflow_runs", "workflow-run"},
		{fmt.Sprintf("GET actions/runs/%d", run), "", 200, ".", "workflow-run"},
		{fmt.Sprintf("GET actions/runs/%d/jobs", run), "", 200, "jobs", "job"},
		{fmt.Sprintf("GET actions/runs/%d/artifacts", run), "", 200, "artifacts", "artifact"},
		{"GET actions/workflows", "", 200, "workflows", "workflow"},
		{fmt.Sprintf("GET actions/workflows/%d", workflow), "", 200, ".", "workflow"},
		{"POST releases", `{"tag_name":"v1","body":"the first"}`, 201, ".", "release"},
		{"GET releases", "", 200, "[]", "release"},
		{"GET tags", "", 200, "[]", "tag"},
		{"GET releases/latest", "", 200, ".", "release"},
		{"GET releases/tags/v1", "", 200, ".", "release"},
		{"POST deployments", `{"ref":"main"}`, 201, ".", "deployment"},
		{"POST code-scanning/alerts/3/autofix/commits", `{"target_ref":"refs/heads/renamed","message":"Fix it"}`, 201, ".", "code-scanning-autofix-commits-response"},
		{fmt.Sprintf("PUT pulls/%d/merge", pull), `{}`, 200, ".", "pull-request-merge-result"},
		{fmt.Sprintf("GET pulls/%d", pull), "", 200, ".", "pull-request"},
	} {
		method, path, _ := strings.Cut(test.call, " ")
		got := w.do(method, "/api/v3/repos/acme/widgets/"+path, token, test.body)
		if got.status != test.status {
			t.Errorf("%s = %d, want %d: %s", test.call, got.status, test.status, got.raw)
			continue
		}
		parts := items(t, got, test.key)
		if len(parts) == 0 {
			t.Errorf("%s lists nothing", test.call)
		}
		for _, raw := range parts {
			if err := c.Validate(t, test.schema, raw); err != nil {
				t.Errorf("%s: %v", test.call, err)
			}
		}
	}
	for path, schema := range map[string]string{"/meta": "api-overview", "/users/gatepass[bot]": "public-user", "/users/acme": "public-user", "/": "root", "/api/v3": "root", "/api/v3/": "root"} {
		if err := c.Validate(t, schema, w.want(w.do("GET", path, token, ""), 200).raw); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestSearch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, title := range []string{"It squeaks", "It is red", "It squeaks again"} {
		_, err := w.h.AddIssue("acme", "widgets", "acme", title)
		w.must(err)
	}
	for query, want := range map[string]int{
		"squeaks": 2, "squeaks again": 1, "author:acme": 3, "is:pr": 0, "is:closed": 0, "repo:acme/none": 0, "squeaks repo:acme/widgets is:issue": 2, "team:x": 0,
	} {
		q := "/search/issues?q=" + url.QueryEscape(query)
		if got := items(t, w.want(w.do("GET", q, w.token(everything), ""), 200), "items"); len(got) != want {
			t.Errorf("%s finds %d, want %d", query, len(got), want)
		}
		if got := items(t, w.want(w.do("GET", q, w.token(map[string]string{"contents": "read"}), ""), 200), "items"); len(got) != 0 {
			t.Errorf("%s finds %d for a token that reads no issues", query, len(got))
		}
	}
}

// items are the parts of an answer that a schema is for.
func items(t *testing.T, got reply, key string) []json.RawMessage {
	t.Helper()
	raw := json.RawMessage(got.raw)
	if key == "." {
		return []json.RawMessage{raw}
	}
	if key != "[]" {
		var whole map[string]json.RawMessage
		if err := json.Unmarshal(raw, &whole); err != nil {
			t.Fatal(err)
		}
		raw = whole[key]
	}
	var list []json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return list
}
