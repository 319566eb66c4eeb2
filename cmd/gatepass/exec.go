package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/gatepass/gatepass/cmd/gatepass/command"
	"github.com/gatepass/gatepass/config"
	"github.com/gatepass/gatepass/credential/agent"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"
)

const execAbout = `Runs COMMAND with the token for the working directory's repository, or for
--repo and --host, in its environment as GH_TOKEN. gatepass does not write the
token to disk, but COMMAND's child processes inherit it, and other programs of
the same user can read it. It expires within an hour and is not refreshed.

On a host other than github.com, GH_HOST has the host's name. On GitHub
Enterprise Server, GH_ENTERPRISE_TOKEN has the token as well, because gh reads it
there. gatepass replaces these variables, and removes GITHUB_TOKEN and
GITHUB_ENTERPRISE_TOKEN, so that COMMAND cannot use a token of another scope. For
a program that reads only GITHUB_TOKEN, set it as in the last example.

If the workspace has a gateway, there is no token: GH_HOST has the gateway's name,
GH_ENTERPRISE_TOKEN has a session there for the repository, and GH_REPO has the
repository's name. GITHUB_API_URL, GITHUB_GRAPHQL_URL, GITHUB_SERVER_URL and
GITHUB_HOST have the gateway's addresses. In the arguments of gh, addresses of
GitHub's pages are replaced by the gateway's, so pasted addresses work. Outside of
a clone, the session is for all repositories of the workspace.

COMMAND gets gatepass's standard input, output and error, and its signals. The
exit status is COMMAND's: 128+N if signal N ended it, 127 if it was not found, 126
if it could not be run. /bin/sh runs a script without #!.

Examples:
  gatepass exec -- gh pr create --fill
  gatepass exec --repo acme/widgets --operation read -- gh api repos/acme/widgets
  gatepass exec -- sh -c 'GITHUB_TOKEN=$GH_TOKEN exec terraform plan'`

func (cmd tokenCommands) execCommand() *cli.Command {
	return &cli.Command{
		Name:        command.ExecName,
		Usage:       "run a command with GH_TOKEN or a gateway session in its environment",
		UsageText:   "gatepass exec [--repo OWNER/NAME] [--host HOST] [--operation read|write] [--fresh] -- COMMAND [ARGUMENT...]",
		Description: execAbout,
		Flags:       targetFlags(),
		Action:      cmd.exec,
	}
}

func (cmd tokenCommands) exec(c *cli.Context) error {
	if !c.Args().Present() {
		return command.Usage(c, "a command is missing: gatepass exec -- COMMAND")
	}
	workspace, err := cmd.GatewayWorkspace(c.Context)
	if err != nil {
		return err
	}
	command := exec.Command(c.Args().First(), forGh(c.Args().First(), c.Args().Tail(), workspace)...)
	if command.Err != nil {
		return notRun(c.Args().First(), command.Err)
	}
	if command.Env, err = cmd.execEnvironment(c, workspace); err != nil {
		return err
	}
	command.Stdin, command.Stdout, command.Stderr = cmd.Stdin, cmd.Stdout, cmd.Stderr
	return runPassingSignals(c.Context, command)
}

// execEnvironment returns the command's environment: with a token, or with a session if
// the workspace has a gateway.
func (cmd tokenCommands) execEnvironment(c *cli.Context, workspace *config.Workspace) ([]string, error) {
	if workspace != nil {
		return cmd.gatewayEnvironment(c, workspace)
	}
	where, grant, err := cmd.granted(c)
	if err != nil {
		return nil, err
	}
	return withToken(os.Environ(), where.host, grant.Token), nil
}

// The variables in which gh looks for its host and for a token ("gh help environment"):
// GH_TOKEN for github.com and its tenants under ghe.com, GH_ENTERPRISE_TOKEN for GitHub
// Enterprise Server.
const (
	hostVariable       = "GH_HOST"
	tokenVariable      = "GH_TOKEN"
	enterpriseVariable = "GH_ENTERPRISE_TOKEN"
)

// clearedVariables are the variables that the command does not inherit: those that exec may
// set, and those in which gh and other clients look next.
var clearedVariables = []string{
	hostVariable, tokenVariable, enterpriseVariable, "GITHUB_TOKEN", "GITHUB_ENTERPRISE_TOKEN",
}

// withToken returns environ with the token for host, and without any other GitHub
// token.
func withToken(environ []string, host, token string) []string {
	env := slices.DeleteFunc(slices.Clone(environ), func(pair string) bool {
		name, _, _ := strings.Cut(pair, "=")
		return slices.Contains(clearedVariables, name)
	})
	env = append(env, tokenVariable+"="+token)
	if host == config.DefaultHost {
		return env
	}
	env = append(env, hostVariable+"="+host)
	if !strings.HasSuffix(host, ".ghe.com") {
		env = append(env, enterpriseVariable+"="+token)
	}
	return env
}

