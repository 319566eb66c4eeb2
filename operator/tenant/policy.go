package tenant

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/gatepass/gatepass/internal/gitname"
	v1 "github.com/gatepass/gatepass/operator/api/v1"
)

type set = map[string]bool

// A policy is a compiled TenantPolicy. GitHub's names are in lower case.
type policy struct {
	name   string
	broken string // why the policy is unreadable; it then allows nothing

	names    set
	selector labels.Selector
	targets  set

	apps         set
	owners       set
	repositories set // owner/name, owner/* and *
	permissions  map[string]int
	keys         set
	secretTypes  set
}

func compile(from *v1.TenantPolicy) policy {
	spec := from.Spec
	p := policy{name: from.Name, names: setOf(spec.Namespaces.Names), targets: setOf(spec.TargetNamespaces)}
	selector, err := selectorOf(spec.Namespaces.Selector)
	if err != nil {
		p.broken, p.selector = err.Error(), labels.Everything()
		return p
	}
	p.selector = selector
	p.apps, p.keys, p.secretTypes = setOf(spec.Apps), setOf(spec.Keys), setOf(spec.SecretTypes)
	p.owners, p.repositories = folded(spec.Owners), folded(spec.Repositories)
	p.permissions = make(map[string]int, len(spec.Permissions))
	for name, level := range spec.Permissions {
		p.permissions[name] = rank(level)
	}
	return p
}

// selectorOf compiles a selector. An absent selector matches nothing, and {} matches
// everything.
func selectorOf(from *metav1.LabelSelector) (labels.Selector, error) {
	if from == nil {
		return labels.Nothing(), nil
	}
	return metav1.LabelSelectorAsSelector(from)
}

func (p policy) selects(in Namespace) bool {
	return p.names[in.Name] || p.selector.Matches(labels.Set(in.Labels))
}

// title returns the beginning of a reason.
func (p policy) title() string { return "TenantPolicy " + p.name + ": " }

// problems returns the reasons why p does not allow a. No reasons means that p allows
// it.
func (p policy) problems(a Request) []string {
	if p.broken != "" {
		return []string{p.brokenProblem()}
	}
	all := []string{p.appProblem(a.App)}
	if a.Owner != "" {
		all = append(all, p.ownerProblem(a.Owner), p.repositoryProblem(gitname.Fold(a.Owner), a.Access))
	}
	all = append(all, p.permissionProblem(a.Access), p.typeProblem(a.SecretType))
	return slices.DeleteFunc(all, func(problem string) bool { return problem == "" })
}

func (p policy) brokenProblem() string {
	return "its selector is not valid (" + p.broken + "), so it allows nothing"
}

func (p policy) appProblem(app App) string {
	if p.apps[app.String()] || !app.Default && p.apps[app.Namespace+"/*"] {
		return ""
	}
	return fmt.Sprintf("apps does not have %s", app)
}

func (p policy) ownerProblem(owner string) string {
	if p.owners["*"] || p.owners[gitname.Fold(owner)] {
		return ""
	}
	return fmt.Sprintf("owners does not have %s", owner)
}

// repositoryProblem checks each way of asking for repositories. An ID does not tell the
// repository's name, so IDs need the whole owner, as allRepositories does.
func (p policy) repositoryProblem(owner string, asked v1.Access) string {
	whole := p.repositories["*"] || p.repositories[owner+"/*"]
	if (asked.AllRepositories || len(asked.RepositoryIDs) > 0) && !whole {
		field := "allRepositories"
		if !asked.AllRepositories {
			field = "repositoryIDs"
		}
		return fmt.Sprintf("repositories does not have %s/*, which %s needs", owner, field)
	}
	var outside []string
	for _, name := range asked.Repositories {
		repo, ok := gitname.Repository(owner + "/" + name)
		if !ok || !whole && !p.repositories[repo.String()] {
			outside = append(outside, owner+"/"+name)
		}
	}
	return missing("repositories", outside)
}

func (p policy) permissionProblem(asked v1.Access) string {
	if asked.AllPermissions {
		return "no policy allows allPermissions; list permissions"
	}
	var outside []string
	for _, name := range slices.Sorted(maps.Keys(asked.Permissions)) {
		level := asked.Permissions[name]
		if want := rank(level); want == 0 || p.permissions[name] < want {
			outside = append(outside, name+": "+string(level))
		}
	}
	return missing("permissions", outside)
}

func (p policy) typeProblem(secretType string) string {
	if needsNoPolicy(secretType) || p.secretTypes[secretType] {
		return ""
	}
	return fmt.Sprintf("secretTypes does not have %s", secretType)
}

// missing returns the text that a list of the policy lacks some names; it shows at most
// three.
func missing(list string, outside []string) string {
	if len(outside) == 0 {
		return ""
	}
	const shown = 3
	text := strings.Join(outside[:min(shown, len(outside))], ", ")
	if n := len(outside) - shown; n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	return fmt.Sprintf("%s does not have %s", list, text)
}

// rank orders the permission levels. An unknown level is 0.
func rank(level v1.PermissionLevel) int {
	return slices.Index([]v1.PermissionLevel{"read", "write", "admin"}, level) + 1
}

// needsNoPolicy reports whether any namespace may have Secrets of this type.
func needsNoPolicy(secretType string) bool {
	switch secretType {
	case v1.SecretTypeToken, v1.SecretTypeBasicAuth, v1.SecretTypeDockerConfigJSON, v1.SecretTypeOpaque:
		return true
	}
	return false
}

// givesPower reports whether Kubernetes treats a Secret of this type as more than data.
// Of Kubernetes' own types, only those known to be plain data are accepted.
func givesPower(secretType string) bool {
	group, name, _ := strings.Cut(secretType, "/")
	if group != "kubernetes.io" {
		return strings.HasSuffix(group, ".kubernetes.io")
	}
	return !slices.Contains([]string{"basic-auth", "ssh-auth", "tls", "dockercfg", "dockerconfigjson"}, name)
}

func setOf(list []string) set {
	found := make(set, len(list))
	for _, one := range list {
		found[one] = true
	}
	return found
}

func folded(list []string) set {
	found := make(set, len(list))
	for _, one := range list {
		found[gitname.Fold(one)] = true
	}
	return found
}
