package migrate

import (
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	v1 "github.com/gatepass/gatepass/operator/api/v1"
	"github.com/gatepass/gatepass/operator/tenant"
)

// suggest prints a TenantPolicy that permits what was denied. It is for a person to
// read and apply: what github-token-manager permitted was everything.
func (m *Move) suggest(denied []tenant.Ask, apps map[string]v1.App) error {
	if len(denied) == 0 {
		return nil
	}
	policy := Policy(denied, apps)
	text, err := yaml.Marshal(struct {
		metav1.TypeMeta `json:",inline"`
		Metadata        map[string]string   `json:"metadata"`
		Spec            v1.TenantPolicySpec `json:"spec"`
	}{policy.TypeMeta, map[string]string{"name": policy.Name}, policy.Spec})
	if err != nil {
		return err
	}
	m.say("# a policy that permits what was permitted before. Make it narrower, most of all owners and")
	m.say("# repositories, apply it, and run this again. It cannot permit allPermissions.")
	for line := range strings.Lines(string(text)) {
		m.say("%s", strings.TrimRight(line, "\n"))
	}
	return nil
}

// Policy returns one TenantPolicy that permits all that is asked, but allPermissions.
func Policy(asks []tenant.Ask, apps map[string]v1.App) v1.TenantPolicy {
	names, targets, used, keys := map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}
	spec := v1.TenantPolicySpec{Owners: []string{"*"}, Repositories: []string{"*"}, Permissions: map[string]v1.PermissionLevel{}}
	for _, ask := range asks {
		used[ask.App.String()] = true
		if ask.Kind == tenant.KindClusterToken {
			targets[ask.Namespace.Name] = true
		} else {
			names[ask.Namespace.Name] = true
		}
		if app := apps[ask.App.String()]; app.Spec.Key != "" {
			names[app.Namespace] = true
			keys[string(app.Spec.Provider)+":"+app.Spec.Key] = true
		}
		for name, level := range ask.Access.Permissions {
			spec.Permissions[name] = higher(spec.Permissions[name], level)
		}
	}
	spec.Namespaces.Names, spec.TargetNamespaces = sorted(names), sorted(targets)
	spec.Apps, spec.Keys = sorted(used), sorted(keys)
	return v1.TenantPolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: newVersion, Kind: "TenantPolicy"},
		ObjectMeta: metav1.ObjectMeta{Name: "github-token-manager"},
		Spec:       spec,
	}
}

func sorted(set map[string]bool) []string { return slices.Sorted(maps.Keys(set)) }

// higher returns the level that allows more.
func higher(a, b v1.PermissionLevel) v1.PermissionLevel {
	order := []v1.PermissionLevel{"", "read", "write", "admin"}
	if slices.Index(order, a) > slices.Index(order, b) {
		return a
	}
	return b
}
