package migrate_test

import (
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/yaml"
	sigsyaml "sigs.k8s.io/yaml"

	v1 "github.com/gatepass/gatepass/operator/api/v1"
	"github.com/gatepass/gatepass/operator/migrate"
)

const manifests = `# The tokens of the team.
apiVersion: github.as-code.io/v1
kind: Token
metadata:
  name: flux # for Flux
  namespace: flux-system
  labels:
    team: a
spec:
  # read only
  permissions:
    metadata: read
    contents: read # the code
  repositories: [fleet, apps]
  refreshInterval: 45m
  secret:
    basicAuth: true
    annotations:
      acme.example/about: plain
---
apiVersion: v1
kind: ConfigMap
metadata: {name:   untouched}   # every byte stays
data: {a: "b"}
---
apiVersion: github.as-code.io/v1
kind: ClusterToken
metadata:
  name: images
spec:
  appRef: {name: bot, namespace: apps}
  installationID: 321
  repositoryIDs: [1, 2]
  permissions: {packages: read}
  secret: {namespace: shop, name: pull}
---
apiVersion: github.as-code.io/v1
kind: App
metadata: {name: bot, namespace: apps}
spec: {appID: 1, installationID: 2, provider: secret, keyRef: {name: key}, validateKey: true}
`

const rewritten = `# The tokens of the team.
apiVersion: gatepass.dev/v1
kind: Token
metadata:
  name: flux # for Flux
  namespace: flux-system
  labels:
    team: a
spec:
  # read only
  permissions:
    metadata: read
    contents: read # the code
  repositories: [fleet, apps]
  refreshInterval: 45m
  secret:
    basicAuth: true
    annotations:
      acme.example/about: plain
---
apiVersion: v1
kind: ConfigMap
metadata: {name:   untouched}   # every byte stays
data: {a: "b"}
---
apiVersion: gatepass.dev/v1
kind: ClusterToken
metadata:
  name: images
spec:
  appRef: {name: bot, namespace: apps}
  installationID: 321
  repositoryIDs: [1, 2]
  permissions: {packages: read}
  secret: {namespace: shop, name: pull}
---
apiVersion: gatepass.dev/v1
kind: App
metadata: {name: bot, namespace: apps}
spec: {appID: 1, installationID: 2, provider: secret, keyRef: {name: key}, validateKey: true}
`

func TestRewrite(t *testing.T) {
	out, notes, err := migrate.Rewrite("tokens.yaml", []byte(manifests))
	if err != nil || string(out) != rewritten || notes != nil {
		t.Errorf("Rewrite = %v, %q:\n%s", err, notes, out)
	}
	again, notes, err := migrate.Rewrite("tokens.yaml", out)
	if err != nil || string(again) != rewritten || notes != nil {
		t.Errorf("Rewrite of what it wrote = %v, %q:\n%s", err, notes, again)
	}
	strict(t, out)
}

// strict reads what was written with the types of the API.
func strict(t *testing.T, text []byte) {
	t.Helper()
	for document := range strings.SplitSeq(string(text), "---\n") {
		var head struct{ APIVersion, Kind string }
		if err := yaml.Unmarshal([]byte(document), &head); err != nil {
			t.Fatal(err)
		}
		into := map[string]any{"Token": &v1.Token{}, "ClusterToken": &v1.ClusterToken{}, "App": &v1.App{}}[head.Kind]
		if into == nil {
			continue
		}
		if err := sigsyaml.UnmarshalStrict([]byte(document), into); err != nil || head.APIVersion != "gatepass.dev/v1" {
			t.Errorf("%s %s: %v", head.APIVersion, head.Kind, err)
		}
	}
}

// token is a manifest of a Token with this spec, in both groups.
func token(group, spec string) string {
	text := "apiVersion: " + group + "/v1\nkind: Token\nmetadata:\n  name: a\n  namespace: b\n"
	if spec != "" {
		text += "spec:\n" + spec
	}
	return text
}

