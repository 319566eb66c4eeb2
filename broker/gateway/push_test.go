package gateway_test

import (
	"strings"
	"testing"

	"github.com/gatepass/gatepass/broker"
)

func TestPush(t *testing.T) {
	t.Parallel()
	w := newWorld(t, agents)
	w.clone()
	out := w.mustGit("push", "origin", "HEAD:refs/heads/agent/sb-agent/work")
	head := w.mustGit("rev-parse", "HEAD")
	if got := w.ref("refs/heads/agent/sb-agent/work"); got != head {
		t.Errorf("GitHub has %q, want %q; git printed %s", got, head, out)
	}
	want := "granted heads/agent/sb-agent/work\ngranted heads/agent/sb-agent/work ok"
	if got := w.audited(broker.KindPush); got != want {
		t.Errorf("the audit log has\n%s\nwant\n%s", got, want)
	}
}

// The full output that a person or an agent sees; GitHub sees nothing of the push.
func TestRefusedPush(t *testing.T) {
	t.Parallel()
	w := newWorld(t, agents)
	w.clone()
	main := w.ref("refs/heads/main")
	got, ok := w.git("push", "--no-verify", "origin", "HEAD:main", "HEAD:refs/heads/agent/sb-agent/x")
	want := `remote: gatepass: the whole push is refused; nothing was forwarded
remote: gatepass: allowed: agent/sb-agent/** (create, update, delete), refs/tags/v* (create)
remote: gatepass: for example: git push origin HEAD:refs/heads/agent/sb-agent/work
To ` + w.repo("acme/widgets") + `
 ! [remote rejected] HEAD -> main (gatepass: no rule allows it (update))
 ! [remote rejected] HEAD -> agent/sb-agent/x (gatepass: another ref in this push is not allowed)
error: failed to push some refs to '` + w.repo("acme/widgets") + `'`
	if got != want || ok {
		t.Errorf("git push printed (exit 0: %v)\n%s\nwant\n%s", ok, got, want)
	}
	if w.pushes() != 0 || w.ref("refs/heads/main") != main || w.ref("refs/heads/agent/sb-agent/x") != "" {
		t.Errorf("GitHub was sent %d pushes, main is %s, want none", w.pushes(), w.ref("refs/heads/main"))
	}
	if got, want := w.audited(broker.KindPush), "refused heads/main refused\nrefused heads/agent/sb-agent/x refused"; got != want {
		t.Errorf("the audit log has\n%s\nwant\n%s", got, want)
	}
}

// A workspace cannot push another workspace's branches.
func TestWorkspacesPushTheirOwnBranches(t *testing.T) {
	t.Parallel()
	w := newWorld(t, agents)
	w.clone()
	for _, args := range []string{
		"push origin HEAD:agent/sb-other/x", "push origin HEAD:agent/sb-agent2/x", "push origin HEAD:agent/sb-agent", "push --mirror origin", "push origin :main", "push -f origin HEAD:main",
		"push origin HEAD:refs/pull/1/head", "push origin HEAD:refs/notes/x", "push origin HEAD:agent/sb-agent/ok HEAD:refs/heads/release",
	} {
		if out, ok := w.git(strings.Fields(args)...); ok || !strings.Contains(out, "(gatepass: ") || strings.Contains(out, "up-to-date") {
			t.Errorf("git %s prints (exit 0: %v) %s, want a refusal", args, ok, out)
		}
	}
	if n := w.pushes(); n != 0 {
		t.Errorf("GitHub was sent %d pushes, want none", n)
	}
	for _, args := range []string{
		"push origin HEAD:refs/heads/agent/sb-agent/a/b", "push origin HEAD:refs/tags/v1", "push origin :agent/sb-agent/a/b", "push --dry-run origin HEAD:refs/heads/main",
		"tag v2", "tag -a -m note v3", "push --tags origin",
	} {
		if out, ok := w.git(strings.Fields(args)...); !ok {
			t.Errorf("git %s prints %s, want it to work", args, out)
		}
	}
	for _, args := range []string{"tag release", "tag -f v3 HEAD~1"} {
		w.mustGit(strings.Fields(args)...)
	}
	for _, args := range []string{"push --tags origin", "push -f origin v3", "push origin :refs/tags/v3"} {
		if out, ok := w.git(strings.Fields(args)...); ok || !strings.Contains(out, "(gatepass: ") {
			t.Errorf("git %s of tags that may be neither pushed, moved nor deleted prints (exit 0: %v) %s", args, ok, out)
		}
	}
}