// gatewayEnvironment returns the environment of a command that calls GitHub's API
// through the gateway.
func (cmd tokenCommands) gatewayEnvironment(c *cli.Context, workspace *config.Workspace) ([]string, error) {
	if c.IsSet("operation") {
		return nil, command.Usage(c, "--operation is only for tokens; a gateway session allows what the profile allows")
	}
	repo, err := gatewayTarget(c, workspace)
	if err != nil {
		return nil, err
	}
	fresh := ""
	if c.Bool("fresh") {
		fresh = agent.Fresh
	}
	grant, err := cmd.RequestSession(c.Context, workspace, repo, fresh)
	if err != nil {
		return nil, err
	}
	ca, bundle := authorities(c.Context, workspace), ""
	if ca != "" {
		if bundle, err = authorityBundle(cmd.Getenv, ca, workspace.Path); err != nil {
			return nil, err
		}
	}
	return withSession(os.Environ(), workspace.Gateway, repo, grant.Token, ca, bundle), nil
}

// The variables in which programs look for GitHub's API and its web pages. Octokit and
// scripts of Actions read the first three, GitHub's MCP server the fourth; these are
// URLs. gh reads GH_HOST and GH_REPO.
const (
	apiVariable     = "GITHUB_API_URL"
	graphQLVariable = "GITHUB_GRAPHQL_URL"
	serverVariable  = "GITHUB_SERVER_URL"
	mcpVariable     = "GITHUB_HOST"
	repoVariable    = "GH_REPO"
)

// withSession returns environ with a session for the gateway and without any GitHub
// token. ca is a file with the gateway's own authorities, and bundle a file with the
// system's as well; "" for none.
func withSession(environ []string, g config.Gateway, repo, session, ca, bundle string) []string {
	taken := append([]string{apiVariable, graphQLVariable, serverVariable, mcpVariable, repoVariable}, clearedVariables...)
	env := slices.DeleteFunc(slices.Clone(environ), func(pair string) bool {
		name, _, _ := strings.Cut(pair, "=")
		return slices.Contains(taken, name)
	})
	env = append(env, hostVariable+"="+g.Host(), enterpriseVariable+"="+session,
		apiVariable+"="+g.String()+"/api/v3", graphQLVariable+"="+g.String()+"/api/graphql", serverVariable+"="+g.String(), mcpVariable+"="+g.String())
	if repo != "" {
		env = append(env, repoVariable+"="+repo)
	}
	env = withDefault(env, "CARGO_NET_GIT_FETCH_WITH_CLI", "true") // cargo's own git ignores insteadOf
	if ca != "" {
		env = withDefault(env, "SSL_CERT_FILE", bundle)
		env = withDefault(env, "NODE_EXTRA_CA_CERTS", ca) // node adds it to its own authorities
	}
	return env
}

// withDefault sets a variable that is not set.
func withDefault(env []string, name, value string) []string {
	if slices.ContainsFunc(env, func(pair string) bool { return strings.HasPrefix(pair, name+"=") }) {
		return env
	}
	return append(env, name+"="+value)
}

// authorities returns the file of certificates that git uses for the gateway, or that
// of the source if it is the same broker; "" for the system's.
func authorities(ctx context.Context, workspace *config.Workspace) string {
	address := workspace.Gateway.String()
	out, err := exec.CommandContext(ctx, "git", "config", "--get-urlmatch", "http.sslCAInfo", address+"/").Output()
	if ca := strings.TrimSuffix(string(out), "\n"); err == nil && ca != "" {
		return ca
	}
	if source := workspace.Source; source != nil && source.Scheme == "broker+https" && source.Host == workspace.Gateway.Host() {
		return source.Query().Get("ca_file")
	}
	return ""
}

// notRun returns a statusError with the status that env(1) and shells use.
func notRun(name string, err error) error {
	if execErr, ok := errors.AsType[*exec.Error](err); ok {
		err = execErr.Err
	}
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return &command.StatusError{Status: 127, Err: usererr.Wrap("run "+name, err, "")}
	}
	return &command.StatusError{Status: 126, Err: usererr.Wrap("run "+name, err, "")}
}

// runPassingSignals runs the command until it ends, and passes signals on to it. If ctx
// has ended, a signal arrived earlier and the command is not started.
func runPassingSignals(ctx context.Context, command *exec.Cmd) error {
	signals := make(chan os.Signal, 16)
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2} {
		if !signal.Ignored(s) { // under nohup, the command ignores the signal too
			signal.Notify(signals, s)
		}
	}
	defer signal.Stop(signals)
	if ctx.Err() != nil {
		return usererr.New("run "+command.Path, "it was interrupted", "")
	}
	command, err := start(command)
	if err != nil {
		return notRun(command.Path, withoutPath(err))
	}
	done := make(chan error, 1)
	go func() { done <- command.Wait() }()
	for {
		select {
		case s := <-signals:
			if !typed(s) {
				_ = command.Process.Signal(s)
			}
		case err := <-done:
			return ended(command.ProcessState, err)
		}
	}
}

