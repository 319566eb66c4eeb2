package tenant_test

import (
	"errors"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/gatepass/gatepass/operator/api/v1"
	"github.com/gatepass/gatepass/operator/tenant"
)

// team is a policy that allows what ask asks for.
func team(changes ...func(*v1.TenantPolicySpec)) v1.TenantPolicy {
	policy := v1.TenantPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "team"},
		Spec: v1.TenantPolicySpec{
			Namespaces:       v1.NamespaceSelection{Names: []string{"team-a"}},
			Apps:             []string{"default", "team-a/*", "shared/bot"},
			Owners:           []string{"Acme"},
			Repositories:     []string{"acme/Api", "acme/web"},
			Permissions:      map[string]v1.PermissionLevel{"contents": "write", "metadata": "read"},
			Keys:             []string{"aws:alias/gatepass", "vault:transit/sign/app"},
			SecretTypes:      []string{"connection.crossplane.io/v1alpha1"},
			TargetNamespaces: []string{"team-a"},
		},
	}
	for _, change := range changes {
		change(&policy.Spec)
	}
	return policy
}

// ask is what a Token of team-a asks for.
func ask(changes ...func(*tenant.Request)) tenant.Request {
	asked := tenant.Request{
		Kind:      tenant.KindToken,
		Namespace: tenant.Namespace{Name: "team-a"},
		App:       tenant.App{Default: true},
		Owner:     "acme",
		Access: v1.Access{
			Repositories: []string{"api"},
			Permissions:  map[string]v1.PermissionLevel{"contents": "read"},
		},
		SecretType: v1.SecretTypeToken,
	}
	for _, change := range changes {
		change(&asked)
	}
	return asked
}

func repositories(names ...string) func(*tenant.Request) {
	return func(a *tenant.Request) { a.Access.Repositories = names }
}

func ids(ids ...int64) func(*tenant.Request) {
	return func(a *tenant.Request) { a.Access.Repositories, a.Access.RepositoryIDs = nil, ids }
}

func allRepositories(a *tenant.Request) { a.Access.Repositories, a.Access.AllRepositories = nil, true }

func permission(name string, level v1.PermissionLevel) func(*tenant.Request) {
	return func(a *tenant.Request) { a.Access.Permissions = map[string]v1.PermissionLevel{name: level} }
}

func owner(name string) func(*tenant.Request) { return func(a *tenant.Request) { a.Owner = name } }

func app(namespace, name string, provider v1.Provider) func(*tenant.Request) {
	return func(a *tenant.Request) { a.App = tenant.App{Namespace: namespace, Name: name, Provider: provider} }
}

func secretType(name string) func(*tenant.Request) {
	return func(a *tenant.Request) { a.SecretType = name }
}

func in(namespace string) func(*tenant.Request) {
	return func(a *tenant.Request) { a.Namespace.Name = namespace }
}

func clusterToken(a *tenant.Request) { a.Kind = tenant.KindClusterToken }

func allows(patterns ...string) func(*v1.TenantPolicySpec) {
	return func(s *v1.TenantPolicySpec) { s.Repositories = patterns }
}

