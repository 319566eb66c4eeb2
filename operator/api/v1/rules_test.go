package v1_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/gatepass/gatepass/test/kubernetestest"
)

type fields = kubernetestest.Fields

const crds = "../../../deploy/crds"

// A rule is a spec, and what the API server says to it.
type rule struct {
	what    string
	spec    string // YAML; of a Token and a ClusterToken, what replaces fields of ok
	message string // a part of the refusal; "" if it is accepted
}

// What a Token and a ClusterToken ask for, unless the rule says something else.
var ok = fields{"repositories": []any{"api"}, "permissions": fields{"contents": "read"}}

var accessRules = []rule{
	{"names and permissions", `{}`, ""},
	{"ids", `{repositories: null, repositoryIDs: [1, 2]}`, ""},
	{"every repository, said", `{repositories: null, allRepositories: true}`, ""},
	{"every permission, said", `{permissions: null, allPermissions: true}`, ""},
	{"allRepositories: false beside names", `{allRepositories: false, allPermissions: false}`, ""},
	{"an owner", `{owner: acme_labs}`, ""},
	{"an installation", `{installationID: 1}`, ""},
	{"a permission that GitHub may yet make", `{permissions: {new_thing_2: admin}}`, ""},
	{"the shortest intervals", `{refreshInterval: 1m, retryInterval: 10s, minTTL: 1m, revokeSuperseded: {after: 5m}}`, ""},
	{"long intervals", `{refreshInterval: 2h, retryInterval: 1h, minTTL: 50m}`, ""},
	{"the names that GitHub allows", `{repositories: [.github, a-b_c.d, "-"]}`, ""},

	{"no repositories", `{repositories: null}`, "set exactly one of repositories, repositoryIDs and allRepositories: true"},
	{"an empty list of repositories", `{repositories: []}`, "set exactly one of repositories"},
	{"names and ids", `{repositoryIDs: [1]}`, "set exactly one of repositories"},
	{"names and every repository", `{allRepositories: true}`, "set exactly one of repositories"},
	{"allRepositories: false alone", `{repositories: null, allRepositories: false}`, "set exactly one of repositories"},
	{"no permissions", `{permissions: null}`, "set exactly one of permissions and allPermissions: true"},
	{"an empty map of permissions", `{permissions: {}}`, "set exactly one of permissions"},
	{"permissions and all of them", `{allPermissions: true}`, "set exactly one of permissions"},
	{"an owner and an installation", `{owner: acme, installationID: 1}`, "set owner or installationID, not both"},
	{"two owners", `{owner: "acme,zeta"}`, "owner is the name of one user or organization: acme"},
	{"an empty owner", `{owner: ""}`, "owner is the name of one user or organization: acme"},
	{"installation 0", `{installationID: 0}`, "should be greater than or equal to 1"},
	{"a repository with its owner", `{repositories: [acme/api]}`, "a repository is named without its owner: write api, and owner: acme"},
	{"a pattern", `{repositories: ["*"]}`, "a repository is named without its owner"},
	{"the folder above", `{repositories: [".."]}`, "a repository is named without its owner"},
	{"a repository twice", `{repositories: [api, api]}`, "Duplicate value"},
	{"repository 0", `{repositories: null, repositoryIDs: [0]}`, "should be greater than or equal to 1"},
	{"a permission in the case of the web page", `{permissions: {Pull requests: read}}`, "a permission is named as GitHub's API does, in lower case with underscores: pull_requests"},
	{"a level that does not exist", `{permissions: {contents: all}}`, `supported values: "read", "write", "admin"`},
	{"a refresh every second", `{refreshInterval: 1s}`, "refreshInterval is at least 1m"},
	{"the zero that once meant never", `{refreshInterval: 0s}`, "refreshInterval is at least 1m"},
	{"a retry every second", `{retryInterval: 1s}`, "retryInterval is at least 10s"},
	{"an interval without unit", `{refreshInterval: "30"}`, "refreshInterval"},
	{"more life than a token has", `{minTTL: 51m}`, "minTTL is between 1m and 50m: a token lives for an hour"},
	{"hardly any life", `{minTTL: 10s}`, "minTTL is between 1m and 50m"},
	{"revoked under the readers", `{revokeSuperseded: {after: 1m}}`, "revokeSuperseded.after is at least 5m: readers need time to read the new token"},
	{"an App without a name", `{appRef: {name: ""}}`, "should be at least 1 chars long"},
}