// What an absent list meant is said; what meant nothing is gone.
func TestRewriteSaysWhatWasImplicit(t *testing.T) {
	const everyRepository, everyPermission = "it named no repositories, which meant all of the installation; allRepositories: true says the same", "no TenantPolicy allows it"
	for what, row := range map[string]struct {
		spec, want string
		notes      []string
	}{
		"no spec":        {"", "  allRepositories: true\n  allPermissions: true\n", []string{everyRepository, everyPermission}},
		"an empty spec":  {"  {}\n", "  allRepositories: true\n  allPermissions: true\n", []string{everyRepository, everyPermission}},
		"no permissions": {"  repositories: [a]\n", "  repositories: [a]\n  allPermissions: true\n", []string{everyPermission}},
		"in its place, with its comment": {
			"  repositories: [] # all of them\n  permissions: {contents: read}\n  repositoryIDs: []\n",
			"  allRepositories: true # all of them\n  permissions: {contents: read}\n",
			[]string{everyRepository},
		},
		"null":                       {"  permissions: null\n  repositoryIDs: [7]\n", "  allPermissions: true\n  repositoryIDs: [7]\n", []string{everyPermission}},
		"permissions that are null":  {"  permissions: {contents: null}\n  repositoryIDs: [7]\n", "  allPermissions: true\n  repositoryIDs: [7]\n", []string{everyPermission}},
		"one permission that is":     {"  permissions: {contents: null, issues: read}\n  repositoryIDs: [7]\n", "  permissions: {issues: read}\n  repositoryIDs: [7]\n", nil},
		"a list beside an empty one": {"  permissions: {issues: read}\n  repositories: []\n  repositoryIDs: [7]\n", "  permissions: {issues: read}\n  repositoryIDs: [7]\n", nil},
		"a repository twice":         {"  permissions: {issues: read}\n  repositories: [a, b, a]\n", "  permissions: {issues: read}\n  repositories: [a, b]\n", []string{"a was in the list twice"}},
		"installation 0":             {"  permissions: {issues: read}\n  repositories: [a]\n  installationID: 0\n", "  permissions: {issues: read}\n  repositories: [a]\n", nil},
		"intervals that are too short": {
			"  permissions: {issues: read}\n  repositories: [a]\n  refreshInterval: 0s\n  retryInterval: 1s\n",
			"  permissions: {issues: read}\n  repositories: [a]\n  refreshInterval: 1m\n  retryInterval: 10s\n",
			[]string{"refreshInterval 0s is now 1m, the minimum", "retryInterval 1s is now 10s, the minimum"},
		},
		"what is the operator's own": {
			"  permissions: {issues: read}\n  repositories: [a]\n  secret:\n    labels:\n      app.kubernetes.io/name: x\n    annotations:\n      gatepass.dev/x: y\n      z: '{{ x }}'\n",
			"  permissions: {issues: read}\n  repositories: [a]\n  secret:\n    annotations:\n      z: '{{ \"{{\" }} x }}'\n",
			[]string{"app.kubernetes.io/name is reserved for the operator and is left out", "gatepass.dev/x is reserved for the operator", "annotation z has {{"},
		},
	} {
		out, notes, err := migrate.Rewrite("f", []byte(token("github.as-code.io", row.spec)))
		want := token("gatepass.dev", row.want)
		if err != nil || string(out) != want {
			t.Errorf("%s: Rewrite = %v\n%swant\n%s", what, err, out, want)
		}
		strict(t, out)
		if len(notes) != len(row.notes) {
			t.Errorf("%s: notes %q, want %q", what, notes, row.notes)
			continue
		}
		for i, note := range notes {
			if !strings.HasPrefix(note, "f: Token b/a: ") || !strings.Contains(note, row.notes[i]) {
				t.Errorf("%s: note %q, want %q", what, note, row.notes[i])
			}
		}
	}
}

