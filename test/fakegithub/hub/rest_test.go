package hub

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Each row is answered with the permission, and refused without it but with all others.
func TestCallsNeedTheirPermission(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.h.Commit("acme", "widgets", "topic", "Change it", map[string]string{"a.txt": "a"})
	w.must(err)
	pull, err := w.h.AddPull("acme", "widgets", "acme", "Change it", "topic", "main")
	w.must(err)
	issue, err := w.h.AddIssue("acme", "widgets", "acme", "It squeaks")
	w.must(err)
	workflow, err := w.h.AddWorkflow("acme", "widgets", "CI")
	w.must(err)
	for _, test := range []struct{ call, body, needs, accepted string }{
		{"GET pulls", "", "pull_requests:read", "pull_requests=read"},
		{fmt.Sprintf("GET pulls/%d", pull), "", "pull_requests:read", "pull_requests=read"},
		{fmt.Sprintf("PATCH pulls/%d", pull), `{"body":"x"}`, "pull_requests:write", "pull_requests=write"},
		{"GET issues", "", "issues:read", "issues=read"},
		{"POST issues", `{"title":"x"}`, "issues:write", "issues=write"},
		{fmt.Sprintf("POST issues/%d/comments", issue), `{"body":"x"}`, "issues:write", "issues=write; pull_requests=write"},
		{fmt.Sprintf("POST issues/%d/comments", pull), `{"body":"x"}`, "pull_requests:write", "issues=write; pull_requests=write"},
		{"GET actions/runs", "", "actions:read", "actions=read"},
		{fmt.Sprintf("POST actions/workflows/%d/dispatches", workflow), `{"ref":"main"}`, "actions:write", "actions=write"},
		{"GET branches", "", "contents:read", "contents=read"},
		{"GET releases", "", "contents:read", "contents=read"},
		{"POST git/blobs", `{"content":"x"}`, "contents:write", "contents=write"},
		{fmt.Sprintf("PUT pulls/%d/update-branch", pull), `{}`, "contents:write", "pull_requests=write,contents=write"},
	} {
		method, path, _ := strings.Cut(test.call, " ")
		permission, level, _ := strings.Cut(test.needs, ":")
		with := map[string]string{permission: level}
		if strings.Contains(test.accepted, ",") {
			with["pull_requests"] = "write"
		}
		if got := w.do(method, "/repos/acme/widgets/"+path, w.token(with), test.body); got.status >= 300 && got.status != 422 {
			t.Errorf("%s with %v = %d %s", test.call, with, got.status, got.raw)
		}
		without := map[string]string{"metadata": "read"}
		for name, most := range everything {
			if name != permission && !strings.Contains(test.accepted, "; ") {
				without[name] = most
			}
		}
		if level == "write" {
			without[permission] = "read"
		}
		got := w.do(method, "/repos/acme/widgets/"+path, w.token(without), test.body)
		if got.status != 403 || got.message() != notForApps || got.header.Get("X-Accepted-GitHub-Permissions") != test.accepted {
			t.Errorf("%s without %s = %d %s, accepted %q", test.call, test.needs, got.status, got.raw, got.header.Get("X-Accepted-GitHub-Permissions"))
		}
	}
}

