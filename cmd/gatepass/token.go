package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os/exec"
	"strings"

	"github.com/gatepass/gatepass/cmd/gatepass/command"
	"github.com/gatepass/gatepass/config"
	"github.com/gatepass/gatepass/credential/agent"
	"github.com/gatepass/gatepass/credential/protocol"
	"github.com/gatepass/gatepass/hooks"
	"github.com/gatepass/gatepass/internal/gitname"
	"github.com/gatepass/gatepass/internal/redact"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/urfave/cli/v2"
)

const tokenAbout = `Asks the agent, as git's helper does, and prints the bare token for the working
directory's repository (the URL of origin), or for --repo and --host.

A terminal keeps its output, so there the token is printed only with --show. For a
program that needs a token in its environment, gatepass exec is better: only that
program gets it.

Examples:
  gatepass token | gh auth login --with-token
  gatepass token --repo acme/widgets --operation read
  gatepass token --format json | jq 'del(.token)'      its repositories, permissions and expiry`

// tokenCommands give out a token: "gatepass token" prints one, "gatepass exec" passes
// it to one program.
type tokenCommands struct{ *command.Environment }

func (cmd tokenCommands) command() *cli.Command {
	return &cli.Command{
		Name:        "token",
		Usage:       "print the token for a repository",
		UsageText:   "gatepass token [--format text|json] [--show] [--repo OWNER/NAME] [--host HOST] [--operation read|write] [--fresh]",
		Description: tokenAbout,
		Flags: append(targetFlags(),
			&cli.StringFlag{Name: "format", Value: "text", Usage: "the `FORMAT`: text for only the token, or json for all its properties"},
			&cli.BoolFlag{Name: "show", Usage: "print it to a terminal too", DisableDefaultText: true},
			&cli.BoolFlag{Name: "json", Usage: "the same as --format json", DisableDefaultText: true},
		),
		Action: cmd.print,
	}
}

func (cmd tokenCommands) print(c *cli.Context) error {
	if err := command.NoArguments(c); err != nil {
		return err
	}
	format := c.String("format")
	if format != "text" && format != "json" {
		return command.Usage(c, fmt.Sprintf("--format %q must be text or json", format))
	}
	if command.IsTerminal(cmd.Stdout) && !c.Bool("show") {
		return usererr.New("print the token", "standard output is a terminal", "pipe it into the program that needs it, or add --show")
	}
	_, grant, err := cmd.granted(c)
	if err != nil {
		return err
	}
	if format == "json" || c.Bool("json") {
		return command.WriteJSON(cmd.Stdout, grant)
	}
	_, err = io.WriteString(cmd.Stdout, grant.Token+"\n")
	return err
}

// targetFlags are the options that choose the token.
func targetFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "repo", Usage: "for the repository `OWNER/NAME` instead of the working directory's"},
		&cli.StringFlag{Name: "host", Usage: "on `HOST[:PORT]`; default with --repo: the first host of the workspace file"},
		&cli.StringFlag{Name: "operation", Value: protocol.OperationWrite, Usage: "for `WHAT`: read or write, if the source distinguishes them; default: write if it is allowed, else read"},
		&cli.BoolFlag{Name: "fresh", Usage: "ask the source even if the agent has a token, such as after the token was revoked", DisableDefaultText: true},
	}
}

// granted asks the agent for the token of the repository that the options name, or else
// of the working directory's.
func (cmd tokenCommands) granted(c *cli.Context) (place, agent.Grant, error) {
	operation, err := operationOf(c)
	if err != nil {
		return place{}, agent.Grant{}, err
	}
	path, err := config.Path(cmd.Getenv)
	if err != nil {
		return place{}, agent.Grant{}, err
	}
	through, err := cmd.GatewayWorkspace(c.Context)
	if err != nil {
		return place{}, agent.Grant{}, err
	}
	if through != nil {
		return place{}, agent.Grant{}, usererr.New("get a token", "this workspace has none: git and programs go through the gateway "+through.Gateway.String(),
			"use git as it is, and gatepass exec -- COMMAND for a program that calls GitHub's API")
	}
	where, err := target(c, path)
	if err != nil {
		return place{}, agent.Grant{}, err
	}
	call := agent.Call{Operation: operation, Config: path, Payload: []byte("protocol=https\nhost=" + where.host + "\n")}
	if where.path != "" {
		call.Payload = append(call.Payload, "path="+where.path+"\n"...)
	}
	grant, err := cmd.RequestToken(c.Context, call)
	return where, grant, err
}

func operationOf(c *cli.Context) (string, error) {
	fresh := ""
	if c.Bool("fresh") {
		fresh = agent.Fresh
	}
	switch o := c.String("operation"); o {
	case protocol.OperationWrite:
		if c.IsSet("operation") {
			return agent.TokenWrite + fresh, nil
		}
		return agent.Token + fresh, nil
	case protocol.OperationRead:
		return agent.TokenRead + fresh, nil
	default:
		return "", command.Usage(c, fmt.Sprintf("--operation %q must be read or write", o))
	}
}

