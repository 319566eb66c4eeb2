package tenant_test

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/gatepass/gatepass/operator/api/v1"
	"github.com/gatepass/gatepass/operator/tenant"
)

func TestCheckApp(t *testing.T) {
	const (
		github = "https://github.com"
		ghes   = "https://git.corp.example"
	)
	secret := v1.AppSpec{Provider: "secret", KeyRef: &v1.KeyReference{Name: "key"}}
	aws := v1.AppSpec{Provider: "aws", Key: "alias/gatepass"}
	on := func(spec v1.AppSpec, url string) v1.AppSpec { spec.GitHubURL = url; return spec }

	for what, row := range map[string]struct {
		spec     v1.AppSpec
		operator string
		selected bool // a policy selects the namespace
		denied   string
	}{
		"its own key, no policy":               {secret, github, false, ""},
		"its own key at another GitHub":        {on(secret, ghes), github, false, ""},
		"a listed key":                         {aws, github, true, ""},
		"a listed key of Vault":                {v1.AppSpec{Provider: "vault", Key: "transit/sign/app"}, github, true, ""},
		"the operator's GitHub, said again":    {on(aws, "https://GitHub.com:443/"), "", true, ""},
		"the operator's own Enterprise":        {on(aws, ghes), ghes + "/", true, ""},
		"another key":                          {v1.AppSpec{Provider: "aws", Key: "alias/other"}, github, true, "keys does not have aws:alias/other"},
		"a key in another case":                {v1.AppSpec{Provider: "aws", Key: "alias/Gatepass"}, github, true, "keys does not have"},
		"a key that begins the same":           {v1.AppSpec{Provider: "aws", Key: "alias/gatepass2"}, github, true, "keys does not have"},
		"a key of another provider":            {v1.AppSpec{Provider: "gcp", Key: "alias/gatepass"}, github, true, "keys does not have gcp:"},
		"no key":                               {v1.AppSpec{Provider: "aws"}, github, true, "it does not name a key"},
		"the operator's identity at another":   {on(aws, ghes), github, true, "only an App with provider: secret may have another githubURL"},
		"github.com where the operator is not": {on(aws, github), ghes, true, "another githubURL"},
		"an address with a user in it":         {on(secret, "https://github.com@evil.example"), github, true, "not the address of a GitHub"},
		"an address with a path":               {on(secret, "https://github.com/x"), github, true, "not the address of a GitHub"},
		"an address without TLS":               {on(secret, "http://github.com"), github, true, "not the address of a GitHub"},
		"a file of the operator":               {v1.AppSpec{Provider: "file", Key: "/config/key.pem"}, github, true, `provider "file" is unknown`},
		"nothing at all":                       {v1.AppSpec{}, github, true, `provider "" is unknown`},
		"an operator that asks without TLS":    {on(aws, github), "http://github.com", true, "another githubURL"},
		"an operator below a path":             {on(aws, ghes), ghes + "/github", true, "another githubURL"},
		"the operator's identity, no policy":   {aws, github, false, "no TenantPolicy selects namespace team-a"},
	} {
		t.Run(what, func(t *testing.T) {
			var list []v1.TenantPolicy
			if row.selected {
				list = append(list, team())
			}
			object := v1.App{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "bot"}, Spec: row.spec}
			check(t, tenant.Compile(list).CheckApp(object, tenant.Namespace{Name: "team-a"}, row.operator), row.denied)
		})
	}
}

// A policy that cannot be read allows no key, whatever it lists.
func TestCheckAppUnreadablePolicy(t *testing.T) {
	broken := team(func(s *v1.TenantPolicySpec) {
		s.Namespaces.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"-": ""}}
	})
	object := v1.App{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a"}, Spec: v1.AppSpec{Provider: "aws", Key: "alias/gatepass"}}
	check(t, tenant.Compile([]v1.TenantPolicy{broken}).CheckApp(object, tenant.Namespace{Name: "team-a"}, ""), "its selector is not valid")
}

// A key is allowed where its policy selects, and nowhere else.
func TestCheckAppKeyOfAnotherTenant(t *testing.T) {
	object := v1.App{ObjectMeta: metav1.ObjectMeta{Namespace: "team-b"}, Spec: v1.AppSpec{Provider: "aws", Key: "alias/gatepass"}}
	check(t, tenant.Compile([]v1.TenantPolicy{team()}).CheckApp(object, tenant.Namespace{Name: "team-b"}, ""), "no TenantPolicy selects namespace team-b")
}

// The caller must not judge an App by another namespace's labels.
func TestCheckAppOfAnotherNamespace(t *testing.T) {
	object := v1.App{ObjectMeta: metav1.ObjectMeta{Namespace: "team-b"}, Spec: v1.AppSpec{Provider: "aws", Key: "alias/gatepass"}}
	check(t, tenant.Compile([]v1.TenantPolicy{team()}).CheckApp(object, tenant.Namespace{Name: "team-a"}, ""), "it was judged for a namespace that is not its own")
}

// github-token-manager let every user who could create an App name any KMS key or Vault
// path that its operator could reach, and gave a bare Token every permission, every
// repository and any installation.
func TestMistakesOfTheSecondSystem(t *testing.T) {
	everything := v1.Access{AllRepositories: true, AllPermissions: true, InstallationID: 1}
	for what, row := range map[string]struct {
		policies []v1.TenantPolicy
		err      func(*tenant.Policies) error
		denied   string
	}{
		"any KMS key": {nil, signs("aws", "arn:aws:kms:eu-west-1:111122223333:key/1"), "no TenantPolicy selects"},
		"any Vault path, with a policy": {
			[]v1.TenantPolicy{team()}, signs("vault", "transit/sign/payments"), "keys does not have vault:transit/sign/payments",
		},
		"a file of the operator as key": {[]v1.TenantPolicy{team()}, signs("file", "/config/key.pem"), "is unknown"},
		"a bare Token": {nil, func(p *tenant.Policies) error {
			return p.Check(ask(func(a *tenant.Request) { a.Access = v1.Access{} }))
		}, "it does not request repositories"},
		"every permission and repository": {[]v1.TenantPolicy{team(allows("*"))}, func(p *tenant.Policies) error {
			return p.Check(ask(func(a *tenant.Request) { a.Access = everything }))
		}, "no policy allows allPermissions"},
		"any installation": {[]v1.TenantPolicy{team(allows("*"))}, func(p *tenant.Policies) error {
			return p.Check(ask(owner("somebody-else"), func(a *tenant.Request) { a.Access.InstallationID = 99 }))
		}, "owners does not have somebody-else"},
		"the operator's App from any namespace": {nil, func(p *tenant.Policies) error { return p.Check(ask(in("team-b"))) }, "no TenantPolicy selects namespace team-b"},
	} {
		t.Run(what, func(t *testing.T) { check(t, row.err(tenant.Compile(row.policies)), row.denied) })
	}
}

func signs(provider v1.Provider, key string) func(*tenant.Policies) error {
	object := v1.App{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a"}, Spec: v1.AppSpec{Provider: provider, Key: key}}
	return func(p *tenant.Policies) error { return p.CheckApp(object, tenant.Namespace{Name: "team-a"}, "") }
}