func TestOnePolicy(t *testing.T) {
	const allowed = ""
	for what, row := range map[string]struct {
		policy v1.TenantPolicy
		ask    tenant.Request
		denied string // a part of the message
	}{
		"what the policy lists":                  {team(), ask(), allowed},
		"the owner in another case":              {team(), ask(owner("ACME")), allowed},
		"a repository in another case":           {team(), ask(repositories("API", "Web")), allowed},
		"the most that is allowed":               {team(), ask(permission("contents", "write")), allowed},
		"a type that the policy lists":           {team(), ask(secretType("connection.crossplane.io/v1alpha1")), allowed},
		"an App of any name in a namespace":      {team(), ask(app("team-a", "own", v1.ProviderSecret)), allowed},
		"an App that is named":                   {team(), ask(app("shared", "bot", v1.ProviderAWS)), allowed},
		"every repository of a whole owner":      {team(allows("acme/*")), ask(allRepositories), allowed},
		"ids of a whole owner":                   {team(allows("ACME/*")), ask(ids(1, 2)), allowed},
		"ids where every repository is allowed":  {team(allows("*")), ask(ids(1)), allowed},
		"a repository of a whole owner":          {team(allows("acme/*")), ask(repositories("new")), allowed},
		"any owner":                              {team(allows("*"), func(s *v1.TenantPolicySpec) { s.Owners = []string{"*"} }), ask(owner("zeta")), allowed},
		"a ClusterToken for a target":            {team(), ask(clusterToken), allowed},
		"an owner that is found before the mint": {team(), ask(owner(""), func(a *tenant.Request) { a.OwnerUnknown = true }), allowed},

		"another owner":                         {team(allows("*")), ask(owner("zeta")), "owners does not have zeta"},
		"an owner that begins the same":         {team(allows("*")), ask(owner("acme-labs")), "owners does not have acme-labs"},
		"an owner by another kind of k":         {team(allows("*"), func(s *v1.TenantPolicySpec) { s.Owners = []string{"k"} }), ask(owner("\u212a")), "not the name of an account"},
		"an owner called *":                     {team(allows("*")), ask(owner("*")), "not the name of an account"},
		"an owner with a repository in it":      {team(allows("*")), ask(owner("acme/api")), "not the name of an account"},
		"another repository":                    {team(), ask(repositories("api", "secret")), "repositories does not have acme/secret"},
		"many other repositories":               {team(), ask(repositories("q", "r", "s", "t", "u")), "does not have acme/q, acme/r, acme/s and 2 more"},
		"a repository that begins the same":     {team(), ask(repositories("api-internal")), "does not have acme/api-internal"},
		"a repository called *":                 {team(allows("acme/*")), ask(repositories("*")), "does not have acme/*"},
		"a repository of another owner":         {team(allows("*")), ask(repositories("../zeta/api")), "does not have"},
		"a whole owner's name as a prefix":      {team(allows("acme/*")), ask(owner("acme-labs"), func(*tenant.Request) {}), "owners does not have"},
		"ids where repositories are named":      {team(), ask(ids(1)), "does not have acme/*, which repositoryIDs needs"},
		"every repository where some are named": {team(), ask(allRepositories), "does not have acme/*, which allRepositories needs"},
		"ids beside allowed names":              {team(), ask(func(a *tenant.Request) { a.Access.RepositoryIDs = []int64{7} }), "which repositoryIDs needs"},
		"a permission above the policy's":       {team(), ask(permission("metadata", "write")), "permissions does not have metadata: write"},
		"a permission that is not listed":       {team(), ask(permission("administration", "read")), "permissions does not have administration: read"},
		"a level that does not exist":           {team(), ask(permission("contents", "owner")), "contents: owner"},
		"a level in another case":               {team(), ask(permission("contents", "READ")), "contents: READ"},
		"a level of the policy that does not exist": {
			team(func(s *v1.TenantPolicySpec) { s.Permissions["contents"] = "all" }),
			ask(), "permissions does not have contents: read",
		},
		"every permission":                    {team(), ask(func(a *tenant.Request) { a.Access.AllPermissions = true }), "no policy allows allPermissions"},
		"an App that is not listed":           {team(), ask(app("shared", "other", v1.ProviderSecret)), "apps does not have shared/other"},
		"an App of a namespace called *":      {team(), ask(app("shared", "*", v1.ProviderSecret)), "it does not name an App"},
		"an App of the namespace default":     {team(), ask(app("default", "x", v1.ProviderSecret)), "apps does not have default/x"},
		"a type that is not listed":           {team(), ask(secretType("kubernetes.io/tls")), "secretTypes does not have kubernetes.io/tls"},
		"a type of power that is listed":      {team(types("kubernetes.io/service-account-token")), ask(secretType("kubernetes.io/service-account-token")), "gives power in the cluster"},
		"a bootstrap token that is listed":    {team(types("bootstrap.kubernetes.io/token")), ask(secretType("bootstrap.kubernetes.io/token")), "gives power in the cluster"},
		"a type that Kubernetes may yet make": {team(types("kubernetes.io/new")), ask(secretType("kubernetes.io/new")), "gives power in the cluster"},

		"no repositories":                         {team(allows("*")), ask(repositories()), "it does not request repositories"},
		"no permissions":                          {team(), ask(func(a *tenant.Request) { a.Access.Permissions = nil }), "it does not request permissions"},
		"no owner":                                {team(), ask(owner("")), "the account of the installation is unknown"},
		"no type":                                 {team(), ask(secretType("")), "the Secret has no type"},
		"another kind":                            {team(), ask(func(a *tenant.Request) { a.Kind = "App" }), "only a Token or a ClusterToken may request a token"},
		"an unknown owner and a wrong App":        {team(), ask(owner(""), app("x", "y", v1.ProviderSecret), func(a *tenant.Request) { a.OwnerUnknown = true }), "apps does not have x/y"},
		"a ClusterToken for another target":       {team(), ask(clusterToken, in("team-b")), "no TenantPolicy has namespace team-b in targetNamespaces"},
		"a Token that is only a target":           {team(func(s *v1.TenantPolicySpec) { s.TargetNamespaces = []string{"team-b"} }), ask(in("team-b")), "no TenantPolicy selects namespace team-b"},
		"a ClusterToken of a selected, no target": {team(func(s *v1.TenantPolicySpec) { s.TargetNamespaces = nil }), ask(clusterToken), "in targetNamespaces"},
	} {
		t.Run(what, func(t *testing.T) {
			check(t, tenant.Compile([]v1.TenantPolicy{row.policy}).Check(row.ask), row.denied)
		})
	}
}

