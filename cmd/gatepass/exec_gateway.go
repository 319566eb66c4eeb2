package main

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/gatepass/gatepass/config"
	"github.com/gatepass/gatepass/credential/agent"
	"github.com/gatepass/gatepass/hooks"
	"github.com/gatepass/gatepass/internal/gitname"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/urfave/cli/v2"
)

// gatewayWorkspace returns the workspace file, with the gateway that it names or that
// gatepass install configured in git. It returns nil if there is no gateway, or if the
// file cannot be read: the caller that needs the file reports that.
func (a *app) gatewayWorkspace(ctx context.Context) (*config.Workspace, error) {
	path, err := config.Path(a.getenv)
	if err != nil {
		return nil, err
	}
	workspace, err := config.Load(path)
	if err != nil {
		return nil, nil
	}
	if !workspace.Gateway.IsZero() {
		return workspace, nil
	}
	text := hooks.InstalledGateway(ctx)
	if text == "" {
		return nil, nil
	}
	installed, err := config.ParseGateway(text)
	if err == nil {
		workspace, err = workspace.Through(installed)
	}
	if err != nil {
		return nil, usererr.Wrap("use the gateway that git was told of", err, "run gatepass install, or gatepass uninstall")
	}
	return workspace, nil
}

// requestSession asks the agent for a session of the workspace's gateway: for one
// repository or, with an empty repo, for all repositories of the workspace.
func (a *app) requestSession(ctx context.Context, workspace *config.Workspace, repo, fresh string) (agent.Grant, error) {
	call := agent.Call{Operation: agent.Through(agent.Session+fresh, workspace.Gateway.String()), Config: workspace.Path}
	call.Payload = []byte("protocol=https\nhost=" + workspace.Hosts[0] + "\n")
	if repo != "" {
		call.Payload = append(call.Payload, "path="+repo+"\n"...)
	}
	return a.requestToken(ctx, call)
}

// gatewayEnvironment returns the environment of a command that calls GitHub's API
// through the gateway.
func (cmd tokenCommands) gatewayEnvironment(c *cli.Context, workspace *config.Workspace) ([]string, error) {
	if c.IsSet("operation") {
		return nil, usage(c, "--operation is for tokens; a session of the gateway is for what the profile allows")
	}
	repo, err := gatewayTarget(c, workspace)
	if err != nil {
		return nil, err
	}
	fresh := ""
	if c.Bool("fresh") {
		fresh = agent.Fresh
	}
	grant, err := cmd.requestSession(c.Context, workspace, repo, fresh)
	if err != nil {
		return nil, err
	}
	ca, bundle := authorities(c.Context, workspace), ""
	if ca != "" {
		if bundle, err = authorityBundle(cmd.getenv, ca, workspace.Path); err != nil {
			return nil, err
		}
	}
	return withSession(os.Environ(), workspace.Gateway, repo, grant.Token, ca, bundle), nil
}

// gatewayTarget returns the repository of the options, or else of the working
// directory; "" for none. The gateway serves only the API of the first host.
func gatewayTarget(c *cli.Context, workspace *config.Workspace) (string, error) {
	if c.IsSet("host") {
		if host, ok := gitname.Host(c.String("host")); !ok || host != workspace.Hosts[0] {
			return "", usererr.New("use --host "+c.String("host"), "the gateway serves the API of "+workspace.Hosts[0]+" alone", "leave --host out")
		}
	}
	if c.IsSet("repo") {
		owner, name, ok := gitname.Path(c.String("repo"))
		if !ok {
			return "", usage(c, "--repo "+usererr.Quote(c.String("repo"))+" is not OWNER/NAME")
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
	taken := append([]string{apiVariable, graphQLVariable, serverVariable, mcpVariable, repoVariable}, takenAway...)
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
