package charttest

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"

	"github.com/gatepass/gatepass/test/kubernetestest"
)

const kustomization = root + "/deploy/kustomize"

func build(t *testing.T) objects {
	t.Helper()
	output, err := run(t, program(t, "kustomize", "GATEPASS_TEST_KUSTOMIZE"), "build", kustomization)
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, output)
}

// helmsOwn are labels and annotations that only a release has.
var helmsOwn = []string{
	"app.kubernetes.io/instance", "app.kubernetes.io/managed-by", "app.kubernetes.io/version",
	"helm.sh/chart", "helm.sh/resource-policy", "checksum/config",
}

// plain takes out of an object what only a release has, wherever it is.
func plain(o any) any {
	switch o := o.(type) {
	case fields:
		for _, key := range helmsOwn {
			delete(o, key)
		}
		for _, value := range o {
			plain(value)
		}
	case []any:
		for _, one := range o {
			plain(one)
		}
	}
	return o
}

func byName(all objects) map[string]fields {
	found := map[string]fields{}
	for _, o := range all {
		delete(at(o, "metadata").(fields), "labels")
		found[fmt.Sprint(o["kind"], " ", at(o, "metadata", "namespace"), "/", at(o, "metadata", "name"))] = plain(o).(fields)
	}
	return found
}

// Who installs by Kustomize gets the operator that the chart makes with its own values.
func TestTheBaseIsTheChartsDefault(t *testing.T) {
	got, want := byName(build(t)), byName(render(t))
	if _, ok := got["Namespace <nil>/gatepass"]; !ok {
		t.Error("the base makes no namespace")
	}
	delete(got, "Namespace <nil>/gatepass")
	if a, b := slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)); !slices.Equal(a, b) {
		t.Fatalf("the base makes %q, and the chart %q", a, b)
	}
	for name, o := range want {
		if !reflect.DeepEqual(got[name], o) {
			t.Errorf("%s is %v, and the chart's is %v", name, got[name], o)
		}
	}
}

func TestRealAPIServerTakesTheBase(t *testing.T) {
	program(t, "kustomize", "GATEPASS_TEST_KUSTOMIZE")
	c := kubernetestest.Start(t, kubernetestest.Options{})
	for _, o := range build(t) {
		c.ApplyObject(o)
	}
}
