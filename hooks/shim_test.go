package hooks

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The names are those of githooks(5) in git 2.55: a hook that has no shim silently
// stops working when core.hooksPath is set.
func TestEveryHookIsKept(t *testing.T) {
	names := strings.Fields(`applypatch-msg commit-msg fsmonitor-watchman p4-changelist p4-post-changelist p4-pre-submit
		p4-prepare-changelist post-applypatch post-checkout post-commit post-index-change post-merge post-receive post-rewrite
		post-update pre-applypatch pre-auto-gc pre-commit pre-merge-commit pre-push pre-rebase pre-receive prepare-commit-msg
		proc-receive push-to-checkout reference-transaction sendemail-validate update`)
	kept := append(slices.Concat(Shimmed, Linked), "fsmonitor-watchman")
	slices.Sort(kept)
	if !slices.Equal(kept, names) {
		t.Errorf("kept are %q, want %q", kept, names)
	}
}

// A shell can read what git and install wrote, whatever it contains.
func TestShimText(t *testing.T) {
	for _, guard := range []string{"/usr/bin/gatepass-pre-push", "/it's a \\ $(x)\n`EVENT`/gatepass-pre-push"} {
		text := Shim{Guard: guard, Event: "update", Chain: "~root/it's"}.Text()
		got, ok := ShimGuard(text)
		if want := !strings.Contains(guard, "\n"); ok != want || want && got != guard {
			t.Errorf("ShimGuard of one for %q = %q, %v", guard, got, ok)
		}
		if !strings.Contains(text, `gatepass_hooks=~root/'it'\''s'`+"\n") || !strings.Contains(text, quote(guard)) {
			t.Errorf("Text = %q", text)
		}
	}
	dir := t.TempDir()
	for text, want := range map[string]bool{
		Shim{Guard: "/x/gatepass-pre-push", Event: PrePush}.Text():              true,
		Shim{Guard: "/x/gatepass-pre-push", Event: "update", Chain: "/"}.Text(): true,
		"#!/bin/sh\nexec /x/gatepass-pre-push --hook pre-push \"$@\"\n":         true,
		"#!/bin/sh\nmake test\n": false,
		"":                       false,
	} {
		path := filepath.Join(dir, "hook")
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		if got := IsShim(path); got != want {
			t.Errorf("IsShim(%q) = %v, want %v", text, got, want)
		}
	}
	for target, want := range map[string]bool{"/gone/gatepass-pre-push": true, "/gone/other": false} {
		link := filepath.Join(dir, strings.ReplaceAll(target, "/", "-"))
		if err := os.Symlink(target, link); err != nil {
			t.Fatal(err)
		}
		if got := IsShim(link); got != want {
			t.Errorf("IsShim(link to %s) = %v, want %v", target, got, want)
		}
	}
	if IsShim(filepath.Join(dir, "absent")) {
		t.Error("IsShim(absent) = true, want false")
	}
}

// What git starts for a shim: the usual versions of /bin/sh, and the guard that a link
// leads to, as released and without its early end. Short tests have one of these two
// only.
func interpreters(t *testing.T) map[string]string {
	found := guards(t)
	for _, name := range []string{"dash", "busybox", "bash"} {
		path, err := exec.LookPath(name)
		if err != nil || testing.Short() && len(found) > 0 {
			continue
		}
		found[name] = map[string]string{"dash": path, "busybox": path + " sh", "bash": path + " --posix"}[name]
	}
	if len(found) == 0 {
		t.Skip("missing: dash, busybox, bash or go")
	}
	return found
}