var shapeRules = []rule{
	{"basic auth", `{secret: {basicAuth: true}}`, ""},
	{"basic auth and its type", `{secret: {basicAuth: true, type: kubernetes.io/basic-auth}}`, ""},
	{"a type of one's own", `{secret: {type: example.com/token}}`, ""},
	{"a type that needs a policy", `{secret: {type: kubernetes.io/ssh-auth, template: {ssh-privatekey: x}}}`, ""},
	{"a template", `{secret: {template: {.netrc: "machine github.com password {{.Token}}"}}}`, ""},
	{"docker's type", `{secret: {type: kubernetes.io/dockerconfigjson, template: {.dockerconfigjson: "{}"}}}`, ""},
	{"a preset and more keys", `{secret: {preset: flux, extraData: {known_hosts: x}}}`, ""},
	{"Argo CD with a URL", `{secret: {preset: argocd-repo-creds, extraData: {url: "https://github.com/acme"}}}`, ""},
	{"Kargo with a URL", `{secret: {preset: kargo, extraData: {repoURL: "https://github.com/acme/api"}}}`, ""},
	{"labels and annotations", `{secret: {labels: {team: a}, annotations: {replicator/from: b}}}`, ""},

	{"a preset and a type", `{secret: {preset: flux, type: Opaque}}`, "preset decides type and data: remove type, template and basicAuth, or the preset"},
	{"a preset and basic auth", `{secret: {preset: flux, basicAuth: true}}`, "preset decides type and data"},
	{"a preset and a template", `{secret: {preset: flux, template: {a: b}}}`, "preset decides type and data"},
	{"a preset that does not exist", `{secret: {preset: fluxx}}`, `supported values: "flux"`},
	{"a template and basic auth", `{secret: {basicAuth: true, template: {a: b}}}`, "template decides the data: remove basicAuth"},
	{"an empty template", `{secret: {template: {}}}`, "at least 1 properties"},
	{"basic auth of another type", `{secret: {basicAuth: true, type: Opaque}}`, "basicAuth makes a Secret of type kubernetes.io/basic-auth: remove type"},
	{"Argo CD without a URL", `{secret: {preset: argocd-repository}}`, "Argo CD ignores repository credentials without a URL: set extraData.url"},
	{"Kargo without a URL", `{secret: {preset: kargo, extraData: {url: "https://github.com/acme/api"}}}`, "Kargo ignores credentials without a URL: set extraData.repoURL"},
	{"docker's type without its key", `{secret: {type: kubernetes.io/dockerconfigjson}}`, "needs template['.dockerconfigjson']"},
	{"a service account's token", `{secret: {type: kubernetes.io/service-account-token}}`, "this type of Secret gives power in the cluster and cannot be written: use Opaque, or a type of your own"},
	{"a bootstrap token", `{secret: {type: bootstrap.kubernetes.io/token}}`, "this type of Secret gives power in the cluster"},
	{"a type that Kubernetes may yet make", `{secret: {type: kubernetes.io/root}}`, "this type of Secret gives power in the cluster"},
	{"the operator's label", `{secret: {labels: {gatepass.dev/owner-kind: Token}}}`, "labels below gatepass.dev/ and app.kubernetes.io/ are the operator's own"},
	{"the operator's annotation", `{secret: {annotations: {gatepass.dev/expires-at: never}}}`, "annotations below gatepass.dev/ are the operator's own"},
	{"a key with a slash", `{secret: {template: {a/b: c}}}`, "a key of a Secret has letters, digits, dots, dashes and underscores"},
	{"another key with a slash", `{secret: {extraData: {a/b: c}}}`, "a key of a Secret has letters, digits, dots, dashes and underscores"},
	{"a name in capitals", `{secret: {name: Api}}`, "the name of a Secret has small letters, digits, dashes and dots"},
}

var targetRules = []rule{
	{"no namespace", `{secret: {namespace: null}}`, "secret.namespace: Required value"},
	{"two namespaces", `{secret: {namespace: "a,b"}}`, "secret.namespace is the name of one namespace: flux-system"},
	{"an App of another namespace", `{appRef: {namespace: shared, name: bot}}`, ""},
}

