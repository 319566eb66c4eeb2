package doctor

import (
	"context"
	"os/exec"
	"strings"
	"time"

	"github.com/gatepass/gatepass/credential/agent"
)

// versionWait limits how long a program may take to print its version.
const versionWait = 2 * time.Second

// AgentProgram returns the file that would be started as the agent, and its version; ""
// if it prints none.
func AgentProgram(ctx context.Context, getenv func(string) string) (path, version string, err error) {
	path, err = agent.Find(getenv)
	if err != nil {
		return "", "", err
	}
	ctx, cancel := context.WithTimeout(ctx, versionWait)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "--version")
	cmd.WaitDelay = versionWait
	out, err := cmd.Output()
	if said, ok := strings.CutPrefix(string(out), agent.Program+" "); ok && err == nil {
		version = strings.TrimSpace(said)
	}
	return path, version, nil
}