func TestRefusalsAreGitHubs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.repository("hidden")
	ahead, err := w.h.Commit("acme", "widgets", "topic", "Change it", map[string]string{"README.md": "mine\n"})
	w.must(err)
	main, err := w.h.Commit("acme", "widgets", "main", "Change it as well", map[string]string{"README.md": "yours\n"})
	w.must(err)
	pull, err := w.h.AddPull("acme", "widgets", "acme", "Change it", "topic", "main")
	w.must(err)
	token := w.token(everything, "widgets")
	for _, test := range []struct {
		call, body string
		status     int
		message    string
	}{
		{"GET /repos/acme/hidden/pulls", "", 404, "Not Found"},
		{"GET /user", "", 403, notForApps},
		{"GET /users/nobody", "", 404, "Not Found"},
		{"POST /repos/acme/widgets/git/refs", `{"ref":"refs/heads/topic","sha":"` + ahead + `"}`, 422, "Reference already exists"},
		{"POST /repos/acme/widgets/git/refs", `{"ref":"refs/heads/x","sha":"` + strings.Repeat("0", 40) + `"}`, 422, "Object does not exist"},
		{"POST /repos/acme/widgets/git/refs", `{"ref":"heads","sha":"` + ahead + `"}`, 422, "Reference name is not valid"},
		{"POST /repos/acme/widgets/git/refs", `{"ref":"refs/heads/-x..y","sha":"` + ahead + `"}`, 422, "Reference name is not valid"},
		{"PATCH /repos/acme/widgets/git/refs/heads/main", `{"sha":"` + ahead + `","force":false}`, 422, "Update is not a fast forward"},
		{"PATCH /repos/acme/widgets/git/refs/heads/none", `{"sha":"` + ahead + `"}`, 422, msgNoRef},
		{"DELETE /repos/acme/widgets/git/refs/heads/none", "", 422, msgNoRef},
		{"DELETE /repos/acme/widgets/git/refs/pull/1/head", "", 422, msgNoRef},
		{"POST /repos/acme/widgets/merges", `{"base":"main","head":"topic"}`, 409, "Merge conflict"},
		{"POST /repos/acme/widgets/merges", `{"base":"none","head":"topic"}`, 404, "Base does not exist"},
		{"POST /repos/acme/widgets/merges", `{"base":"main","head":"none"}`, 404, "Head does not exist"},
		{fmt.Sprintf("PUT /repos/acme/widgets/pulls/%d/merge", pull), `{}`, 405, "Pull Request is not mergeable"},
		{fmt.Sprintf("PUT /repos/acme/widgets/pulls/%d/merge", pull), `{"sha":"` + main + `"}`, 409, "Head branch was modified. Review and try the merge again."},
		{"POST /repos/acme/widgets/pulls", `{"title":"x","head":"topic","base":"main"}`, 422, "Validation Failed"},
		{"POST /repos/acme/widgets/pulls", `{"title":"x","head":"topic","base":"main","heads":1}`, 400, `fakegithub: json: unknown field "heads"`},
		{"PUT /repos/acme/widgets/contents/README.md", `{"message":"x","content":"eA=="}`, 422, "Invalid request.\n\n\"sha\" wasn't supplied."},
		{"PUT /repos/acme/widgets/contents/README.md", `{"message":"x","content":"eA==","sha":"` + main + `"}`, 409, "README.md does not match " + main},
		{"PUT /repos/acme/widgets/contents/.git/config", `{"message":"x","content":"eA=="}`, 422, "path contains a malformed path component"},
	} {
		method, path, _ := strings.Cut(test.call, " ")
		if got := w.do(method, path, token, test.body); got.status != test.status || got.message() != test.message {
			t.Errorf("%s %s = %d %q, want %d %q", test.call, test.body, got.status, got.message(), test.status, test.message)
		}
	}
	if got := w.refs(); got["refs/heads/main"] != main || got["refs/heads/topic"] != ahead || len(got) != 2 {
		t.Errorf("a refused call moved a ref: %v", got)
	}
}

// GitHub names the repository by its ID in a Link header, and keeps the rest of the query.
func TestListsHavePages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for n := range 5 {
		_, err := w.h.AddIssue("acme", "widgets", "acme", strconv.Itoa(n))
		w.must(err)
	}
	repo, _ := w.s.Repository("acme", "widgets")
	token := w.token(everything)
	got := w.want(w.do("GET", "/api/v3/repos/acme/widgets/issues?state=all&per_page=2", token, ""), 200)
	base := fmt.Sprintf("<%s/api/v3/repositories/%d/issues?state=all&per_page=2&page=", w.s.URL(), repo.ID)
	if want := base + `2>; rel="next", ` + base + `3>; rel="last"`; got.header.Get("Link") != want {
		t.Errorf("Link is %s, want %s", got.header.Get("Link"), want)
	}
	last := w.want(w.do("GET", fmt.Sprintf("/api/v3/repositories/%d/issues?state=all&per_page=2&page=3", repo.ID), token, ""), 200)
	if got := len(items(t, last, "[]")); got != 1 {
		t.Errorf("page 3 has %d issues, want 1", got)
	}
}

