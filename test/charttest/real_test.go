package charttest

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/test/kubernetestest"
)

// cluster starts an API server for one test, and has helm find it.
func cluster(t *testing.T, o kubernetestest.Options) *kubernetestest.Cluster {
	t.Helper()
	program(t, "helm", "GATEPASS_TEST_HELM")
	c := kubernetestest.Start(t, o)
	t.Setenv("KUBECONFIG", c.Kubeconfig)
	return c
}

// namespace makes one with a name of its own, which takes only pods that keep to the
// standard "restricted".
func namespace(t *testing.T, c *kubernetestest.Cluster, name string) {
	t.Helper()
	c.ApplyObject(fields{"apiVersion": "v1", "kind": "Namespace", "metadata": fields{
		"name": name, "labels": fields{"pod-security.kubernetes.io/enforce": "restricted"},
	}})
}

// An API server takes every object that the chart makes, field by field.
func TestRealAPIServerTakesEveryObject(t *testing.T) {
	c := cluster(t, kubernetestest.Options{})
	for _, name := range []string{"gatepass", "team-a", "team-b"} {
		namespace(t, c, name)
	}
	for name, values := range valueSets(t) {
		applied := 0
		for _, o := range render(t, "--values="+values) {
			isGoing := strings.HasPrefix(annotation(o, hook), "pre-delete")
			if o["kind"] == "ServiceMonitor" || isGoing {
				continue // of the Prometheus Operator, which is not here; a second one of its name
			}
			c.ApplyObject(o)
			applied++
		}
		if applied < 6 {
			t.Errorf("%s: %d objects were applied", name, applied)
		}
	}
}

// The pods keep to the Pod Security Standard "restricted", but for the host's network.
func TestRealPodsAreRestricted(t *testing.T) {
	c := cluster(t, kubernetestest.Options{})
	namespace(t, c, "gatepass")
	for _, o := range render(t, "--values=testdata/values/everything.yaml").all("ServiceAccount") {
		c.ApplyObject(o)
	}
	try := func(o fields) (code int, message any) {
		code, answer := c.Try(http.MethodPost, "/api/v1/namespaces/gatepass/pods?dryRun=All", fields{
			"apiVersion": "v1", "kind": "Pod", "metadata": fields{"name": "it"}, "spec": podOf(o),
		})
		return code, answer["message"]
	}
	all := render(t, "--values=testdata/values/everything.yaml")
	for _, o := range append(all.all("Deployment"), all.all("StatefulSet")...) {
		delete(podOf(o), "priorityClassName") // only kube-system has it
		list := podOf(o)["volumes"].([]any)
		if o["kind"] == "StatefulSet" {
			podOf(o)["volumes"] = append(list, fields{"name": "state", "persistentVolumeClaim": fields{"claimName": "state"}})
		}
		if code, message := try(o); code != http.StatusCreated {
			t.Errorf("the pod of %s = %d %v", at(o, "metadata", "name"), code, message)
		}
	}
	host := render(t, "--values=testdata/values/hostnetwork.yaml").one(t, "Deployment")
	if code, message := try(host); code != http.StatusForbidden || !strings.Contains(message.(string), "hostNetwork=true") {
		t.Errorf("a pod on the host's network = %d %v, want a refusal of that", code, message)
	}
}

// policies returns the owners that each TenantPolicy of a cluster allows, by its name.
func policies(c *kubernetestest.Cluster) map[string]string {
	found := map[string]string{}
	items, _ := c.Call(http.MethodGet, "/apis/gatepass.dev/v1/tenantpolicies", nil)["items"].([]any)
	for _, p := range items {
		found[at(p, "metadata", "name").(string)] = fmt.Sprint(at(p, "spec", "owners"))
	}
	return found
}

func checkPolicies(t *testing.T, c *kubernetestest.Cluster, want map[string]string) {
	t.Helper()
	if got := policies(c); !maps.Equal(got, want) {
		t.Errorf("the policies allow the owners %v, want %v", got, want)
	}
}