// guards returns the programs that links lead to: the released one, and another if Go
// and the module are on this machine. A short test builds no second one.
func guards(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	if dir := os.Getenv("GATEPASS_TEST_BIN_DIR"); dir != "" {
		found["link"] = filepath.Join(dir, shimMark)
		if testing.Short() {
			return found
		}
	}
	if _, err := os.Stat("../go.mod"); err == nil {
		found["link, Go"] = filepath.Join(t.TempDir(), shimMark)
		build := exec.CommandContext(t.Context(), "go", "build", "-o", found["link, Go"], "../cmd/"+shimMark)
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	return found
}

// writeShims makes a directory of shims for the interpreter or the guard, except for
// pre-push.
func writeShims(t *testing.T, dir, interpreter, chain string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, event := range Shimmed {
		if event == PrePush {
			continue
		}
		shim := Shim{Guard: "/gone/gatepass-pre-push", Event: event, Chain: chain}
		text := shim.Text()
		if filepath.Base(interpreter) != shimMark {
			text = strings.Replace(text, "#!/bin/sh", "#!"+interpreter, 1)
		} else if shim.Link() {
			if err := os.Symlink(interpreter, filepath.Join(dir, event)); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, event), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, event := range Linked {
		if target, ok := LinkTarget(event, chain); ok {
			if err := os.Symlink(target, filepath.Join(dir, event)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// For every command of git, the repositories' own hooks are called as if there were no
// shims: the same ones, in the same order, with the same arguments, input and
// directory, and their answers have the same effect. If a hook is absent, git behaves
// as without one.
func TestShimsChangeNothing(t *testing.T) {
	if _, err := os.Stat("/proc/self/cwd"); err != nil {
		t.Skip("missing: /proc")
	}
	programs := interpreters(t)
	for _, scene := range scenes {
		t.Run(scene.name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			want := play(t, root, "", scene.script)
			for _, hook := range scene.hooks {
				if !strings.Contains(want, hook+" ") {
					t.Errorf("%s did not run: %s", hook, want)
				}
			}
			for name, program := range programs {
				shims := filepath.Join(root, "shims "+name)
				writeShims(t, shims, program, "")
				if got := play(t, root, shims, scene.script); got != want {
					t.Errorf("%s, with shims:\n%s\nwithout:\n%s", name, got, want)
				}
			}
		})
	}
}

// What a shim cannot preserve, it does not drop silently: a link misses the hooks of a
// linked worktree that is pushed to, and then nothing is pushed.
func TestALinkThatMissesRefusesThePush(t *testing.T) {
	for name, interpreter := range interpreters(t) {
		root := t.TempDir()
		writeShims(t, filepath.Join(root, "shims"), interpreter, "")
		got := play(t, root, filepath.Join(root, "shims"), `
			repo r; git -C r worktree add -q ../wt; cd r; try git push -q ../wt main:two; hook .git/hooks push-to-checkout
			try git push -q ../wt main:three; git config core.hooksPath "$PWD/.git/hooks"; try git push -q ../wt main:four; git branch`)
		if !strings.Contains(got, "gatepass: push denied: the push-to-checkout hook of this repository cannot run through core.hooksPath; run there: git config core.hooksPath \"") ||
			strings.Contains(got, "  three") || !strings.Contains(got, "  two") || !strings.Contains(got, "  four") {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// A core.hooksPath that the shims replaced goes before the repository's own hooks, for
// links as for scripts. If any user can write to its home directory, no link can lead
// there.
func TestShimsOfAChain(t *testing.T) {
	for name, interpreter := range interpreters(t) {
		for _, chain := range []string{"/", "~/", "../"} {
			root := t.TempDir()
			foreign := chain + "for'eign x"
			if chain == "/" {
				foreign = filepath.Join(root, "work", foreign)
			}
			writeShims(t, filepath.Join(root, "shims"), interpreter, foreign)
			got := play(t, root, filepath.Join(root, "shims"), `
				repo r; hook r/.git/hooks pre-commit; hook "for'eign x" pre-commit; git -C r commit -q --allow-empty -m two
				git init -q --bare b; git -C b config receive.procReceiveRefs refs/for; hook "for'eign x" proc-receive; hook b/hooks proc-receive
				try git -C r push -q ../b main:refs/for/main`)
			ran := strings.Count(got, "proc-receive as") == 1 && !strings.Contains(got, "cannot find hook")
			refused := strings.Contains(got, "gatepass: push denied: the proc-receive hook")
			if strings.Count(got, "pre-commit as "+root+"/work/for'eign x/") != 1 || strings.Contains(got, ".git/hooks") || ran == refused || refused != (chain == "~/") {
				t.Errorf("%s, %s: %s", name, foreign, got)
			}
		}
	}
}

// A hook that leads back to the shim, or is one, runs once.
func TestShimsEnd(t *testing.T) {
	for name, interpreter := range interpreters(t) {
		root := t.TempDir()
		shims := filepath.Join(root, "shims")
		writeShims(t, shims, interpreter, "")
		got := play(t, root, shims, `
			repo r; cd r; cp "$(git config core.hooksPath)/commit-msg" .git/hooks; hook .git/hooks pre-commit post-commit
			shims=$(git config core.hooksPath)
			echo '"$shims/pre-commit"' >$W/pre-commit; echo 'exec "$shims/post-commit"' >$W/post-commit
			echo 'env sh -c "\"$shims/prepare-commit-msg\"; exit \$?"' >$W/prepare-commit-msg
			export shims; try git commit -q --allow-empty -m one; hook .git/hooks prepare-commit-msg; try git commit -q --allow-empty -m two`)
		if strings.Count(got, "\npre-commit as") != 2 || strings.Count(got, "\npost-commit as") != 1 ||
			!strings.Contains(got, "hooks call each other 8 deep") || !strings.Contains(got, "-m two = 1") {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// play runs a script of git commands in an empty directory, and returns their output
// and what the hooks record.
func play(t *testing.T, root, hooksPath, script string) string {
	t.Helper()
	work := filepath.Join(root, "work")
	if err := os.RemoveAll(work); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(work, 0o755); err != nil {
		t.Fatal(err)
	}
	settings := "[user]\nname = a\nemail = a@b\n[init]\ndefaultBranch = main\n[protocol \"file\"]\nallow = always\n"
	if hooksPath != "" {
		settings += fmt.Sprintf("[core]\nhooksPath = %q\n", hooksPath)
	}
	if err := os.WriteFile(filepath.Join(work, ".gitconfig"), []byte(settings), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", prelude+script)
	cmd.Dir = work
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + work, "W=" + work, "GIT_CONFIG_NOSYSTEM=1", "LC_ALL=C",
		"GIT_AUTHOR_DATE=@1 +0000", "GIT_COMMITTER_DATE=@1 +0000",
	}
	out, err := cmd.CombinedOutput()
	log, _ := os.ReadFile(filepath.Join(work, "log"))
	return strings.ReplaceAll(fmt.Sprintf("%s\n%s\n%v", out, log, err), "remote: ", "")
}

// prelude defines hook REPOSITORY/HOOKS NAME..., which installs hooks there that record
// how they are called and do what $W/NAME says.
const prelude = `
hook() {
	dir=$1; shift; mkdir -p "$dir"
	for name; do
		cat >"$dir/$name" <<-'EOF'
			#!/bin/sh
			name=${0##*/}
			case $name in
			proc-receive) in=$(head -c 4) ;; # git waits for an answer
			push-to-checkout) in=$(cat) ;;
			*) in=$(cat) me=$(cd "${0%/*}" && pwd -P)/$name ;;
			esac
			echo "$name as ${me-} in $PWD GIT_DIR=${GIT_DIR-} ($*) [$in]" >>"$W/log"
			[ ! -f "$W/$name" ] || . "$W/$name"
		EOF
		chmod 755 "$dir/$name"
	done
}
try() { "$@" || echo "$* = $?"; }
repo() { git init -q "$1"; git -C "$1" commit -q --allow-empty -m one; }
client="pre-commit prepare-commit-msg commit-msg post-commit pre-rebase post-checkout post-merge post-rewrite \
	pre-merge-commit reference-transaction applypatch-msg pre-applypatch post-applypatch pre-auto-gc"
server="pre-receive update post-receive post-update reference-transaction"
`

var scenes = []struct {
	name   string
	hooks  []string // that run in it
	script string
}{
	{"client", strings.Fields("pre-commit prepare-commit-msg commit-msg post-commit pre-rebase post-checkout post-merge post-rewrite pre-merge-commit reference-transaction applypatch-msg pre-applypatch post-applypatch"), `
		repo r; hook r/.git/hooks $client; cd r
		echo a >a; git add a; git commit -q -m two; mkdir -p sub; (cd sub; git commit -q --allow-empty --amend -m three)
		git checkout -q -b topic HEAD~1; echo b >b; git add b; git commit -q -m four; git rebase -q main
		git checkout -q main; git merge -q --no-ff -m merged topic; git format-patch -q -1 topic; git reset -q --hard HEAD~1; git am -q 0*
		echo 'exit 3' >$W/pre-commit; try git commit --allow-empty -m no
		echo 'exit 3' >$W/reference-transaction; try git branch no; try git hook run pre-auto-gc`},
	{"index", []string{"post-index-change"}, `
		repo r; hook r/.git/hooks post-index-change; cd r; echo a >a; git add a; git rm -q -f a`}, // how often it runs else depends on the time
	{"elsewhere", strings.Fields("pre-commit reference-transaction post-checkout"), `
		n=$(printf 'a b\nc'); repo "$n"; cd a*; hook .git/hooks $client; git commit -q --allow-empty -m two
		(cd .git; git branch four); GIT_DIR="$PWD/.git" git -C / branch five; cd ..
		mkdir "a b"; cd "a b"; repo r; cd r; hook .git/hooks $client
		git worktree add -q ../wt; (cd ../wt; git commit -q --allow-empty -m two; git -C "$PWD" branch three)
		(cd .git; git branch four); (cd .git/worktrees/wt; git branch five)
		mkdir sub; (cd sub; git --git-dir=../.git branch six; GIT_DIR=../.git git commit -q --allow-empty -m seven)
		git --git-dir="$PWD/.git" --work-tree=/tmp commit -q --allow-empty -m eight
		git init -q --separate-git-dir=../sep ../apart; hook ../sep/hooks $client; git -C ../apart commit -q --allow-empty -m nine
		repo ../lib; git submodule --quiet add ../lib; hook .git/modules/lib/hooks $client; git -C lib commit -q --allow-empty -m ten
		cd ..; git clone -q r clone`},
	{"server", strings.Fields("pre-receive update post-receive post-update reference-transaction"), `
		repo r; git init -q --bare b; hook b/hooks $server; cd r
		try git push -q ../b main HEAD:two; echo 'test "$1" != refs/heads/no' >$W/update; try git push -q ../b HEAD:no HEAD:yes
		echo 'echo denied; exit 1' >$W/pre-receive; try git push -q ../b HEAD:three
		cd ..; repo s; hook s/.git/hooks $server; rm pre-receive; cd r; try git push -q ../s main:new`},
	{"proc-receive", []string{"proc-receive"}, `
		repo r; git init -q --bare b; git -C b config receive.procReceiveRefs refs/for; cd r
		try git push -q ../b HEAD:refs/for/main; hook ../b/hooks proc-receive; try git push -q ../b HEAD:refs/for/main HEAD:main
		chmod 644 ../b/hooks/proc-receive; git -C ../b config advice.ignoredHook false; try git push -q ../b HEAD:refs/for/main`},
	{"push-to-checkout", []string{"push-to-checkout"}, `
		repo r; git clone -q r s; git -C s config receive.denyCurrentBranch updateInstead; cd r; echo a >a; git add a; git commit -q -m two
		try git push -q ../s main; ls ../s; echo dirty >../s/a; echo b >a; git commit -q -a -m three; try git push -q ../s main
		hook ../s/.git/hooks push-to-checkout; try git push -q ../s main; cat ../s/a`},
	{"not executable", nil, `
		repo r; cd r; git config core.bare false; hook .git/hooks pre-commit; chmod 644 .git/hooks/pre-commit
		git -c advice.ignoredHook=false commit -q --allow-empty -m two; ln -s /nowhere .git/hooks/commit-msg; git -c advice.ignoredHook=false commit -q --allow-empty -m two
		printf 'echo no interpreter\n' >.git/hooks/pre-commit; chmod 755 .git/hooks/pre-commit; git commit -q --allow-empty -m three`},
	{"another core.hooksPath", []string{"pre-commit"}, `
		repo r; cd r; hook .husky pre-commit; git config core.hooksPath .husky; git commit -q --allow-empty -m two
		git config core.hooksPath ''; git commit -q --allow-empty -m three`},
	{"hooks that call git", []string{"pre-commit"}, `
		repo r; repo s; hook r/.git/hooks pre-commit post-commit; hook s/.git/hooks pre-commit post-commit; cd r
		echo 'case $PWD in */r) unset GIT_INDEX_FILE; git -C ../s commit -q --allow-empty -m inner ;; esac' >$W/pre-commit
		cp $W/pre-commit $W/post-commit; git commit -q --allow-empty -m two`},
}
