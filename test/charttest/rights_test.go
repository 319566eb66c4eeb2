package charttest

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"testing"
)

// rights returns each verb on each resource, or on one object of it, that rules allow.
func rights(t *testing.T, rules any) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	each := func(rule any, key string) []any { list, _ := at(rule, key).([]any); return list }
	for _, rule := range rules.([]any) {
		names := each(rule, "resourceNames")
		if len(names) == 0 {
			names = []any{"*"}
		}
		for _, group := range each(rule, "apiGroups") {
			for _, resource := range each(rule, "resources") {
				for _, verb := range each(rule, "verbs") {
					for _, name := range names {
						found[fmt.Sprintf("%s %s/%s/%s", verb, group, resource, name)] = true
					}
				}
			}
		}
	}
	return found
}

// generated returns what make generate made of the operator's markers.
func generated(t *testing.T) (everywhere, own any) {
	t.Helper()
	roles := parse(t, read(t, root+"/deploy/rbac/role.yaml"))
	return roles.one(t, "ClusterRole")["rules"], roles.one(t, "Role")["rules"]
}

// The operator has the rights of its markers: no less, or it would fail, and no more.
func TestTheRightsAreThoseOfTheMarkers(t *testing.T) {
	everywhere, own := generated(t)
	all := render(t)
	if got := all.one(t, "ClusterRole")["rules"]; !reflect.DeepEqual(got, everywhere) {
		t.Errorf("the ClusterRole has %v, want %v", got, everywhere)
	}
	if got := all.one(t, "Role")["rules"]; !reflect.DeepEqual(got, own) {
		t.Errorf("the Role has %v, want %v", got, own)
	}
	for _, kind := range []string{"RoleBinding", "ClusterRoleBinding"} {
		binding := all.one(t, kind)
		if at(binding, "roleRef", "name") != "gatepass-operator" || at(binding, "subjects", 0, "name") != "gatepass-operator" || at(binding, "subjects", 0, "namespace") != "gatepass" {
			t.Errorf("the %s is %v", kind, binding)
		}
	}
}

// namespaced matches rights on what lies in namespaces.
var namespaced = regexp.MustCompile(`/(secrets|events|tokens|tokens/.*|apps|apps/.*|leases)/`)

// The chart's roles for watched namespaces use a list of cluster-wide resources. A new
// resource in the markers must be checked against it.
func TestEveryResourceIsKnown(t *testing.T) {
	outside := regexp.MustCompile(`/(namespaces|clustertokens(/.*)?|tenantpolicies|validatingwebhookconfigurations|clusterroles|tokenreviews|subjectaccessreviews)/`)
	everywhere, own := generated(t)
	for _, rules := range []any{everywhere, own} {
		for right := range rights(t, rules) {
			if outside.MatchString(right) == namespaced.MatchString(right) {
				t.Errorf("%s: say in templates/rbac.yaml and here whether this lies in namespaces", right)
			}
		}
	}
}

// With watch.namespaces nothing that has the operator's identity reads a Secret
// elsewhere. Together the roles allow what the ClusterRole allowed.
func TestWatchedNamespacesHaveRoles(t *testing.T) {
	everywhere, own := generated(t)
	all := render(t, "--set=watch.namespaces={team-a,team-b}")
	wide := rights(t, all.one(t, "ClusterRole")["rules"])
	for right := range wide {
		if namespaced.MatchString(right) {
			t.Errorf("the ClusterRole allows %s", right)
		}
	}
	missing := rights(t, everywhere)
	maps.DeleteFunc(missing, func(right string, _ bool) bool { return wide[right] })
	var seen []string
	for _, role := range all.all("Role") {
		namespace := at(role, "metadata", "namespace").(string)
		seen = append(seen, namespace)
		want := maps.Clone(missing)
		if namespace == "gatepass" {
			maps.Copy(want, rights(t, own))
		}
		if got := rights(t, role["rules"]); !maps.Equal(got, want) {
			t.Errorf("the Role in %s allows %v, want %v", namespace, slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
		}
	}
	if slices.Sort(seen); !slices.Equal(seen, []string{"gatepass", "team-a", "team-b"}) {
		t.Errorf("there are Roles in %q", seen)
	}
	if bindings := all.all("RoleBinding"); len(bindings) != 3 {
		t.Errorf("there are %d RoleBindings, want 3", len(bindings))
	}
	if !slices.Contains(argsOf(t, all), "--watch-namespaces=team-a,team-b") {
		t.Errorf("the operator is started with %q", argsOf(t, all))
	}
}

// A restart of a consumer changes its Deployment. The operator may do that only if
// restartConsumers.enabled is set.
func TestRestartsAreARightOfTheirOwn(t *testing.T) {
	everywhere, _ := generated(t)
	extra := map[string]bool{"get apps/deployments/*": true, "patch apps/deployments/*": true}
	for right := range rights(t, everywhere) {
		if extra[right] {
			t.Errorf("%s is a right without restartConsumers.enabled", right)
		}
	}
	got := rights(t, render(t, "--set=restartConsumers.enabled=true").one(t, "ClusterRole")["rules"])
	maps.DeleteFunc(got, func(right string, _ bool) bool { return rights(t, everywhere)[right] })
	if !maps.Equal(got, extra) {
		t.Errorf("restartConsumers.enabled gives %v, want %v", got, extra)
	}
	role := render(t, "--set=restartConsumers.enabled=true,watch.namespaces={a}").all("Role")[1]
	if got := rights(t, role["rules"]); !got["patch apps/deployments/*"] {
		t.Errorf("in a watched namespace the operator may %v", got)
	}
}
