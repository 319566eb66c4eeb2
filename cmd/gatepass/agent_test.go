package main

import (
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gatepass/gatepass/cmd/gatepass/command"
	"github.com/gatepass/gatepass/credential/agent"
	"github.com/rogpeppe/go-internal/testscript"
)

func TestStatusNamesAnAgentOfTheVersionBefore(t *testing.T) {
	for name, c := range map[string]struct {
		agent agent.State
		want  string
	}{
		"replaced":     {agent.State{Version: "(devel)", Program: "/bin/a", Replaced: true}, "warning: /bin/a was replaced; this agent still runs the previous version\n"},
		"this version": {agent.State{Version: "(devel)"}, ""},
	} {
		var out strings.Builder

		if err := printAgent(&out, command.Screen{}, c.agent); err != nil || !strings.Contains(out.String(), c.want) || c.want == "" && strings.Contains(out.String(), "warning") {
			t.Errorf("%s: %q, %v, want %q", name, &out, err, c.want)
		}
	}
}

// binVariable names a directory with the built programs; without it the agent
// is built.
const binVariable = "GATEPASS_TEST_BIN_DIR"

// TestAgentScripts runs testdata/agent/*.txtar like TestScripts, with the real agent on
// PATH and the file $WORK/token as its source.
func TestAgentScripts(t *testing.T) {
	git, err := exec.LookPath("git")
	if err != nil {
		t.Skip("git is not on PATH")
	}
	bin := agentDir(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/agent",
		RequireExplicitExec: true,
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
		// nohup ignores SIGHUP in the tests and all their children.
		Condition: func(cond string) (bool, error) { return cond == "hangup" && !signal.Ignored(syscall.SIGHUP), nil },
		Setup: func(env *testscript.Env) error {
			if err := setUp(env, git); err != nil {
				return err
			}
			return setUpAgent(env, bin)
		},
	})
}

func agentDir(t *testing.T) string {
	if dir := os.Getenv(binVariable); dir != "" {
		return dir
	}
	dir := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(dir, agent.Program), "../gatepass-agent")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", build, err, out)
	}
	return dir
}

// setUpAgent makes the files private, and stops the agent at the end.
func setUpAgent(env *testscript.Env, bin string) error {
	env.Setenv("PATH", env.Getenv("PATH")+string(filepath.ListSeparator)+bin)
	env.Setenv("XDG_RUNTIME_DIR", env.WorkDir)
	workspace := filepath.Join(env.WorkDir, "workspace.yaml")
	text, err := os.ReadFile(workspace)
	if err != nil {
		return err
	}
	expanded := os.Expand(string(text), func(string) string { return env.WorkDir })
	if err := os.WriteFile(workspace, []byte(expanded), 0o600); err != nil {
		return err
	}
	env.Defer(func() {
		stopAgents(env.WorkDir)
	})
	return os.Chmod(filepath.Join(env.WorkDir, "token"), 0o600)
}

// stopAgents stops the agents whose sockets are below a runtime directory.
func stopAgents(run string) {
	sockets, _ := filepath.Glob(run + "/gatepass/*.sock")
	for _, socket := range sockets {
		_, _, _ = agent.AskAt(socket, agent.Call{Operation: agent.Stop, Config: "/"}, time.Now().Add(time.Minute))
	}
}