func TestAnswersAreConditional(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	token := w.token(everything)
	first := w.want(w.do("GET", "/repos/acme/widgets/pulls", token, ""), 200)
	tag := first.header.Get("ETag")
	again := w.want(w.do("GET", "/repos/acme/widgets/pulls", token, "", "If-None-Match", tag), 304)
	if len(again.raw) > 0 || tag == "" || again.header.Get("ETag") != tag {
		t.Errorf("a 304 has the body %q and the ETag %q, want none and %q", again.raw, again.header.Get("ETag"), tag)
	}
	if a, b := first.header.Get("X-RateLimit-Used"), again.header.Get("X-RateLimit-Used"); a != b {
		t.Errorf("a 304 is counted: %s, then %s", a, b)
	}
	_, err := w.h.Commit("acme", "widgets", "topic", "Change it", map[string]string{"a": "a"})
	w.must(err)
	_, err = w.h.AddPull("acme", "widgets", "acme", "Change it", "topic", "main")
	w.must(err)
	w.want(w.do("GET", "/repos/acme/widgets/pulls", token, "", "If-None-Match", tag), 200)
}

func TestRenamedRepositoriesRedirect(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	repo, _ := w.s.Repository("acme", "widgets")
	w.must(w.s.RenameRepository("acme", "widgets", "gadgets"))
	token := w.token(everything)
	for method, status := range map[string]int{"GET": 301, "POST": 307} {
		got := w.want(w.do(method, "/api/v3/repos/acme/widgets/pulls?state=all", token, ""), status)
		if want := fmt.Sprintf("%s/api/v3/repositories/%d/pulls?state=all", w.s.URL(), repo.ID); got.header.Get("Location") != want {
			t.Errorf("%s: Location is %s, want %s", method, got.header.Get("Location"), want)
		}
	}
}

// Logs, artifacts and assets are at another host, by a link that is signed and expires.
func TestDownloadsAreElsewhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	run, err := w.h.AddRun("acme", "widgets", Run{Workflow: "CI", Branch: "main", Jobs: []Job{{Name: "build", Steps: []Step{{"Compile", "compiling"}}}}})
	w.must(err)
	w.must(w.h.AddArtifact("acme", "widgets", run, "large", strings.NewReader("0123456789"), 10))
	token := w.token(everything)
	link := func(path string, headers ...string) string {
		t.Helper()
		at := w.want(w.do("GET", path, token, "", headers...), 302).header.Get("Location")
		if !strings.HasPrefix(at, w.h.DownloadsURL()+"/") || strings.HasPrefix(at, w.s.URL()) {
			t.Errorf("%s is at %s", path, at)
		}
		return at
	}
	list := w.do("GET", "/repos/acme/widgets/actions/artifacts?name=large", token, "").object(t)
	artifact := list["artifacts"].([]any)[0].(object)["archive_download_url"].(string)
	at := link(artifact)
	if got := w.want(w.do("GET", at, "", ""), 200); string(got.raw) != "0123456789" {
		t.Errorf("the artifact is %q", got.raw)
	}
	if got := w.want(w.do("GET", at, "", "", "Range", "bytes=2-4"), 206); string(got.raw) != "234" {
		t.Errorf("a range of the artifact is %q", got.raw)
	}
	w.want(w.do("GET", at, token, ""), 400)
	w.want(w.do("GET", at+"0", "", ""), 403)
	w.want(w.do("GET", link(fmt.Sprintf("/repos/acme/widgets/actions/runs/%d/logs", run)), "", ""), 200)
	w.s.Advance(linkLife)
	w.want(w.do("GET", at, "", ""), 403)
	if got := w.h.Downloads(); len(got) != 6 || !got[2].Authorization || got[1].Range != "bytes=2-4" {
		t.Errorf("storage saw %+v", got)
	}
	release := w.want(w.do("POST", "/api/v3/repos/acme/widgets/releases", token, `{"tag_name":"v1"}`), 201).object(t)
	upload, _, _ := strings.Cut(release["upload_url"].(string), "{")
	asset := w.want(w.do("POST", upload+"?name=a.bin", token, "the asset", "Content-Type", "application/octet-stream"), 201).object(t)
	at = link(asset["url"].(string), "Accept", "application/octet-stream")
	if got := w.want(w.do("GET", at, "", ""), 200); string(got.raw) != "the asset" {
		t.Errorf("the asset is %q", got.raw)
	}
}