// From nothing, one command with --wait makes the CRDs and a policy of one of their kinds. The next
// ones change what it allows. When the release goes, the kinds and what users made of
// them stay, the operator's webhook configuration does not, and another release finds
// them.
func TestRealReleaseFromFirstToLast(t *testing.T) {
	c := cluster(t, kubernetestest.Options{Controllers: true})
	defer rollOut(c)()
	command := func(verb string, args ...string) {
		t.Helper()
		helm(t, append([]string{verb, "gatepass", chart, "--namespace=gatepass", "--wait", "--timeout=2m", "--values=testdata/values/flux.yaml"}, args...)...)
	}
	uninstall := func() { helm(t, "uninstall", "gatepass", "--namespace=gatepass") }
	command("install", "--create-namespace")
	checkPolicies(t, c, map[string]string{"gatepass-tenancy-first": "[acme]"})
	command("upgrade", "--set=tenancy.owners={globex}")
	checkPolicies(t, c, map[string]string{"gatepass-tenancy": "[globex]"})
	command("upgrade", "--set=tenancy.owners={acme,globex}")
	checkPolicies(t, c, map[string]string{"gatepass-tenancy": "[acme globex]"})
	command("upgrade", "--set=tenancy.namespaces=null")
	checkPolicies(t, c, map[string]string{})

	owned := webhookOf(c)
	namespace(t, c, "flux-system")
	c.ApplyObject(token())
	uninstall()
	c.Call(http.MethodGet, "/apis/gatepass.dev/v1/namespaces/flux-system/tokens/flux", nil)
	kubernetestest.Wait(t, time.Minute, "the webhook's configuration to be collected", func() (bool, any) {
		code, _ := c.Try(http.MethodGet, owned, nil)
		return code == http.StatusNotFound, code
	})

	command("install")
	checkPolicies(t, c, map[string]string{"gatepass-tenancy": "[acme]"})
	uninstall()
	checkPolicies(t, c, map[string]string{})
}

// A policy that a first installation made as a hook goes with the release as well, and
// when the next release has none.
func TestRealFirstPolicyDoesNotStay(t *testing.T) {
	for _, last := range [][]string{
		{"uninstall", "gatepass", "--namespace=gatepass"},
		{"upgrade", "gatepass", chart, "--namespace=gatepass", "--set=tenancy.namespaces=null"},
	} {
		t.Run(last[0], func(t *testing.T) {
			c := cluster(t, kubernetestest.Options{})
			defer rollOut(c)()
			helm(t, "install", "gatepass", chart, "--namespace=gatepass", "--create-namespace", "--wait", "--timeout=2m", "--values=testdata/values/flux.yaml")
			checkPolicies(t, c, map[string]string{"gatepass-tenancy-first": "[acme]"})
			helm(t, last...)
			checkPolicies(t, c, map[string]string{})
		})
	}
}

// Where the first policy cannot be made, be it because the cluster does not know the kind
// yet, helm upgrade makes what is missing.
func TestRealFailedInstallationIsMended(t *testing.T) {
	c := cluster(t, kubernetestest.Options{})
	defer rollOut(c)()
	args := []string{"gatepass", chart, "--namespace=gatepass", "--create-namespace", "--wait", "--timeout=2m", "--values=testdata/values/flux.yaml"}
	_, err := run(t, program(t, "helm", "GATEPASS_TEST_HELM"), append([]string{"install", "--set=tenancy.owners={no owner}"}, args...)...)
	if err == nil || !strings.Contains(err.Error(), "failed post-install") {
		t.Fatalf("a policy that the API server refuses: %v", err)
	}
	helm(t, append([]string{"upgrade"}, args...)...)
	checkPolicies(t, c, map[string]string{"gatepass-tenancy": "[acme]"})
}

// webhookOf makes a configuration that belongs to the ClusterRole of the release, as the
// operator does, and returns its path.
func webhookOf(c *kubernetestest.Cluster) string {
	role := c.Call(http.MethodGet, "/apis/rbac.authorization.k8s.io/v1/clusterroles/gatepass-operator", nil)
	c.ApplyObject(fields{
		"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
		"metadata": fields{"name": "gatepass-operator", "ownerReferences": []fields{{
			"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
			"name": "gatepass-operator", "uid": at(role, "metadata", "uid"),
		}}},
	})
	return "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/gatepass-operator"
}

// token is one that a user has made for Flux.
func token() fields {
	return fields{
		"apiVersion": "gatepass.dev/v1", "kind": "Token",
		"metadata": fields{"name": "flux", "namespace": "flux-system"},
		"spec":     fields{"owner": "acme", "repositories": []any{"fleet"}, "permissions": fields{"contents": "read"}, "secret": fields{"preset": "flux"}},
	}
}
