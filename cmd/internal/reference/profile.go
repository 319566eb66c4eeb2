package reference

// permissions are verbs, or GitHub's own names with a level.
var permissions = Type{Either: []Type{
	{List: &Type{OneOf: []string{"clone", "fetch", "push", "comment", "review", "checks", "workflow", "actions"}}},
	{Map: &Type{OneOf: []string{"read", "write", "admin"}}},
}}

func profileFile() File {
	github := []Key{
		{Name: "allowedRepos", About: `repositories that a token opens: owner/name, owner/name#ID, owner/*, owner/prefix-*, or "*" for all that the App can reach`, Default: "no access to GitHub", Of: texts},
		{Name: "allowedRefs", About: "refs that may be pushed, as refs in the workspace file; {workspace} stands for the workspace's ID", Default: "nothing may be pushed", Of: refList},
		{Name: "publicRead", About: "public repositories of others that the git gateway lets the workspace fetch, patterns as in allowedRepos", Default: "none", Of: texts},
		{Name: "permissions", About: "verbs, or a mapping of GitHub's permissions such as {contents: write}", Default: "clone, and push if allowedRefs has an entry", Of: permissions},
		{Name: "optionalPermissions", About: "permissions that a token has only if the installation grants them", Default: "none", Of: permissions},
		{Name: "verify", About: "ancestry: the git gateway lets GitHub refuse forced pushes of branches whose rule does not allow force", Default: "the gateway cannot detect forced pushes", Of: Type{OneOf: []string{"ancestry"}}},
		{Name: "sharing", About: "who shares a broker's tokens: profile for all workspaces of the profile, workspace for separate tokens", Default: "profile", Of: Type{OneOf: []string{"profile", "workspace"}}},
	}
	spec := []Key{{Name: "sourceAccess", About: "access to sources", Of: Type{Keys: []Key{
		{Name: "github", About: "access to GitHub", Default: "none", Of: Type{Keys: github}},
	}}}}
	return File{
		Name: "profile", Title: "The profile", Default: "none; commands and brokers name it",
		About: "Says what the workspaces of one kind may reach and push. gatepass workspace create and the broker read it. A file with only spec is read too.",
		Keys: []Key{
			{Name: "apiVersion", About: "gatepass.dev/v1, together with kind", Default: "none, with only spec", Of: Type{OneOf: []string{"gatepass.dev/v1"}}},
			{Name: "kind", About: "Profile, together with apiVersion", Default: "none, with only spec", Of: Type{OneOf: []string{"Profile"}}},
			{Name: "metadata", About: "the profile's name; labels and annotations are not read", Of: Type{Keys: []Key{
				{Name: "name", About: "its name in a broker's rules", Default: "rules cannot name it", Of: Type{Pattern: `^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`}},
				{Name: "labels", About: "not read", Of: Type{Any: true}},
				{Name: "annotations", About: "not read", Of: Type{Any: true}},
			}}},
			{Name: "spec", About: "what workspaces may do", Default: "nothing", Of: Type{Keys: spec}},
		},
		Example: `apiVersion: gatepass.dev/v1
kind: Profile
metadata: {name: agent}
spec:
  sourceAccess:
    github:
      allowedRepos: [acme/widgets, "globex/*"]
      allowedRefs: ["agent/{workspace}/**"]
      permissions: [clone, push, comment]
`,
	}
}
