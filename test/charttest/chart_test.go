package charttest

import (
	"bytes"
	"encoding/json"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	v1 "github.com/gatepass/gatepass/operator/api/v1"
)

// The chart cannot read files outside of its folder, so make generate copies them.
func TestTheChartHasTheGeneratedFiles(t *testing.T) {
	crds, err := filepath.Glob(root + "/deploy/crds/*.yaml")
	if err != nil || len(crds) < 4 {
		t.Fatalf("deploy/crds has %q, %v", crds, err)
	}
	copies, err := filepath.Glob(chart + "/files/crds/*.yaml")
	if err != nil || len(copies) != len(crds) {
		t.Errorf("the chart has the CRDs %q, %v, want those of deploy/crds", copies, err)
	}
	pairs := map[string]string{root + "/deploy/rbac/role.yaml": chart + "/files/rbac/role.yaml"}
	for _, path := range crds {
		pairs[path] = filepath.Join(chart, "files/crds", filepath.Base(path))
	}
	for from, to := range pairs {
		if read(t, from) != read(t, to) {
			t.Errorf("%s is not %s; run: make generate", to, from)
		}
	}
}

// The CRDs that are rendered are those of deploy/crds, with labels, and stay when the
// release goes: objects of these kinds are the users'.
func TestCRDsAreWholeAndStay(t *testing.T) {
	rendered := render(t).all("CustomResourceDefinition")
	paths, err := filepath.Glob(root + "/deploy/crds/*.yaml")
	if err != nil || len(paths) != len(rendered) {
		t.Fatalf("%d CRDs are rendered of %d, %v", len(rendered), len(paths), err)
	}
	for i, path := range paths {
		want, got := parse(t, read(t, path))[0], rendered[i]
		annotations := at(got, "metadata", "annotations").(fields)
		if annotations["helm.sh/resource-policy"] != "keep" {
			t.Errorf("%s: helm uninstall deletes it", path)
		}
		delete(annotations, "helm.sh/resource-policy")
		delete(got["metadata"].(fields), "labels")
		if !reflect.DeepEqual(got, want) {
			t.Errorf("the chart changes %s", path)
		}
	}
	for _, o := range render(t, "--set=crds.keep=false").all("CustomResourceDefinition") {
		if at(o, "metadata", "annotations", "helm.sh/resource-policy") != nil {
			t.Error("crds.keep=false keeps the CRDs")
		}
	}
	if found := render(t, "--set=crds.install=false").all("CustomResourceDefinition"); len(found) > 0 {
		t.Error("crds.install=false makes CRDs")
	}
}

// policiesOf returns the TenantPolicies that values make. Their fields are those of the
// operator's type.
func policiesOf(t *testing.T, args ...string) []v1.TenantPolicy {
	t.Helper()
	text, err := json.Marshal(render(t, args...).all("TenantPolicy"))
	if err != nil {
		t.Fatal(err)
	}
	var policies []v1.TenantPolicy
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&policies); err != nil {
		t.Fatal(err)
	}
	return policies
}

const (
	hook  = "helm.sh/hook"
	known = "--api-versions=gatepass.dev/v1/TenantPolicy" // as it is from the second release on
)

func TestTenancyMakesAPolicy(t *testing.T) {
	if found := policiesOf(t); len(found) > 0 {
		t.Errorf("without tenancy.namespaces there is the policy %+v", found)
	}
	want := v1.TenantPolicySpec{
		Namespaces: v1.NamespaceSelection{Names: []string{"flux-system"}},
		Apps:       []string{"default"}, Owners: []string{"*"}, Repositories: []string{"*"},
		Permissions: map[string]v1.PermissionLevel{"metadata": "read", "contents": "read"},
	}
	for _, more := range [][]string{nil, {known}} {
		if spec := policiesOf(t, append(more, "--set=tenancy.namespaces={flux-system}")...)[0].Spec; !reflect.DeepEqual(spec, want) {
			t.Errorf("the policy is %+v, want %+v", spec, want)
		}
	}
	// An empty list gives nothing, as in the object itself.
	if spec := policiesOf(t, "--set=tenancy.namespaces={a},tenancy.repositories=null")[0].Spec; spec.Repositories != nil {
		t.Errorf("without repositories the policy has %q", spec.Repositories)
	}
}