var appRules = []rule{
	{"a key in a Secret", `{provider: secret, appID: 1, keyRef: {name: key}}`, ""},
	{"a Secret of Flux", `{provider: secret, keyRef: {name: key}}`, ""},
	{"a client id", `{provider: secret, clientID: Iv23li_x.y-z, keyRef: {name: key, key: pem}}`, ""},
	{"a key of AWS", `{provider: aws, appID: 1, key: alias/gatepass}`, ""},
	{"an Enterprise Server", `{provider: secret, appID: 1, keyRef: {name: key}, githubURL: "https://git.corp.example:8443/"}`, ""},

	{"two ids", `{provider: aws, appID: 1, clientID: Iv1, key: k}`, "set appID or clientID, not both"},
	{"no id", `{provider: aws, key: k}`, "set clientID (or appID) of the GitHub App; only provider: secret can read it from the Secret (githubAppID)"},
	{"a secret without a reference", `{provider: secret, appID: 1}`, "provider: secret needs keyRef, and no other provider takes one"},
	{"a reference for AWS", `{provider: aws, appID: 1, key: k, keyRef: {name: key}}`, "provider: secret needs keyRef, and no other provider takes one"},
	{"AWS without a key", `{provider: aws, appID: 1}`, "provider aws, gcp, azure and vault need key, and provider: secret takes none"},
	{"a path beside a Secret", `{provider: secret, appID: 1, key: /config/key.pem, keyRef: {name: key}}`, "provider: secret takes none"},
	{"a file of the operator", `{provider: file, appID: 1, key: /config/key.pem}`, `supported values: "secret"`},
	{"no provider", `{appID: 1, key: k}`, "provider"},
	{"a client id with a blank", `{provider: aws, clientID: "my app", key: k}`, "clientID is as the App's page at GitHub shows it"},
	{"app 0", `{provider: aws, appID: 0, key: k}`, "should be greater than or equal to 1"},
	{"an address with a path", `{provider: secret, appID: 1, keyRef: {name: key}, githubURL: "https://git.example/api/v3"}`, "githubURL is https://HOST, without a path"},
	{"an address without TLS", `{provider: secret, appID: 1, keyRef: {name: key}, githubURL: "http://git.example"}`, "githubURL is https://HOST"},
	{"an address with a user in it", `{provider: secret, appID: 1, keyRef: {name: key}, githubURL: "https://github.com@git.example"}`, "githubURL is https://HOST"},
}

var policyRules = []rule{
	{"nothing", `{namespaces: {}}`, ""},
	{"all of it", `{namespaces: {names: [a], selector: {matchLabels: {team: a}, matchExpressions: [{key: b, operator: In, values: [c]}, {key: d, operator: Exists}]}},
		apps: [default, a/*, a/b.c], owners: [acme, "*"], repositories: [acme/api, acme/*, "*"], permissions: {contents: write},
		keys: ["aws:arn:aws:kms:eu-west-1:1:key/x", "vault:transit/sign/app"], secretTypes: [example.com/x, kubernetes.io/tls], targetNamespaces: [a]}`, ""},
	{"an empty selector", `{namespaces: {selector: {}}}`, ""},

	{"no namespaces", `{apps: [default]}`, "namespaces: Required value"},
	{"an App without its namespace", `{namespaces: {}, apps: [bot]}`, "an App is default (the operator's own), NAMESPACE/NAME or NAMESPACE/*"},
	{"every App", `{namespaces: {}, apps: ["*/*"]}`, "an App is default (the operator's own), NAMESPACE/NAME or NAMESPACE/*"},
	{"a pattern of owners", `{namespaces: {}, owners: ["acme-*"]}`, "an owner is the name of one user or organization, or * for any"},
	{"a pattern of repositories", `{namespaces: {}, repositories: ["acme/api-*"]}`, "a repository is owner/name, owner/* or *: no other pattern is known"},
	{"a repository of any owner", `{namespaces: {}, repositories: ["*/api"]}`, "a repository is owner/name, owner/* or *"},
	{"a key without provider", `{namespaces: {}, keys: [alias/gatepass]}`, "a key is PROVIDER:KEY as the App names it: aws:alias/gatepass"},
	{"a type of power", `{namespaces: {}, secretTypes: [kubernetes.io/service-account-token]}`, "this type of Secret gives power in the cluster and cannot be allowed"},
	{"a permission in capitals", `{namespaces: {}, permissions: {Contents: read}}`, "a permission is named as GitHub's API does"},
	{"a level that does not exist", `{namespaces: {}, permissions: {contents: none}}`, `supported values: "read"`},
	{"an unknown way to select", `{namespaces: {selector: {matchExpressions: [{key: a, operator: Like, values: [b]}]}}}`, "a matchExpression is In or NotIn with values, or Exists or DoesNotExist without"},
	{"In nothing", `{namespaces: {selector: {matchExpressions: [{key: a, operator: In}]}}}`, "a matchExpression is In or NotIn with values"},
}