// Nothing that cannot be understood is widened or dropped.
func TestRewriteRefuses(t *testing.T) {
	for want, text := range map[string]string{
		"f: Token b/a: repositories and repositoryIDs are both set; keep one of them":  token("github.as-code.io", "  repositories: [a]\n  repositoryIDs: [1]\n"),
		"github-token-manager has no field spec.permission; remove it, or correct its": token("github.as-code.io", "  permission: {contents: read}\n"),
		"has no field spec.secret.namespace":                                           token("github.as-code.io", "  secret: {namespace: x}\n"),
		"has no field spec.appRef.namespace":                                           token("github.as-code.io", "  appRef: {name: x, namespace: y}\n"),
		"has no field data":                                                            token("github.as-code.io", "") + "data: {}\n",
		"repository acme/a has an owner":                                               token("github.as-code.io", "  repositories: [acme/a]\n"),
		`refreshInterval "soon" is not a duration`:                                     token("github.as-code.io", "  refreshInterval: soon\n"),
		"line 8 is a YAML alias; replace it by":                                        token("github.as-code.io", "  repositories: &r [a]\n  permissions: *r\n"),
		"line 9 is a YAML alias":                                                       token("github.as-code.io", "  secret: &x\n    name: a\n  <<: *x\n"),
		"line 8 has repositories a second time":                                        token("github.as-code.io", "  repositories: [a]\n  repositories: []\n"),
		"apiVersion github.as-code.io/v2 is not known":                                 strings.Replace(token("github.as-code.io", ""), "/v1", "/v2", 1),
		"the kind is unknown":                                                          strings.Replace(token("github.as-code.io", ""), "Token", "Ticket", 1),
		"f: read a document that names github.as-code.io":                              "apiVersion: github.as-code.io/v1\nkind: {{ .Kind }}: x\n",
	} {
		out, _, err := migrate.Rewrite("f", []byte(text))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") || out != nil {
			t.Errorf("Rewrite = %q, %v, want %q", out, err, want)
		}
	}
	both := token("github.as-code.io", "  x: 1\n") + "---\n" + token("github.as-code.io", "  y: 1\n")
	if _, _, err := migrate.Rewrite("f", []byte(both)); err == nil || !strings.Contains(err.Error(), "spec.x") || !strings.Contains(err.Error(), "spec.y") {
		t.Errorf("Rewrite = %v, want both objects in it", err)
	}
}

// What kubectl prints is read too.
func TestRewriteAList(t *testing.T) {
	const list = `apiVersion: v1
kind: List
items:
  - apiVersion: github.as-code.io/v1
    kind: Token
    metadata:
      name: a
      uid: 5d5e
      resourceVersion: "7"
      creationTimestamp: "2026-01-01T00:00:00Z"
      annotations:
        kubectl.kubernetes.io/last-applied-configuration: "{}"
    spec:
      permissions: {contents: read}
      repositories: [x]
    status:
      managedSecret: {name: a}
`
	const want = `apiVersion: v1
kind: List
items:
  - apiVersion: gatepass.dev/v1
    kind: Token
    metadata:
      name: a
    spec:
      permissions: {contents: read}
      repositories: [x]
`
	out, notes, err := migrate.Rewrite("f", []byte(list))
	if err != nil || string(out) != want || notes != nil {
		t.Errorf("Rewrite = %v, %q:\n%s", err, notes, out)
	}
}

// What stays is said where a person has to look at it.
func TestRewriteLeavesTheRest(t *testing.T) {
	for text, want := range map[string]string{
		"":                        "",
		"# only a comment\n":      "",
		"a: [ 1,2 ]\n---\nb: 2\n": "",
		"app_id: 1\nprovider: aws\nkey: alias/x\n":                                     "reads /config/gtm.yaml as it is",
		"kind: Secret\nstringData:\n  gtm.yaml: |\n    app_id: 1\n":                    "reads /config/gtm.yaml as it is",
		"kind: Role\nmetadata: {name: x}\nrules: [{apiGroups: [github.as-code.io]}]\n": "Role x names github.as-code.io and is not changed: write gatepass.dev where",

		"# github.as-code.io\n": "",
	} {
		out, notes, err := migrate.Rewrite("f", []byte(text))
		isSaid := slices.ContainsFunc(notes, func(note string) bool { return strings.Contains(note, want) })
		if err != nil || string(out) != text || isSaid != (want != "") || len(notes) > 1 {
			t.Errorf("Rewrite(%q) = %q, %q, %v", text, out, notes, err)
		}
	}
}

// FuzzRewrite never panics, and what it rewrites it leaves alone the next time.
func FuzzRewrite(f *testing.F) {
	f.Add([]byte(manifests))
	f.Add([]byte(token("github.as-code.io", "  secret: {annotations: {x: '{{'}}\n")))
	f.Fuzz(func(t *testing.T, text []byte) {
		out, _, err := migrate.Rewrite("f", text)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\r\x00") {
				t.Errorf("two lines: %q", err)
			}
			return
		}
		if _, _, err := migrate.Rewrite("f", out); err != nil {
			t.Errorf("Rewrite of its own output = %v\n%s", err, out)
		}
	})
}