// target returns the repository of the options. It reads the working directory's
// repository only if there are no such options.
func target(c *cli.Context, configPath string) (place, error) {
	host, repo := c.String("host"), c.String("repo")
	if c.IsSet("repo") {
		if _, _, ok := gitname.Path(repo); !ok {
			return place{}, command.Usage(c, fmt.Sprintf("--repo %q is not OWNER/NAME", repo))
		}
	}
	if c.IsSet("host") {
		canonical, ok := gitname.Host(host)
		if !ok {
			return place{}, command.Usage(c, fmt.Sprintf("--host %q must be HOST or HOST:PORT", host))
		}
		return place{canonical, repo}, nil
	}
	if !c.IsSet("repo") {
		return origin(c.Context)
	}
	workspace, err := config.Load(configPath)
	if err != nil {
		return place{}, err
	}
	return place{workspace.Hosts[0], repo}, nil
}

// A place is a repository on a host or, with an empty path, the host alone.
type place struct {
	host string // canonical
	path string // "owner/name", as written
}

const nameOne = "run it in a clone, or name the repository with --repo OWNER/NAME"

// origin asks git for the origin of the working directory's repository: the URL of its
// remote "origin", after url.*.insteadOf.
func origin(ctx context.Context) (place, error) {
	var stderr bytes.Buffer
	git := exec.CommandContext(ctx, "git", "remote", "get-url", "origin")
	git.Stderr = &stderr
	out, err := git.Output()
	if _, ended := errors.AsType[*exec.ExitError](err); ended {
		return place{}, usererr.New("find the repository", gitErrorLine(stderr.String()), nameOne)
	}
	if err != nil {
		return place{}, usererr.Wrap("find the repository", err, nameOne)
	}
	return parseRemote(strings.TrimSuffix(string(out), "\n"))
}

// gitErrorLine returns the first line of git's error output.
func gitErrorLine(stderr string) string {
	line, _, _ := strings.Cut(stderr, "\n")
	for _, prefix := range []string{"fatal: ", "error: "} {
		line = strings.TrimPrefix(line, prefix)
	}
	return redact.Text(line, 200)
}

// parseRemote reads the URL of a remote: https, or one of the two forms of ssh, which
// name the same repository. The agent decides whether the host is served.
func parseRemote(remote string) (place, error) {
	host, path, ok := splitRemote(remote)
	canonical, valid := gitname.Host(host)
	path = strings.Trim(path, "/")
	if _, _, named := gitname.Path(path); !ok || !valid || !named {
		return place{}, usererr.New("find the repository", "origin is "+hooks.RedactURL(remote)+", which is not an https or ssh URL of HOST/OWNER/NAME", nameOne)
	}
	return place{canonical, path}, nil
}

func splitRemote(remote string) (host, path string, ok bool) {
	if !strings.Contains(remote, "://") {
		// scp's form, [user@]host:path. A slash before the colon makes it a file name.
		login, path, ok := strings.Cut(remote, ":")
		return login[strings.LastIndexByte(login, '@')+1:], path, ok && !strings.Contains(login, "/")
	}
	u, err := url.Parse(remote)
	if err != nil {
		return "", "", false
	}
	switch u.Scheme {
	case "https":
		return u.Host, u.Path, true
	case "ssh", "git+ssh", "ssh+git":
		return u.Hostname(), u.Path, true
	}
	return "", "", false
}

// gatewayTarget returns the repository of the options, or else of the working
// directory; "" for none. The gateway serves only the API of the first host.
func gatewayTarget(c *cli.Context, workspace *config.Workspace) (string, error) {
	if c.IsSet("host") {
		if host, ok := gitname.Host(c.String("host")); !ok || host != workspace.Hosts[0] {
			return "", usererr.New("use --host "+c.String("host"), "the gateway serves only the API of "+workspace.Hosts[0], "leave --host out")
		}
	}
	if c.IsSet("repo") {
		owner, name, ok := gitname.Path(c.String("repo"))
		if !ok {
			return "", command.Usage(c, "--repo "+usererr.Quote(c.String("repo"))+" is not OWNER/NAME")
		}
		return owner + "/" + name, nil
	}
	host, path, ok := gatewayOrigin(c.Context, workspace)
	owner, name, named := gitname.Path(path)
	if !ok || host != workspace.Hosts[0] || !named {
		return "", nil
	}
	return owner + "/" + name, nil
}

// gatewayOrigin returns where the working directory's repository comes from: the
// gateway or, if git is not configured to use it for that URL, the host itself.
func gatewayOrigin(ctx context.Context, workspace *config.Workspace) (host, path string, ok bool) {
	out, err := exec.CommandContext(ctx, "git", "remote", "get-url", "origin").Output()
	if err != nil {
		return "", "", false
	}
	remote := strings.TrimSuffix(string(out), "\n")
	if path, ok := strings.CutPrefix(remote, workspace.Gateway.String()+"/"); ok {
		host, path = workspace.Gateway.Repository(path, workspace.Hosts)
		return host, path, true
	}
	where, err := parseRemote(remote)
	return where.host, where.path, err == nil
}
