package ghtest_test

import (
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/test/ghtest"
)

// Both libraries do the same: read three pages, open a pull request, comment on it, ask by
// GraphQL where they can, and try to move a ref.
const (
	withOctokit = `import { createRequire } from "node:module"
const { Octokit } = await import(createRequire(process.env.OCTOKIT + "/").resolve("octokit"))
const octokit = new Octokit({ auth: process.env.TOKEN, baseUrl: process.env.API })
const at = { owner: "acme", repo: "widgets" }
const issues = await octokit.paginate(octokit.rest.issues.listForRepo, { ...at, state: "open", per_page: 2 })
console.log("issues:", issues.filter(i => i.title.startsWith("Page ")).length)
const { data: pull } = await octokit.rest.pulls.create({ ...at, title: "By a library", head: "other", base: "base" })
await octokit.rest.issues.createComment({ ...at, issue_number: pull.number, body: "Said by a library" })
console.log("comment:", (await octokit.request("GET " + pull.comments_url)).data[0].body)
const { repository } = await octokit.graphql("query($n: Int!) { repository(owner: \"acme\", name: \"widgets\") { pullRequest(number: $n) { title } } }", { n: pull.number })
console.log("pull:", repository.pullRequest.title)
console.log("user:", (await octokit.rest.users.getAuthenticated()).data.login)
const sha = (await octokit.rest.repos.getBranch({ ...at, branch: "main" })).data.commit.sha
for (const request of [["createRef", { ref: "refs/heads/evil", sha }], ["updateRef", { ref: "heads/main", sha, force: true }]])
  await octokit.rest.git[request[0]]({ ...at, ...request[1] }).then(() => console.log("moved"), e => console.log("refused:", e.status))
`
	withPyGithub = `import os
from github import Github, GithubException
github = Github(os.environ["TOKEN"], base_url=os.environ["API"], per_page=2)
repo = github.get_repo("acme/widgets")
print("issues:", len([i for i in repo.get_issues(state="open") if i.title.startswith("Page ")]))
pull = repo.create_pull(title="By a library", body="", head="other", base="base")
pull.create_issue_comment("Said by a library")
print("comment:", pull.get_issue_comments()[0].body)
print("pull:", repo.get_pull(pull.number).title)
print("user:", github.get_user().login)
sha = repo.get_branch("main").commit.sha
for move in (lambda: repo.create_git_ref("refs/heads/evil", sha), lambda: repo._requester.requestJsonAndCheck("PATCH", repo.url + "/git/refs/heads/main", input={"sha": sha, "force": True})):
    try:
        move()
        print("moved")
    except GithubException as e:
        print("refused:", e.status)
`
	done = "issues: 6\ncomment: Said by a library\npull: By a library\nuser: gatepass[bot]\nrefused: 403\nrefused: 403\n"
)

// Programs that are not gh work by the same session. Each page but the first is at a URL
// that GitHub's answer named, as are comments: PyGithub refuses other hosts than its own.
func TestLibrariesThroughTheGateway(t *testing.T) {
	if testing.Short() {
		t.Skip("runs many programs")
	}
	t.Parallel()
	octokit := os.Getenv("GATEPASS_TEST_OCTOKIT")
	for _, c := range []struct {
		name, script string
		command      []string
		isThere      bool
	}{
		{"octokit", withOctokit, []string{"node", "--input-type=module", "-e"}, octokit != ""},
		{"PyGithub", withPyGithub, []string{"/usr/bin/python3", "-c"}, exec.Command("/usr/bin/python3", "-c", "import github").Run() == nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if !c.isThere {
				t.Skipf("missing: %s; make test-real has it", c.name)
			}
			g, h, server := newGateway(t)
			ghtest.Prepare(t, h)
			_, err := h.Commit("acme", "widgets", "base", "Base", map[string]string{"base.txt": "base\n"})
			must(t, err)
			for n := range 6 {
				_, err := h.AddIssue("acme", "widgets", "acme", "Page "+string(rune('0'+n)), "")
				must(t, err)
			}
			ca := filepath.Join(t.TempDir(), "ca.pem")
			must(t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600))
			cmd := exec.CommandContext(t.Context(), c.command[0], append(c.command[1:], c.script)...)
			cmd.Env = []string{
				"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "NODE_EXTRA_CA_CERTS=" + ca, "REQUESTS_CA_BUNDLE=" + ca, "OCTOKIT=" + octokit,
				"API=" + server.URL + "/api/v3", "TOKEN=" + g.Session("acme/widgets"),
			}
			var errs strings.Builder
			cmd.Stderr = &errs
			if out, err := cmd.Output(); err != nil || string(out) != done {
				t.Errorf("%v\n%s%s\nwant\n%s", err, out, errs.String(), done)
			}
		})
	}
}
