//go:build linux

package cmd_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"
)

// ask OPERATION LINE... runs the helper as git does, with the lines as its standard
// input. Lines may contain Go's escapes: \r, \x00.
func ask(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, len(args) > 0, "ask OPERATION LINE...")
	request := writeRequest(ts, args[1:])
	err := ts.Exec("sh", "-c", `exec git-credential-gatepass "$1" <"$2"`, "ask", args[0], request)
	if (err != nil) != neg {
		ts.Fatalf("git-credential-gatepass %s: %v", args[0], err)
	}
}

func writeRequest(ts *testscript.TestScript, lines []string) (path string) {
	var b strings.Builder
	for _, line := range lines {
		b.WriteString(unescape(ts, line) + "\n")
	}
	path = filepath.Join(ts.Getenv("RUN"), "request")
	ts.Check(os.WriteFile(path, []byte(b.String()+"\n"), 0o600))
	return path
}

// unescape reads Go's escapes; a quotation mark needs none.
func unescape(ts *testscript.TestScript, word string) string {
	text, err := strconv.Unquote(`"` + strings.ReplaceAll(word, `"`, `\"`) + `"`)
	ts.Check(err)
	return text
}

// together COUNT OPERATION LINE... asks COUNT times at once and prints each different
// answer after its number, without the credential's lines.
func together(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) > 1, "together COUNT OPERATION LINE...")
	const script = `
cd "$RUN" || exit
i=0
while [ "$i" -lt "$1" ]; do
	{ git-credential-gatepass "$2" <"$3" >"answer.$i" 2>&1 || echo failed >>"answer.$i"; } &
	i=$((i + 1))
done
wait
for f in answer.*; do paste -sd ' ' "$f"; done | sort | uniq -c
rm -f answer.*
`
	ts.Check(ts.Exec("sh", "-c", script, "together", args[0], args[1], writeRequest(ts, args[2:])))
}

// silent checks that the last program printed nothing at all.
func silent(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 0, "silent")
	if out, err := ts.ReadFile("stdout"), ts.ReadFile("stderr"); out != "" || err != "" {
		ts.Fatalf("stdout %q, stderr %q; want silence", out, err)
	}
}

// trickle OPERATION asks with a standard input that sends a letter from time to
// time and never ends.
func (w *world) trickle(ts *testscript.TestScript, args []string) {
	usage(ts, len(args) == 1, "trickle OPERATION")
	const script = `{ i=0; while [ $i -lt 200 ]; do printf x 2>/dev/null || exit; i=$((i + 1)); sleep 0.1; done; } | git-credential-gatepass "$1"`
	cmd := exec.Command("sh", "-c", script, "trickle", args[0])
	cmd.Env = append(os.Environ(), "PATH="+ts.Getenv("PATH"), "GATEPASS_CONFIG="+ts.Getenv("GATEPASS_CONFIG"),
		"GATEPASS_TIMEOUT="+ts.Getenv("GATEPASS_TIMEOUT"))
	cmd.Stdout, cmd.Stderr = ts.Stdout(), ts.Stderr()
	_ = cmd.Run() // the shell reports the exit status
}

// stranger COMMAND... runs a command as a user who has no directory for a socket. It
// needs root.
func (w *world) stranger(ts *testscript.TestScript, args []string) {
	usage(ts, len(args) > 0, "stranger COMMAND...")
	uid := 1<<20 + os.Getpid() // a user ID that is not in use
	blocked := fmt.Sprintf("/tmp/gatepass-%d", uid)
	ts.Check(os.WriteFile(blocked, nil, 0o600))
	defer os.Remove(blocked)
	ts.Check(filepath.WalkDir(w.work, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, uid, uid)
	}))
	cmd := exec.Command("env", args...)
	cmd.Dir = w.work
	cmd.Env = []string{}
	for _, name := range []string{"PATH", "HOME", "WORK", "GATEPASS_CONFIG", "GIT_CONFIG_NOSYSTEM", "GIT_TERMINAL_PROMPT"} {
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	cmd.Stdout, cmd.Stderr = ts.Stdout(), ts.Stderr()
	ts.Check(cmd.Run())
}
