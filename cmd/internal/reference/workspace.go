package reference

func workspaceFile() File {
	return File{
		Name: "workspace", Title: "The workspace file", Default: "/etc/gatepass/workspace.yaml, else ~/.config/gatepass/workspace.yaml",
		About: "Says what this workspace may reach and push, and where its tokens come from. The credential helper, the agent, the guard and gatepass install read it.",
		Keys: []Key{
			{Name: "workspace", About: "the workspace's ID; {workspace} in source stands for it", Default: "no id", Of: Type{Pattern: `^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`}},
			{Name: "hosts", About: "exact hosts, each with an optional :port, for which git gets tokens", Default: "github.com", Of: texts},
			{Name: "source", About: "the URL of the source of tokens: ssm, vault, broker+https, broker+unix, keyring or file", Default: "no token can be fetched", Of: Type{Pattern: `^[a-z][a-z0-9+.-]*:`}},
			{Name: "repos", About: `repositories for which git gets tokens: owner/name, owner/*, owner/prefix-* or "*"; [] allows none`, Default: "every repository of the hosts", Of: texts},
			{Name: "refs", About: "refs that may be pushed: a pattern, or a mapping of ref and allow", Default: "nothing may be pushed", Of: refList},
			{Name: "cache", About: "where tokens are cached: memory is the agent, keyring is also the OS keyring, none caches nothing and keeps no agent", Default: "memory", Of: Type{OneOf: []string{"memory", "keyring", "none"}}},
			{Name: "elsewhere", About: "what the guard does with pushes to hosts that are not in hosts", Default: "deny", Of: Type{OneOf: []string{"deny", "allow"}}},
			{Name: "gateway", About: "https://BROKER: git goes through the broker's gateway, and no token is in the workspace; the source is that broker", Default: "git goes to the hosts", Of: Type{Pattern: `^https?://`}},
			{Name: "author", About: "NAME <EMAIL> for commits; gatepass install sets it in git if git has none", Default: "with a gateway, the App's bot; else none", Of: Type{Pattern: `^.+ <[^<> ]+@[^<> ]+>$`}},
			{Name: "strict", About: "give no token if git's configuration turns TLS checks off or leads to another host", Default: "false", Of: truth},
		},
		Example: `workspace: sb-1a2b3c
hosts: [github.com]
source: ssm:///sandbox/{workspace}/github-token?region=us-east-1
repos: ["acme/widgets", "acme/api-*"]
refs:
  - main
  - "release/*"
  - {ref: "agent/**", allow: [create, update, force, delete]}
  - {ref: "refs/tags/v*", allow: [create]}
`,
	}
}
