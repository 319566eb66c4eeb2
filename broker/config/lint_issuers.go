package config

import (
	"slices"
	"strings"
)

// An issuer is what gatepass knows about an issuer's tokens.
type issuer struct {
	title string
	// is reports whether url is the URL of this issuer.
	is func(url string) bool
	// public means that anyone can get its tokens, so a rule must check whose they are.
	public bool
	// ids are the claims that identify the owner, and are never reused.
	ids []string
	// names are claims whose values can be reused after a rename or a deletion. Each is
	// mapped to the ids that identify the same thing for good.
	names map[string][]string
	// chosen are claims that anyone who runs the job, or writes to the repository, can
	// set.
	chosen []string
	// alphabets are the characters that a claim can contain, for claims that cannot
	// contain all characters of an id.
	alphabets map[string]string
	// usual reports whether a token has this audience by default.
	usual func(audience, url string) bool
}

func exactly(url string) func(string) bool { return func(u string) bool { return u == url } }

func never(string, string) bool { return false }

// issuers is taken from each issuer's documentation: GitHub
// (https://docs.github.com/actions/reference/security/oidc), GitLab
// (https://docs.gitlab.com/ci/secrets/id_token_authentication/), AWS
// (https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_outbound_token_claims.html),
// Google (https://cloud.google.com/docs/authentication/token-types#id) and Buildkite
// (https://buildkite.com/docs/pipelines/security/oidc).
var issuers = []issuer{
	{
		title: "GitHub Actions", is: exactly("https://token.actions.githubusercontent.com"), public: true,
		ids:    []string{"repository_id", "repository_owner_id", "enterprise_id"},
		names:  githubNames,
		chosen: githubChosen, alphabets: githubAlphabets,
		usual: func(audience, _ string) bool { return strings.HasPrefix(audience, "https://github.com/") },
	},
	{
		title: "GitHub Actions of an Enterprise Server", is: func(u string) bool { return strings.HasSuffix(u, "/_services/token") },
		names: githubNames, chosen: githubChosen, alphabets: githubAlphabets,
		usual: func(audience, url string) bool {
			return strings.HasPrefix(audience, strings.TrimSuffix(url, "_services/token"))
		},
	},
	{
		title: "GitLab", is: exactly("https://gitlab.com"), public: true,
		ids: []string{"project_id", "namespace_id", "job_project_id", "job_namespace_id"},
		names: map[string][]string{
			"project_path": {"project_id", "namespace_id"}, "namespace_path": {"namespace_id", "project_id"}, "user_login": {"user_id"}, "user_email": {"user_id"}, "sub": {"project_id", "namespace_id"},
		},
		chosen:    []string{"ref", "ref_path", "environment", "sub", "sha", "ci_config_ref_uri"},
		alphabets: numbers("project_id", "namespace_id", "user_id", "pipeline_id", "job_id", "job_project_id", "job_namespace_id", "runner_id"),
		usual:     func(audience, url string) bool { return audience == url || "https://"+audience == url },
	},
	{
		title: "AWS", is: func(u string) bool { return strings.HasSuffix(u, ".tokens.sts.global.api.aws") },
		chosen:    []string{"https://sts.amazonaws.com//request_tags"},
		alphabets: numbers("https://sts.amazonaws.com//aws_account"), usual: never,
	},
	{
		title: "Google", is: exactly("https://accounts.google.com"), public: true,
		ids: []string{"sub"}, names: map[string][]string{"email": {"sub"}}, alphabets: numbers("sub"), usual: never,
	},
	{
		title: "Buildkite", is: exactly("https://agent.buildkite.com"), public: true,
		ids:    []string{"organization_id", "pipeline_id", "cluster_id"},
		names:  map[string][]string{"organization_slug": {"organization_id"}, "pipeline_slug": {"pipeline_id"}, "sub": {"organization_id", "pipeline_id"}},
		chosen: []string{"build_branch", "build_commit", "step_key", "sub"},
		usual:  func(audience, _ string) bool { return strings.HasPrefix(audience, "https://buildkite.com/") },
	},
}

// numbers returns alphabets for claims that contain only digits.
func numbers(names ...string) map[string]string {
	alphabets := map[string]string{}
	for _, name := range names {
		alphabets[name] = digits
	}
	return alphabets
}

var (
	githubAlphabets = numbers("repository_id", "repository_owner_id", "actor_id", "enterprise_id", "run_id", "run_number", "run_attempt", "check_run_id")
	githubNames     = map[string][]string{
		"repository": {"repository_id", "repository_owner_id"}, "repository_owner": {"repository_owner_id", "repository_id"}, "actor": {"actor_id"},
		"sub": {"repository_id", "repository_owner_id"}, "job_workflow_ref": {"repository_id", "repository_owner_id"}, "workflow_ref": {"repository_id", "repository_owner_id"},
	}
	githubChosen = []string{"ref", "head_ref", "base_ref", "sha", "sub", "workflow", "workflow_ref", "job_workflow_ref", "environment", "event_name"}
)

// others are audiences of other services. Many workflows fetch tokens for them.
var others = []string{"sts.amazonaws.com", "api://AzureADTokenExchange", "sigstore", "pypi", "https://kubernetes.default.svc", "https://kubernetes.default.svc.cluster.local"}

// issuerOf returns what is known about a rule's issuer.
func issuerOf(c Caller) issuer {
	if c.OIDC != nil {
		for _, i := range issuers {
			if i.is(c.OIDC.Issuer) {
				return i
			}
		}
	}
	return issuer{usual: func(audience, url string) bool { return audience == url }}
}

// isChosen reports whether a caller can choose the claim at path.
func (i issuer) isChosen(path string) bool {
	return slices.ContainsFunc(i.chosen, func(c string) bool { return path == c || strings.HasPrefix(path, c+"/") })
}
