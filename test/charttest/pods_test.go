package charttest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	brokerconfig "github.com/gatepass/gatepass/broker/config"
)

// podOf returns the pod's spec of a Deployment or StatefulSet.
func podOf(o fields) fields {
	spec, _ := at(o, "spec", "template", "spec").(fields)
	return spec
}

// argsOf returns the operator's arguments.
func argsOf(t *testing.T, all objects) []string {
	t.Helper()
	var args []string
	list, _ := at(podOf(all.one(t, "Deployment")), "containers", 0, "args").([]any)
	for _, arg := range list {
		args = append(args, arg.(string))
	}
	return args
}

// portOf returns the number of a named port of the operator.
func portOf(t *testing.T, all objects, name string) any {
	t.Helper()
	list, _ := at(podOf(all.one(t, "Deployment")), "containers", 0, "ports").([]any)
	for _, port := range list {
		if at(port, "name") == name {
			return at(port, "containerPort")
		}
	}
	return nil
}

// Control planes reach webhooks in many ways, and each needs its port: nodes of private
// GKE clusters at 10250, EKS with another CNI only by the host's network.
func TestTheWebhookIsWithinReach(t *testing.T) {
	all := render(t)
	if portOf(t, all, "webhook") != 10250 || !slices.Contains(argsOf(t, all), "--webhook-bind-address=:10250") || !slices.Contains(argsOf(t, all), "--webhook-failure-policy=Ignore") {
		t.Errorf("the webhook listens at %v, and the arguments are %q", portOf(t, all, "webhook"), argsOf(t, all))
	}
	service := named(all, "Service", "gatepass-operator-webhook")
	if at(service, "spec", "ports", 0, "targetPort") != "webhook" || at(service, "spec", "ports", 0, "port") != 443 {
		t.Errorf("the webhook's Service is %v", service)
	}
	ingress, _ := at(all.one(t, "NetworkPolicy"), "spec", "ingress").([]any)
	if len(ingress) != 1 || at(ingress, 0, "from") != nil || at(ingress, 0, "ports", 0, "port") != "webhook" {
		t.Errorf("the NetworkPolicy lets in %v, want the webhook's port from anywhere", ingress)
	}

	all = render(t, "--values=testdata/values/hostnetwork.yaml")
	pod := podOf(all.one(t, "Deployment"))
	if pod["hostNetwork"] != true || pod["dnsPolicy"] != "ClusterFirstWithHostNet" || portOf(t, all, "webhook") != 9443 {
		t.Errorf("on the host's network the pod is %v", pod)
	}
	for _, arg := range []string{"--webhook-bind-address=:9443", "--webhook-failure-policy=Fail", "--metrics-bind-address=:9442", "--health-probe-bind-address=:9441"} {
		if !slices.Contains(argsOf(t, all), arg) {
			t.Errorf("the operator is started with %q, want %s", argsOf(t, all), arg)
		}
	}

	all = render(t, "--set=webhook.enabled=false")
	if strings.Contains(strings.Join(argsOf(t, all), " "), "webhook") || named(all, "Service", "gatepass-operator-webhook") != nil {
		t.Errorf("without a webhook the operator is started with %q", argsOf(t, all))
	}
}

func named(all objects, kind, name string) fields {
	for _, o := range all.all(kind) {
		if at(o, "metadata", "name") == name {
			return o
		}
	}
	return nil
}

// A Service or a policy that selects no pod is found out on the day it is needed.
func TestSelectorsSelectThePods(t *testing.T) {
	for name, values := range valueSets(t) {
		all := render(t, "--values="+values)
		pods := append(all.all("Deployment"), all.all("StatefulSet")...)
		for _, o := range all {
			selector, _ := at(o, "spec", "selector").(fields)
			if o["kind"] == "NetworkPolicy" {
				selector, _ = at(o, "spec", "podSelector").(fields)
			}
			if labels, ok := selector["matchLabels"].(fields); ok {
				selector = labels
			}
			if o["kind"] == "ServiceMonitor" || selector == nil {
				continue
			}
			if n := selected(pods, selector); n != 1 {
				t.Errorf("%s: %s %v selects %d kinds of pods, want one", name, o["kind"], at(o, "metadata", "name"), n)
			}
		}
	}
}