func types(list ...string) func(*v1.TenantPolicySpec) {
	return func(s *v1.TenantPolicySpec) { s.SecretTypes = list }
}

// check wants no error, or one that is a Denied of one line with a part in it.
func check(t *testing.T, err error, part string) {
	t.Helper()
	if part == "" {
		if err != nil {
			t.Errorf("it is denied: %v", err)
		}
		return
	}
	var denied *tenant.Denied
	if !errors.As(err, &denied) {
		t.Fatalf("the error is %v, want a Denied with %q", err, part)
	}
	if text := err.Error(); !strings.Contains(text, part) || strings.Contains(text, "\n") {
		t.Errorf("the error is %q, want one line with %q", text, part)
	}
}

func TestAnAbsentListGivesNothing(t *testing.T) {
	for list, clear := range map[string]func(*v1.TenantPolicySpec){
		"apps":         func(s *v1.TenantPolicySpec) { s.Apps = nil },
		"owners":       func(s *v1.TenantPolicySpec) { s.Owners = nil },
		"repositories": func(s *v1.TenantPolicySpec) { s.Repositories = nil },
		"permissions":  func(s *v1.TenantPolicySpec) { s.Permissions = nil },
	} {
		policies := tenant.Compile([]v1.TenantPolicy{team(clear)})
		check(t, policies.Check(ask()), list+" does not have")
	}
	empty := v1.TenantPolicy{}
	check(t, tenant.Compile([]v1.TenantPolicy{empty}).Check(ask()), "no TenantPolicy selects namespace team-a")
}

// What is asked is never put together from two policies.
func TestTwoPoliciesDoNotAddUp(t *testing.T) {
	one := team(allows("acme/api"), func(s *v1.TenantPolicySpec) { s.Permissions = map[string]v1.PermissionLevel{"contents": "read"} })
	two := team(allows("acme/web"), func(s *v1.TenantPolicySpec) { s.Permissions = map[string]v1.PermissionLevel{"contents": "write"} })
	two.Name = "writers"
	policies := tenant.Compile([]v1.TenantPolicy{one, two})

	check(t, policies.Check(ask(repositories("api"))), "")
	check(t, policies.Check(ask(repositories("web"), permission("contents", "write"))), "")
	check(t, policies.Check(ask(repositories("api", "web"))), "TenantPolicy team: repositories does not have acme/web / TenantPolicy writers: repositories does not have acme/api; request only")
	check(t, policies.Check(ask(repositories("api"), permission("contents", "write"))), "TenantPolicy team: permissions does not have contents: write / TenantPolicy writers: repositories")
}