// TestRules says every rule of the kinds to a real API server, each once accepted and
// once refused, with the part of the message that says what to write.
func TestRules(t *testing.T) {
	c := kubernetestest.New(t)
	c.Apply(crds)
	token := func(spec fields) fields { return merged(ok, spec) }
	clusterToken := func(spec fields) fields {
		return merged(fields{"secret": fields{"namespace": "default"}}, merged(ok, spec))
	}
	as := func(spec fields) fields { return spec }
	for _, table := range []struct {
		kind string
		spec func(fields) fields
		rows [][]rule
	}{
		{"Token", token, [][]rule{accessRules, shapeRules}},
		{"ClusterToken", clusterToken, [][]rule{accessRules, shapeRules, targetRules}},
		{"App", as, [][]rule{appRules}},
		{"TenantPolicy", as, [][]rule{policyRules}},
	} {
		for _, rows := range table.rows {
			for _, row := range rows {
				t.Run(table.kind+"/"+row.what, func(t *testing.T) {
					var spec fields
					if err := yaml.Unmarshal([]byte(row.spec), &spec); err != nil {
						t.Fatal(err)
					}
					row.check(t, c, table.kind, table.spec(spec))
				})
			}
		}
	}
}

func (r rule) check(t *testing.T, c *kubernetestest.Cluster, kind string, spec fields) {
	t.Helper()
	code, answer := c.Try(http.MethodPost, collection(kind)+"?dryRun=All", fields{
		"apiVersion": "gatepass.dev/v1", "kind": kind, "metadata": fields{"name": "rule"}, "spec": spec,
	})
	message := fmt.Sprint(answer["message"])
	switch {
	case r.message == "" && code != http.StatusCreated:
		t.Errorf("%v is refused: %s", spec, message)
	case r.message != "" && (code != http.StatusUnprocessableEntity || !strings.Contains(message, r.message)):
		t.Errorf("%v is answered with %d %s, want a refusal with %q", spec, code, message, r.message)
	}
}

// collection is the path of a kind's objects, those of the namespace default.
func collection(kind string) string {
	switch kind {
	case "ClusterToken":
		return "/apis/gatepass.dev/v1/clustertokens"
	case "TenantPolicy":
		return "/apis/gatepass.dev/v1/tenantpolicies"
	}
	return "/apis/gatepass.dev/v1/namespaces/default/" + strings.ToLower(kind) + "s"
}

// merged returns base with the fields of change, in which null takes a field away.
func merged(base, change fields) fields {
	out := fields{}
	for name, value := range base {
		out[name] = value
	}
	for name, value := range change {
		into, isObject := value.(fields)
		below, hasObject := out[name].(fields)
		switch {
		case value == nil:
			delete(out, name)
		case isObject && hasObject && name == "secret":
			out[name] = merged(below, into)
		default:
			out[name] = value
		}
	}
	return out
}

// Each rule that is written in CEL has a row above that it refuses.
func TestEachRuleHasARow(t *testing.T) {
	var said strings.Builder
	for _, rows := range [][]rule{accessRules, shapeRules, targetRules, appRules, policyRules} {
		for _, row := range rows {
			if row.message != "" {
				fmt.Fprintln(&said, row.message)
			}
		}
	}
	n := 0
	for _, path := range manifests(t) {
		for _, message := range messages(readYAML(t, path)) {
			n++
			if !hasPart(said.String(), message) {
				t.Errorf("%s: no row is refused with %q", path, message)
			}
		}
	}
	if n < 40 {
		t.Errorf("the kinds have %d rules, want those of all four", n)
	}
}

// hasPart reports whether a line of the rows is a part of the message.
func hasPart(lines, message string) bool {
	for line := range strings.Lines(lines) {
		if strings.Contains(message, strings.TrimSpace(line)) {
			return true
		}
	}
	return false
}

// messages returns those of all x-kubernetes-validations below node. A rule without
// one would be shown as an expression.
func messages(node any) (found []string) {
	switch node := node.(type) {
	case fields:
		for name, below := range node {
			if name != "x-kubernetes-validations" {
				found = append(found, messages(below)...)
				continue
			}
			for _, one := range below.([]any) {
				found = append(found, fmt.Sprint(one.(fields)["message"]))
			}
		}
	case []any:
		for _, below := range node {
			found = append(found, messages(below)...)
		}
	}
	return found
}

func manifests(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(crds, "*.yaml"))
	if err != nil || len(paths) != 4 {
		t.Fatalf("the definitions are %v, %v, want four", paths, err)
	}
	return paths
}

func readYAML(t *testing.T, path string) (found fields) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err == nil {
		err = yaml.Unmarshal(text, &found)
	}
	if err != nil {
		t.Fatal(err)
	}
	return found
}