func selected(pods objects, selector fields) (n int) {
	for _, o := range pods {
		isOne := true
		for key, value := range selector {
			isOne = isOne && at(o, "spec", "template", "metadata", "labels", key) == value
		}
		if isOne {
			n++
		}
	}
	return n
}

func TestReplicasAreSpreadAndKept(t *testing.T) {
	all := render(t)
	if len(all.all("PodDisruptionBudget")) > 0 {
		t.Error("a PodDisruptionBudget of one replica keeps its node from being drained")
	}
	all = render(t, "--set=operator.replicas=2")
	if at(all.one(t, "PodDisruptionBudget"), "spec", "maxUnavailable") != 1 {
		t.Error("of two replicas both may be evicted at once")
	}
	if at(podOf(all.one(t, "Deployment")), "topologySpreadConstraints", 0, "topologyKey") != "kubernetes.io/hostname" {
		t.Error("two replicas may run on one node without need")
	}
}

// Pods are started anew where the configuration that the chart makes is another one.
func TestTheConfigurationsChecksum(t *testing.T) {
	sum := func(set string) any {
		return at(render(t, "--values=testdata/values/flux.yaml", "--set="+set).one(t, "Deployment"), "spec", "template", "metadata", "annotations", "checksum/config")
	}
	if sum("operator.replicas=1") != sum("operator.replicas=2") {
		t.Error("the checksum changes without the configuration")
	}
	if sum("config.installation_id=1") == sum("config.installation_id=2") {
		t.Error("the checksum stays when the configuration changes")
	}
}

// The broker takes the file that the chart writes, with its profiles.
func TestTheBrokersFileIsRead(t *testing.T) {
	all := render(t, "--values=testdata/values/everything.yaml")
	dir := t.TempDir()
	config := at(named(all, "ConfigMap", "gatepass-broker"), "data", "broker.yaml").(string)
	profile := at(named(all, "ConfigMap", "gatepass-broker-profiles"), "data", "agent.yaml").(string)
	file := filepath.Join(dir, "broker.yaml")
	for path, text := range map[string]string{
		file:                             strings.ReplaceAll(config, "/etc/gatepass/profiles/", dir+"/"),
		filepath.Join(dir, "agent.yaml"): profile,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Rename(file, filepath.Join(dir, "broker")); err != nil {
		t.Fatal(err)
	}
	f, err := brokerconfig.LoadDraft(filepath.Join(dir, "broker"))
	if err != nil {
		t.Fatal(err)
	}
	if f.Store != "kubernetes://gatepass" || f.ByName["agent"] == nil || f.Metrics != "0.0.0.0:9465" {
		t.Errorf("the broker's file is %+v", f)
	}
	// A gateway is a key of the broker's file as any other.
	with := render(t, "--values=testdata/values/everything.yaml", "--set-json=broker.config.gateway={}")
	if !strings.Contains(at(named(with, "ConfigMap", "gatepass-broker"), "data", "broker.yaml").(string), "gateway: {}\n") {
		t.Error("broker.config.gateway does not reach the broker")
	}
}

// The broker's store has the rights of the manifest for a store, and no others.
func TestTheBrokersRights(t *testing.T) {
	want := rights(t, parse(t, read(t, root+"/deploy/kubernetes/store.yaml")).one(t, "Role")["rules"])
	role := named(render(t, "--values=testdata/values/everything.yaml"), "Role", "gatepass-store")
	if got := rights(t, role["rules"]); len(got) != len(want) {
		t.Errorf("the broker may %v, want %v", got, want)
	}
	all := render(t, "--values=testdata/values/everything.yaml", "--set=broker.config.store=ssm:///gatepass?region=us-east-1")
	if named(all, "Role", "gatepass-store") != nil {
		t.Error("a broker with a store elsewhere may read Secrets here")
	}
}