// start starts the command, and returns what it started. Like execvp(3), env(1) and
// shells, it runs /bin/sh on an executable file that the kernel does not recognize: a
// script without "#!".
func start(command *exec.Cmd) (*exec.Cmd, error) {
	err := command.Start()
	if !errors.Is(err, syscall.ENOEXEC) {
		return command, err
	}
	script := exec.Command("/bin/sh", append([]string{command.Path}, command.Args[1:]...)...)
	script.Env = command.Env
	script.Stdin, script.Stdout, script.Stderr = command.Stdin, command.Stdout, command.Stderr
	return script, script.Start()
}

// withoutPath removes the path from an error that repeats it.
func withoutPath(err error) error {
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		return pathErr.Err
	}
	return err
}

func ended(state *os.ProcessState, err error) error {
	if state == nil {
		return usererr.Wrap("wait for the command", err, "")
	}
	status := state.ExitCode()
	if s, ok := state.Sys().(syscall.WaitStatus); ok && s.Signaled() {
		status = 128 + int(s.Signal())
	}
	if status == 0 {
		return nil
	}
	return &command.StatusError{Status: status}
}

// typed reports whether the signal was typed at the terminal, such as Ctrl-C. The
// terminal sends it to its whole foreground process group, which includes the command;
// passing it on would send it twice.
func typed(s os.Signal) bool {
	if s != syscall.SIGINT && s != syscall.SIGQUIT {
		return false
	}
	tty, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	defer tty.Close()
	foreground, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	return err == nil && foreground == unix.Getpgrp()
}

// texts are the flags of gh whose value is free text or a pattern. An address in such a
// value stays as it is.
var texts = []string{
	"-b", "--body", "-t", "--title", "-m", "--message", "-n", "--notes", "-d", "--description", "-c", "--comment", "-S", "--search",
	"-f", "--raw-field", "-F", "--field", "-q", "--jq", "-H", "--header", "--subject",
}

// forGh returns the arguments of a command. If the command is gh, it changes arguments
// that are the address of a GitHub page to the gateway's: people and programs paste
// what "gh pr create" printed, and gh asks the host in the address.
func forGh(command string, args []string, workspace *config.Workspace) []string {
	if filepath.Base(command) != "gh" || workspace == nil {
		return args
	}
	led := slices.Clone(args)
	for i, arg := range led {
		page, isPage := strings.CutPrefix(arg, "https://"+workspace.Hosts[0]+"/")
		if isPage && !strings.ContainsAny(page, " \t\r\n") && (i == 0 || !slices.Contains(texts, led[i-1])) {
			led[i] = workspace.Gateway.String() + "/" + page
		}
	}
	return led
}

// systemAuthorities are the files in which systems keep the certificates of their
// authorities: Debian and Alpine, Fedora and RHEL, SUSE, macOS and the BSDs.
var systemAuthorities = []string{
	"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "/etc/pki/tls/certs/ca-bundle.crt",
	"/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem",
}

// authorityBundle returns the path of a file with the certificates of the system's
// authorities and those of ca: SSL_CERT_FILE replaces the system's authorities, and a
// command may call other hosts than the gateway. The file is beside the agent's socket,
// and its name contains a hash of its content. If this user has no folder for it,
// authorityBundle returns ca.
func authorityBundle(getenv func(string) string, ca, workspaceFile string) (string, error) {
	own, err := os.ReadFile(ca)
	if err != nil {
		return "", usererr.Wrap("use the gateway's authorities "+ca, withoutPath(err), "name the file with gatepass install --gateway-ca FILE")
	}
	whole := append(append(readFirst(systemAuthorities), '\n'), own...)
	place, err := agent.Locate(workspaceFile, getenv)
	if err != nil {
		return ca, nil //nolint:nilerr // there is no folder of this user's alone, and the gateway is what the command needs
	}
	sum := sha256.Sum256(whole)
	path := filepath.Join(place.Directory, "authorities-"+hex.EncodeToString(sum[:8])+".pem")
	if there, err := os.ReadFile(path); err == nil && bytes.Equal(there, whole) {
		return path, nil
	}
	return path, replaceFile(path, whole)
}

// readFirst returns the text of the first file that it can read, or nil.
func readFirst(paths []string) []byte {
	for _, path := range paths {
		if text, err := os.ReadFile(path); err == nil {
			return text
		}
	}
	return nil
}

// replaceFile replaces a file atomically, so that readers never see half of it.
func replaceFile(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".authorities-")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // the file may have been renamed already
	}
	return err
}
