package config

import (
	"slices"
	"strings"
	"testing"
)

const github = `oidc: {issuer: "https://token.actions.githubusercontent.com", audience: gatepass}`

// rule returns a rule with a method and more settings.
func rule(method, more string) string {
	return "  - {" + method + ", " + more + ", profile: ci}\n"
}

func found(t *testing.T, callers string) []string {
	t.Helper()
	checks := []string{}
	for _, f := range Lint(load(t, callers+"  - {name: last, socket: {uid: 4711}, workspace: last, profile: agent}\n")) {
		checks = append(checks, f.Level+" "+f.Check)
		if f.Rule == "last" && f.Check != "shadowed" || f.Text == "" || strings.Contains(f.Text, "\n") {
			t.Errorf("finding %+v", f)
		}
	}
	return checks
}

func TestLint(t *testing.T) {
	const id = `claims: {repository_id: "1"}, workspace: "a-{claim.repository_id}"`
	const id2 = `claims: {repository_owner_id: "1"}, workspace: "a-{claim.repository_id}"`
	const i = `oidc: {issuer: "https://i.example", audience: b}`
	for _, c := range []struct {
		name, callers string
		want          []string
	}{
		{"nothing", rule(github, id), nil},
		{"everybody", rule(github, `workspace: a`), []string{"failure open"}},
		{"a name only", rule(github, `claims: {repository: acme/widgets}, workspace: a`), []string{"failure open", "warning name"}},
		{"an id of anybody", rule(github, `claims: {repository_id: {pattern: ".*"}}, workspace: a`), []string{"failure open"}},
		{"an id in a condition", rule(github, `cel: "claims.repository_owner_id == '7'", workspace: a`), nil},
		{"a name beside an id", rule(github, `claims: {repository: acme/widgets, repository_owner_id: "7"}, workspace: a`), nil},
		{"a GitLab path", rule(`oidc: {issuer: "https://gitlab.com", audience: g}`, `claims: {project_path: a/b}, workspace: a`), []string{"failure open", "warning name"}},
		{"names of a server", rule(`oidc: {issuer: "https://ghe.example/_services/token", audience: g}`, `claims: {repository: a/b, actor_id: "1", actor: x}, workspace: a`), []string{"warning name"}},
		{"every token of an issuer", rule(`oidc: {issuer: "https://i.example", audience: g}`, `workspace: a`), []string{"warning open"}},
		{"GitHub's usual audience", rule(strings.Replace(github, ": gatepass", ": https://github.com/acme", 1), id), []string{"failure audience"}},
		{"an issuer's usual audience", rule(`oidc: {issuer: "https://i.example", audience: "https://i.example"}`, `claims: {sub: a}, workspace: a`), []string{"failure audience"}},
		{"another's audience", rule(strings.Replace(github, ": gatepass", ": sts.amazonaws.com", 1), id), []string{"warning audience"}},
		{"anchors", rule(github, `claims: {repository_id: "1", ref: {pattern: "^refs/heads/main$"}}, workspace: a`), []string{"warning anchor"}},
		{"a dot", rule(github, `claims: {repository_id: "1", ref: {pattern: "refs/tags/v1.2"}}, workspace: a`), []string{"warning dot"}},
		{"dots that are meant", rule(github, `claims: {repository_id: "1", ref: {pattern: "refs/tags/v[0-9.]+\\.x.*"}}, workspace: a`), nil},
		{"a subject over colons", rule(github, `claims: {repository_id: "1", sub: {pattern: "repo:acme/.*:ref:main"}}, workspace: a`), []string{"warning colon"}},
		{"a class over colons", rule(github, `claims: {repository_id: "1", sub: {pattern: "repo:[^/]+/w:x"}}, workspace: a`), []string{"warning colon"}},
		{"a subject in its parts", rule(github, `claims: {repository_id: "1", sub: {pattern: "repo:[^/:]+/w:[a-z]+"}}, workspace: a`), nil},
		{"a loose match", rule(github, `cel: "claims.repository_id == '1' && claims.ref.matches('main')", workspace: a`), []string{"warning anchor"}},
		{"a chosen workspace", rule(github, `claims: {repository_owner_id: "7"}, workspace: "{claim.environment}"`), []string{"failure collision", "warning template"}},
		{"a chosen part", rule(github, `claims: {repository_owner_id: "7"}, workspace: "{claim.repository_id}-{claim.environment}"`), nil},
		{"a claim that is fixed", rule(github, `claims: {repository_owner_id: "7", environment: prod}, workspace: "{claim.environment}"`), nil},
		{"claims that run together", rule(i, `claims: {sub: x}, workspace: "k-{claim.a}-{claim.b}"`), []string{"failure separator"}},
		{"and three of them", rule(i, `claims: {sub: x}, workspace: "k-{claim.a}--{claim.b}_{claim.c}"`), []string{"failure separator", "failure separator"}},
		{"letters between them", rule(i, `claims: {sub: x}, workspace: "k-{claim.a}x{claim.b}"`), []string{"failure separator"}},
		{"a pattern without the separator", rule(i, `claims: {a: {pattern: "[a-z0-9]+"}}, workspace: "k-{claim.a}-{claim.b}"`), nil},
		{"a pattern with it", rule(i, `claims: {a: {pattern: "[a-z0-9-]+"}}, workspace: "k-{claim.a}-{claim.b}"`), []string{"failure separator"}},
		{"a fixed claim", rule(i, `claims: {a: x}, workspace: "k-{claim.a}-{claim.b}"`), nil},
		{"a fixed claim with the separator", rule(i, `claims: {a: x-y}, workspace: "k-{claim.a}-{claim.b}"`), []string{"failure separator"}},
		{"numbers of GitHub", rule(github, `claims: {repository_owner_id: "7"}, workspace: "k-{claim.repository_id}-{claim.run_id}-{claim.environment}"`), nil},
		{"such a name of another issuer", rule(i, `claims: {sub: x}, workspace: "k-{claim.repository_id}-{claim.run_id}"`), []string{"failure separator"}},
		{"names of Kubernetes", rule(i, `claims: {sub: x}, workspace: "k-{claim.kubernetes.io/namespace}_{claim.kubernetes.io/pod/name}"`), nil},
		{"names of Kubernetes with hyphens", rule(i, `claims: {sub: x}, workspace: "k-{claim.kubernetes.io/namespace}-{claim.kubernetes.io/pod/name}"`), []string{"failure separator"}},
		{"a serial number", rule("mtls: {ca_file: a}", `workspace: "k-{claim.serial}-{claim.path}"`), nil},
		{"two issuers of one id", rule(github, id) + rule(i, `claims: {sub: x}, workspace: "a-{claim.sub2}"`), []string{"failure collision"}},
		{"two issuers of one text", rule(github, id) + rule(i, `claims: {sub: x}, workspace: "a-{claim.repository_id}"`), []string{"failure collision"}},
		{"two issuers of two ids", rule(github, id) + rule(i, `claims: {sub: x}, workspace: "b-{claim.repository_id}"`), nil},
		{"an id that a claim can be", rule("socket: {uid: 9}", `workspace: a-77`) + rule(github, id2), []string{"failure collision"}},
		{"an id that the claim cannot be", rule("socket: {uid: 9}", `workspace: a-b`) + rule(github, id2), nil},
		{"an id of the same claim", rule(github, `claims: {repository_id: "5", ref: x}, workspace: "a-5"`) + rule(github, id2), nil},
		{"an id of another claim", rule(github, `claims: {repository_id: "6", ref: x}, workspace: "a-5"`) + rule(github, id2), []string{"failure collision"}},
		{"two templates of other claims", rule(github, `claims: {repository_id: "6"}, workspace: "a-{claim.run_id}"`) + rule(github, id2), []string{"failure collision"}},
		{"an id that a join token names", rule("name: j, join: {}", `workspace: "{claim.workspace}"`) + rule(github, id), nil},
		{"another issuer in the claims", rule(github, `claims: {repository_id: "1", iss: "https://i.example"}, workspace: a`), []string{"failure never"}},
		{"another user in the claims", rule("socket: {uid: 1}", `claims: {uid: "2"}, workspace: a`), []string{"failure never"}},
		{"the same twice", rule(github, id) + rule(github, id), []string{"failure shadowed"}},
		{"wider first", rule(github, id) + rule(github, `claims: {repository_id: "1", ref: refs/heads/main}, workspace: a`), []string{"failure shadowed"}},
		{"narrower first", rule(github, `claims: {repository_id: "1", ref: refs/heads/main}, workspace: a`) + rule(github, id), nil},
		{"a pattern first", rule(github, `claims: {repository_id: {pattern: "[0-9]"}}, workspace: a`) + rule(github, id), []string{"failure shadowed"}},
		{"another pattern first", rule(github, `claims: {repository_id: {pattern: "[2-9]"}}, workspace: a`) + rule(github, id), nil},
		{"a condition first", rule(github, id+`, cel: "claims.ref == 'a'"`) + rule(github, id), nil},
		{"a condition later", rule(github, id) + rule(github, id+`, cel: "claims.ref == 'a'"`), []string{"failure shadowed"}},
		{"another audience first", rule(strings.Replace(github, ": gatepass", ": other", 1), id) + rule(github, id), nil},
		{"join tokens for two rules", rule("name: a, join: {}", `workspace: "{claim.workspace}"`) + rule("name: b, join: {}", `workspace: "{claim.workspace}"`), nil},
		{"two rules of one name", rule("name: a, join: {}", `workspace: "{claim.workspace}"`) + rule("name: a, join: {}", `workspace: "{claim.workspace}"`), []string{"failure shadowed"}},
		{"two SPIFFE ids", rule("mtls: {ca_file: a, id: spiffe://d/a}", `workspace: a`) + rule("mtls: {ca_file: a, id: spiffe://d/b}", `workspace: b`), nil},
		{"all SPIFFE ids first", rule("mtls: {ca_file: a}", `workspace: a`) + rule("mtls: {ca_file: a, id: spiffe://d/b}", `workspace: b`), []string{"failure shadowed"}},
		{"another SPIFFE id in the claims", rule("mtls: {ca_file: a, id: spiffe://d/a}", `claims: {spiffe_id: spiffe://d/b}, workspace: a`), []string{"failure never"}},
		{"an AWS account", rule("aws: {server_id: b, regions: [eu-west-1]}", `claims: {account: "123456789012"}, workspace: a`), nil},
		{"a socket for all", rule("socket: {}", `workspace: a`), []string{"failure shadowed"}},
		{"a socket for another", rule("socket: {gid: 1}", `workspace: a`), nil},
	} {
		if c.want == nil {
			c.want = []string{}
		}
		if got := found(t, c.callers); !slices.Equal(got, c.want) {
			t.Errorf("%s: found %q, want %q", c.name, got, c.want)
		}
	}
}

func TestLintOfTheWholeFile(t *testing.T) {
	var texts []string
	for _, f := range Lint(load(t, "  []\n")) {
		texts = append(texts, f.Level+" "+f.Check+" "+f.Rule)
	}
	if want := []string{"warning profile ", "warning profile ", "warning empty "}; !slices.Equal(texts, want) {
		t.Errorf("found %q, want %q", texts, want)
	}
}
