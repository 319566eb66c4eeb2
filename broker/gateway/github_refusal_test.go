package gateway_test

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/gateway"
	"github.com/gatepass/gatepass/test/fakegithub"
)

// GitHub's observed texts about a ruleset, a secret and a large file.
const (
	rulesetText = `error: GH013: Repository rule violations found for refs/heads/agent/sb-agent/work.
Review all repository rules at https://github.com/acme/widgets/rules?ref=refs%2Fheads%2Fagent%2Fsb-agent%2Fwork

- Commits must have verified signatures.
  Found 1 violation:

  5f1ad5f2a5d9ab7c1c5a6a4b7b1b55c02a8a3a5e

- Changes must be made through a pull request.

`
	secretText = `error: GH013: Repository rule violations found for refs/heads/agent/sb-agent/work.

- GITHUB PUSH PROTECTION
  —————————————————————————————————————————
    Resolve the following violations before pushing again

    - Push cannot contain secrets


     (?) Learn how to resolve a blocked push
     https://docs.github.com/code-security/secret-scanning/working-with-secret-scanning-and-push-protection/working-with-push-protection-from-the-command-line#resolving-a-blocked-push


      —— GitHub Personal Access Token ——————————————————————
       locations:
         - commit: 5f1ad5f2a5d9ab7c1c5a6a4b7b1b55c02a8a3a5e
           path: README.md:4

       (?) To push, remove secret from commit(s) or follow this URL to allow the secret.
       https://github.com/acme/widgets/security/secret-scanning/unblock-secret/2ZrE5lhUYyvE1UAlJCl0QU3sVbw

`
	sizeText = `error: Trace: 6d8b0a6a8ef63a6c18f4a1a3fd1e4ad9bf4a7b2c5d6e7f8091a2b3c4d5e6f708
error: See https://gh.io/lfs for more information.
error: File large.bin is 120.00 MB; this exceeds GitHub's file size limit of 100.00 MB
error: GH001: Large files detected. You may want to try Git Large File Storage - https://git-lfs.github.com.
`
)

// GitHub's own checks refuse a push. git prints every line of GitHub's text, links included,
// and the audit log and the metrics name the check. Without that, agents were seen to retry
// the same refused push for hours.
func TestGitHubsRefusalsReachGit(t *testing.T) {
	t.Parallel()
	const ref = "refs/heads/agent/sb-agent/work"
	w := newWorld(t, agents)
	var mu sync.Mutex // guards checks
	var checks []string
	w.gateway.Done = func(t gateway.Transfer) {
		mu.Lock()
		defer mu.Unlock()
		checks = append(checks, t.Checks...)
	}
	w.clone()
	var want []string
	for _, c := range []struct{ name, text, reason, check, note string }{
		{name: "a ruleset", text: rulesetText, reason: "push declined due to repository rule violations", check: "ruleset"},
		{name: "a secret", text: secretText, reason: "push declined due to repository rule violations", check: "secret"},
		{name: "a large file", text: sizeText, reason: "pre-receive hook declined", check: "size"},
		{
			name: "a workflow file", reason: "refusing to allow a GitHub App to create or update workflow `.github/workflows/ci.yml` without `workflows` permission", check: "workflow",
			note: "remote: gatepass: GitHub requires the permission workflows for this push. If you changed no file below .github/workflows, the branch has old workflow files: rebase it on the default branch. Otherwise ask for the verb workflow in the workspace's profile\n",
		},
		{name: "another check", text: "error: the freeze lasts until Monday\n", reason: "pre-receive hook declined"},
	} {
		w.Fail(fakegithub.To("POST", "/git-receive-pack"), fakegithub.PushReport(c.text, "ng "+ref+" "+c.reason), 1)
		got, ok := w.git("push", "origin", "HEAD:"+ref)
		printed := ""
		for line := range strings.Lines(c.text) {
			printed += strings.TrimRight("remote: "+strings.TrimSuffix(line, "\n"), " ") + "\n"
		}
		printed += c.note + "To " + w.repo("acme/widgets") + "\n ! [remote rejected] HEAD -> agent/sb-agent/work (" + c.reason + ")\n" +
			"error: failed to push some refs to '" + w.repo("acme/widgets") + "'"
		if got != printed || ok {
			t.Errorf("%s: git printed (exit 0: %v)\n%s\nwant\n%s", c.name, ok, got, printed)
		}
		entries := w.Journal.Of(broker.KindPush)
		if last := entries[len(entries)-1]; last.Outcome != broker.OutcomeRefused || last.Reason != c.check || last.Detail != c.reason {
			t.Errorf("%s: the audit log has outcome %q, reason %q, detail %q, want refused, %q and GitHub's words", c.name, last.Outcome, last.Reason, last.Detail, c.check)
		}
		want = append(want, c.check)
	}
	waitFor(t, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(checks) >= len(want)
	})
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(checks, want) {
		t.Errorf("the metrics count %q, want %q", checks, want)
	}
}
