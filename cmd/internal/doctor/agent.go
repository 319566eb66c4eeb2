package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/credential/agent"
	"github.com/gatepass/gatepass/internal/gitsafety"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/internal/version"
)

// minLifetime is the remaining lifetime below which the doctor warns about a new token.
const minLifetime = 5 * time.Minute

// An agentCheck checks the agent, and asks it for a token.
type agentCheck struct{ *setup }

// check checks where the agent lives and whether one runs, and asks it for a
// token as git would.
func (c agentCheck) check(ctx context.Context) []Finding {
	if c.workspace == nil {
		return nil // reported already
	}
	deadline := time.Now().Add(remaining(ctx))
	found := append(c.checkRuntimeDir(), c.checkProgram(ctx)...)
	before, running, err := c.state(deadline)
	switch {
	case err != nil:
		return append(found, Finding{Level: Failure, Text: "the running agent does not answer: " + err.Error(), Fix: "gatepass agent stop"})
	case running && before.Problem != "":
		return append(found, Finding{Level: Failure, Text: "the agent cannot work: " + before.Problem, Fix: "correct " + c.path})
	case running:
		found = append(found, ageOf(before))
	default:
		found = append(found, Finding{Level: OK, Text: "no agent is running; git starts one when it needs a token"})
	}
	found = append(found, c.checkToken(deadline)...)
	if after, running, err := c.state(deadline); err == nil && running && after.Warning != "" {
		why, mend := split(after.Warning, "see gatepass agent status")
		found = append(found, Finding{Level: Warning, Text: why, Fix: mend})
	}
	return found
}

// checkProgram reports which agent program would be started. If there is none, the
// request for a token reports that.
func (c agentCheck) checkProgram(ctx context.Context) []Finding {
	path, installed, err := AgentProgram(ctx, c.Getenv)
	switch {
	case err != nil:
		return nil
	case version.Differ(installed, version.String()):
		return []Finding{{
			Level: Warning, Text: path + " says version " + strconv.Quote(installed) + ", but gatepass is version " + version.String(),
			Fix: "install the programs of one version",
		}}
	}
	return []Finding{{Level: OK, Text: path + " is version " + installed}}
}

// ageOf reports the running agent. An agent of another version is right only while it
// holds a session that a new agent could not get.
func ageOf(a agent.State) Finding {
	text := "an agent is running, process " + strconv.Itoa(a.PID) + ", version " + a.Version
	switch {
	case a.Replaced:
		return Finding{Level: Warning, Text: text + ", and " + a.Program + " was replaced since", Fix: "gatepass agent stop"}
	case version.Differ(a.Version, version.String()):
		return Finding{Level: Warning, Text: text + ", but gatepass is version " + version.String(), Fix: "install the programs of one version, then gatepass agent stop"}
	}
	return Finding{Level: OK, Text: text}
}

// split splits a line "what: why; what to do" before what to do.
func split(line, otherwise string) (why, mend string) {
	if i := strings.LastIndex(line, "; "); i >= 0 {
		return line[:i], line[i+2:]
	}
	return line, otherwise
}

// checkRuntimeDir checks the directory of the socket.
func (c agentCheck) checkRuntimeDir() []Finding {
	place, err := agent.Locate(c.path, c.Getenv)
	if err != nil {
		return []Finding{{
			Level: Warning, Text: "there is no directory for the agent's socket, so tokens are not cached: " + err.Error(),
			Fix: "set XDG_RUNTIME_DIR to a directory of this user with mode 0700",
		}}
	}
	wanted := c.Getenv("XDG_RUNTIME_DIR")
	if filepath.IsAbs(wanted) && place.Directory != filepath.Clean(wanted)+"/gatepass" {
		return []Finding{{
			Level: Warning, Text: "XDG_RUNTIME_DIR (" + wanted + ") cannot be used; the agent's socket is in " + place.Directory,
			Fix: "set XDG_RUNTIME_DIR to a short path of this user with mode 0700, or unset it",
		}}
	}
	return nil
}

func (c agentCheck) state(deadline time.Time) (s agent.State, running bool, err error) {
	reply, running, err := agent.AskRunning(agent.Call{Operation: agent.Status, Config: c.path}, c.Getenv, deadline)
	if err != nil || !running {
		return s, false, err
	}
	if reply.Exit != 0 {
		return s, true, errors.New(errorText(reply))
	}
	if err := json.Unmarshal(reply.Stdout, &s); err != nil {
		return s, true, errors.New("it has another version")
	}
	return s, true, nil
}

// checkToken asks for a token as git does, and shows its hash.
func (c agentCheck) checkToken(deadline time.Time) []Finding {
	if !c.gateway.IsZero() {
		return c.checkSession(deadline)
	}
	t := c.testRepository()
	if t.Path == "" && c.needsPaths() {
		return []Finding{{Level: OK, Text: "no token was requested, because the workspace file does not name a single repository; run gatepass doctor in a clone to check one"}}
	}
	what := "a token for https://" + strings.TrimSuffix(t.Host+"/"+t.Path, "/")
	return c.tryCall(what, agent.Get, string(request(t)), deadline)
}

// tryCall makes the request to the agent and reports the token, or why there is
// none.
func (c agentCheck) tryCall(what, operation, payload string, deadline time.Time) []Finding {
	reply, err := agent.Ask(agent.Call{Operation: operation, Config: c.path, Payload: []byte(payload)}, c.Getenv, deadline)
	if err != nil {
		return []Finding{{Level: Failure, Text: what + " cannot be fetched: " + err.Error(), Fix: "run gatepass agent status, and check that gatepass-agent is next to git-credential-gatepass"}}
	}
	token, given := parseAnswer(string(reply.Stdout))
	if !given {
		why, mend := errorText(reply), "see the reason; the source is named in "+c.path
		if i := strings.LastIndex(why, "; "); i >= 0 {
			why, mend = why[:i], why[i+2:]
		}
		return []Finding{{Level: Failure, Text: what + " cannot be fetched: " + why, Fix: mend}}
	}
	text := what + ": " + token.String() + c.heldToken(token, deadline)
	left := time.Until(token.Expiry).Truncate(time.Second)
	if left < minLifetime {
		return []Finding{{Level: Warning, Text: text + ", expires in " + left.String(), Fix: "check that the source is refreshed"}}
	}
	return []Finding{{Level: OK, Text: text + ", expires in " + left.String()}}
}

// heldToken says what the agent knows about the token that it just gave.
func (c agentCheck) heldToken(token credential.Token, deadline time.Time) string {
	s, running, err := c.state(deadline)
	if err != nil || !running {
		return ""
	}
	for _, held := range s.Tokens {
		if held.Hash != token.Hash() {
			continue
		}
		text := ""
		if held.Repositories != nil {
			text += ", for " + strings.Join(held.Repositories, ", ")
		}
		if held.Permissions != nil {
			text += ", may " + permissions(held.Permissions)
		}
		return text
	}
	return ""
}

func request(t gitsafety.Target) []byte {
	text := "protocol=https\nhost=" + t.Host + "\n"
	if t.Path != "" {
		text += "path=" + t.Path + "\n"
	}
	return []byte(text + "\n")
}

// errorText returns the line that a person would see, without the program's name.
func errorText(reply agent.Reply) string {
	line := strings.TrimPrefix(strings.TrimSpace(string(reply.Stderr)), "gatepass: ")
	if line == "" {
		return "the agent printed nothing"
	}
	return usererr.Escape(line)
}

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