func TestWithoutPolicy(t *testing.T) {
	own := app("team-a", "own", v1.ProviderSecret)
	for what, row := range map[string]struct {
		ask    tenant.Request
		denied string
	}{
		"an App of the namespace":               {ask(own), ""},
		"every repository of its own App":       {ask(own, allRepositories), ""},
		"a ClusterToken, App of the target":     {ask(own, clusterToken), ""},
		"docker's type":                         {ask(own, secretType("kubernetes.io/dockerconfigjson")), ""},
		"the operator's App":                    {ask(), "without one only an App of that namespace with provider: secret"},
		"the operator's App, as if it were own": {ask(own, func(a *tenant.Request) { a.App.Default = true }), "provider: secret"},
		"an App of another namespace":           {ask(app("team-b", "own", v1.ProviderSecret)), "lists the App team-b/own"},
		"an App with the operator's identity":   {ask(app("team-a", "own", v1.ProviderAWS)), "provider: secret"},
		"an App whose provider is not known":    {ask(app("team-a", "own", "")), "provider: secret"},
		"a ClusterToken with the operator's":    {ask(clusterToken), "in targetNamespaces"},
		"a type that needs a policy":            {ask(own, secretType("kubernetes.io/tls")), "a Secret of type kubernetes.io/tls needs one"},
		"a type of power":                       {ask(own, secretType("kubernetes.io/service-account-token")), "gives power"},
		"nothing at all":                        {tenant.Request{}, "is not allowed"},
		"an own App, and repositories unsaid":   {ask(own, repositories()), "it does not request repositories"},
	} {
		t.Run(what, func(t *testing.T) {
			elsewhere := team(func(s *v1.TenantPolicySpec) {
				s.Namespaces.Names, s.TargetNamespaces = []string{"team-z"}, nil
			})
			var zero tenant.Policies
			for name, policies := range map[string]*tenant.Policies{
				"nil": nil, "zero": &zero, "another's": tenant.Compile([]v1.TenantPolicy{elsewhere}),
			} {
				t.Log(name)
				check(t, policies.Check(row.ask), row.denied)
			}
		})
	}
}

func TestSelector(t *testing.T) {
	selector := func(s metav1.LabelSelector) func(*v1.TenantPolicySpec) {
		return func(spec *v1.TenantPolicySpec) { spec.Namespaces = v1.NamespaceSelection{Selector: &s} }
	}
	labelled := func(labels map[string]string) func(*tenant.Request) {
		return func(a *tenant.Request) { a.Namespace.Labels = labels }
	}
	wanted := metav1.LabelSelector{MatchLabels: map[string]string{"team": "a"}}
	for what, row := range map[string]struct {
		policy v1.TenantPolicy
		ask    tenant.Request
		denied string
	}{
		"a label that matches":         {team(selector(wanted)), ask(labelled(map[string]string{"team": "a"})), ""},
		"a label that does not":        {team(selector(wanted)), ask(labelled(map[string]string{"team": "b"})), "no TenantPolicy selects"},
		"no label":                     {team(selector(wanted)), ask(), "no TenantPolicy selects"},
		"an empty selector":            {team(selector(metav1.LabelSelector{})), ask(), ""},
		"a selector of an unknown way": {team(selector(metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "team", Operator: "Like"}}})), ask(), "its selector is not valid"},
	} {
		t.Run(what, func(t *testing.T) {
			check(t, tenant.Compile([]v1.TenantPolicy{row.policy}).Check(row.ask), row.denied)
		})
	}
}

// A policy that cannot be read might be the one that takes the namespace's own App
// away, so it selects every namespace. It takes nothing from what another one allows.
func TestUnreadablePolicyFailsClosed(t *testing.T) {
	broken := team(func(s *v1.TenantPolicySpec) {
		s.Namespaces = v1.NamespaceSelection{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"team": "not a value"}}}
	})
	broken.Name = "broken"
	own := ask(app("team-a", "own", v1.ProviderSecret))
	check(t, tenant.Compile([]v1.TenantPolicy{broken}).Check(own), "TenantPolicy broken: its selector is not valid")
	check(t, tenant.Compile([]v1.TenantPolicy{broken}).Check(ask(clusterToken)), "TenantPolicy broken: its selector is not valid")
	check(t, tenant.Compile([]v1.TenantPolicy{broken, team()}).Check(own), "")
}

// With a hundred policies the message stays one that a person reads.
func TestManyReasons(t *testing.T) {
	list := make([]v1.TenantPolicy, 100)
	for i := range list {
		list[i] = team(allows("acme/other"))
	}
	err := tenant.Compile(list).Check(ask())
	check(t, err, "and 95 more policies do not allow it")
	if n := len(err.Error()); n > 1000 {
		t.Errorf("the message has %d bytes", n)
	}
}