// Helm refuses a release with an object whose kind the cluster does not have, so the
// first installation makes the policy as a hook. Where the kind is known it must not be
// one: Helm deletes a hook before it makes it again, and the operator would revoke what
// the policy gave. What the first hook made must not stay either: it would go on giving.
func TestThePolicyIsAHookOnlyAtFirst(t *testing.T) {
	for _, row := range []struct {
		name string
		args []string
		want map[string]string // the hooks of each policy
	}{
		{"the kind is unknown", []string{"--set=tenancy.namespaces={a}"}, map[string]string{"gatepass-tenancy-first": "post-install,post-upgrade", "gatepass-tenancy-first, empty": "pre-delete"}},
		{"the kind is known", []string{"--set=tenancy.namespaces={a}", known}, map[string]string{"gatepass-tenancy": "", "gatepass-tenancy-first, empty": "post-install,post-upgrade,pre-delete"}},
		{"no tenancy any more", []string{known}, map[string]string{"gatepass-tenancy-first, empty": "post-install,post-upgrade,pre-delete"}},
	} {
		got := map[string]string{}
		for _, p := range policiesOf(t, row.args...) {
			isEmpty := reflect.DeepEqual(p.Spec, v1.TenantPolicySpec{})
			if isEmpty && p.Annotations["helm.sh/hook-delete-policy"] != "before-hook-creation,hook-succeeded" {
				t.Errorf("%s: the empty policy stays: %v", row.name, p.Annotations)
			}
			if isEmpty {
				p.Name += ", empty"
			}
			got[p.Name] = p.Annotations[hook]
		}
		if !maps.Equal(got, row.want) {
			t.Errorf("%s: the policies' hooks are %v, want %v", row.name, got, row.want)
		}
	}
}

// configOf returns the Secret's data that values make.
func configOf(t *testing.T, args ...string) map[string]any {
	t.Helper()
	data, _ := render(t, args...).one(t, "Secret")["stringData"].(fields)
	return data
}

func TestTheConfigurationIsASecret(t *testing.T) {
	if found := render(t).all("Secret"); len(found) > 0 {
		t.Errorf("without an App there is the Secret %v", found)
	}
	data := configOf(t, "--values=testdata/values/namespaces.yaml")
	want := fields{"app_id": 12345, "installation_id": 123456789012, "provider": "aws", "key": "alias/gatepass", "validate_key": true, "vault": fields{"auth": "kubernetes", "role": "gatepass"}}
	if got := parse(t, data["gatepass.yaml"].(string))[0]; !reflect.DeepEqual(got, want) || len(data) != 1 {
		t.Errorf("the file is %v of %v, want %v", got, slices.Collect(maps.Keys(data)), want)
	}
	data = configOf(t, "--values=testdata/values/flux.yaml")
	file := parse(t, data["gatepass.yaml"].(string))[0]
	if file["key"] != "/config/private.key" || file["client_id"] != "Iv23liExample" || !strings.HasPrefix(data["private.key"].(string), "-----BEGIN PRIVATE KEY-----\nbm90") {
		t.Errorf("the files are %v", data)
	}
}

// A file with the login to Vault alone is for Apps in namespaces.
func TestAConfigurationWithoutAnApp(t *testing.T) {
	data := configOf(t, "--set=config.vault.role=gatepass")
	if got := parse(t, data["gatepass.yaml"].(string))[0]; !reflect.DeepEqual(got, fields{"vault": fields{"role": "gatepass"}}) || len(data) != 1 {
		t.Errorf("the files are %v", data)
	}
}

// Each row is values that have to be refused, and what the message says.
func TestValuesThatAreRefused(t *testing.T) {
	path := program(t, "helm", "GATEPASS_TEST_HELM")
	for _, row := range []struct{ set, says string }{
		{"operator.replica=2", "'replica' not allowed"},
		{"tenancy.namespace=a", "'namespace' not allowed"},
		{"tenancy.permissions.contents=everything", "/tenancy/permissions/contents"},
		{"webhook.failurePolicy=ignore", "/webhook/failurePolicy"},
		{"webhook.port=70000", "/webhook/port"},
		{"watch.namespaces={Team_A}", "/watch/namespaces/0"},
		{"githubURL=http://ghe.example", "/githubURL"},
		{"config.provider=gpc", "/config/provider"},
		{"operator.hostNetwork=true", "webhook.port is 10250, which the kubelet has"},
		{"operator.healthPort=8443", "metrics.port, operator.healthPort, webhook.port have to be different ports"},
		{"config.client_id=Iv1,config.app_id=1,config.provider=aws,config.key=alias/x", "set one of them"},
		{"config.client_id=Iv1", "config.provider is missing"},
		{"config.client_id=Iv1,config.provider=aws", "config.key is missing"},
		{"config.client_id=Iv1,config.provider=file,config.key=/etc/key.pem", "has to be a private key in PEM form"},
		{"config.client_id=Iv1,config.provider=aws,config.key=-----BEGIN PRIVATE KEY-----", "has to be a private key in PEM form with provider: file, and the name of a key"},
		{"broker.enabled=true", "broker.tlsSecret is missing"},
	} {
		output, err := run(t, path, "template", chart, "--set="+row.set)
		if err == nil || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: %v, want %q", row.set, err, row.says)
		}
		if strings.Contains(output, "kind:") {
			t.Errorf("%s: something is rendered all the same", row.set)
		}
	}
}