// An Enterprise Server is its own storage, and says its version.
func TestEnterprise(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	token := w.token(everything)
	if got := w.do("GET", "/meta", token, "").object(t); got["installed_version"] != nil {
		t.Errorf("github.com says a version: %v", got)
	}
	w.h.SetEnterprise("3.20.1")
	if got := w.do("GET", "/api/v3/meta", token, "").object(t); got["installed_version"] != "3.20.1" {
		t.Errorf("an Enterprise Server says %v", got)
	}
	run, err := w.h.AddRun("acme", "widgets", Run{Workflow: "CI", Branch: "main"})
	w.must(err)
	at := w.want(w.do("GET", fmt.Sprintf("/api/v3/repos/acme/widgets/actions/runs/%d/logs", run), token, ""), 302).header.Get("Location")
	if !strings.HasPrefix(at, w.s.URL()+"/_services/") {
		t.Errorf("its logs are at %s", at)
	}
	w.want(w.do("GET", at, token, ""), 200)
	w.want(w.do("GET", at, "", ""), 200)
	w.s.Advance(time.Hour)
	w.want(w.do("GET", at, "", ""), 403)
}

// A pull request sees what pushes do to its branches.
func TestPullRequestsFollowTheirBranches(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	token := w.token(everything)
	head, err := w.h.Commit("acme", "widgets", "topic", "Change it", map[string]string{"a": "1"})
	w.must(err)
	made := w.want(w.do("POST", "/repos/acme/widgets/pulls", token, `{"title":"Change it","head":"acme:topic","base":"main"}`), 201).object(t)
	number := int(made["number"].(float64))
	path := fmt.Sprintf("/repos/acme/widgets/pulls/%d", number)
	repo, _ := w.s.Repository("acme", "widgets")
	pointsTo := func() string {
		sha, _ := w.s.GitIn(background, repo, nil, "rev-parse", fmt.Sprintf("refs/pull/%d/head", number))
		return sha
	}
	if got := pointsTo(); got != head {
		t.Errorf("refs/pull/%d/head is %s, want %s", number, got, head)
	}
	head, err = w.h.Commit("acme", "widgets", "topic", "Change it again", map[string]string{"a": "2"})
	w.must(err)
	got := w.do("GET", path, token, "").object(t)
	if sha := got["head"].(object)["sha"]; sha != head || pointsTo() != head || got["commits"] != 2.0 {
		t.Errorf("after a push the pull request is at %v with %v commits, its ref at %s; want %s and 2", sha, got["commits"], pointsTo(), head)
	}
	if diff := w.do("GET", path, token, "", "Accept", "application/vnd.github.v3.diff"); !strings.Contains(string(diff.raw), "+2") {
		t.Errorf("its diff is %s", diff.raw)
	}
	w.want(w.do("DELETE", "/repos/acme/widgets/git/refs/heads/topic", token, ""), 204)
	if got := w.do("GET", path, token, "").object(t); got["state"] != "closed" || got["merged"] != false {
		t.Errorf("without its branch the pull request is %v, merged %v", got["state"], got["merged"])
	}
}
