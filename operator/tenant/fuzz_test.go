package tenant_test

import (
	"strings"
	"testing"

	v1 "github.com/gatepass/gatepass/operator/api/v1"
	"github.com/gatepass/gatepass/operator/tenant"
)

// FuzzCheck holds what has to be true of every answer: what is allowed is allowed by
// one policy alone, for names in any case, and with less asked; it has nothing outside
// of that policy's text.
func FuzzCheck(f *testing.F) {
	f.Add("acme/api acme/*", "acme *", "api web", "acme", "contents:write", "contents:read", false, false)
	f.Add("acme/api", "acme", "api", "acme", "contents:read", "contents:read", false, false)
	f.Add("*", "*", "*", "*", "a:admin", "a:owner", true, false)
	f.Add("k/x", "k", "x", "\u212a", "a:read", "a:read", false, true)
	f.Fuzz(func(t *testing.T, lists, owners, asked, owner, limits, permissions string, all, two bool) {
		policy := team(func(s *v1.TenantPolicySpec) {
			s.Owners, s.Repositories = strings.Fields(owners), strings.Fields(lists)
			s.Permissions = levels(limits)
		})
		list := []v1.TenantPolicy{policy}
		if two {
			list = append(list, team(allows("zeta/one")))
		}
		a := ask(repositories(strings.Fields(asked)...), func(a *tenant.Request) {
			a.Owner, a.Access.AllRepositories, a.Access.Permissions = owner, all, levels(permissions)
		})
		err := tenant.Compile(list).Check(a)
		if err != nil {
			if text := err.Error(); strings.ContainsAny(text, "\n\r\x1b") {
				t.Errorf("the error %q is not one line", text)
			}
			return
		}
		if tenant.Compile(list[:1]).Check(a) != nil && (!two || tenant.Compile(list[1:]).Check(a) != nil) {
			t.Errorf("no policy allows %+v alone", a)
		}
		if outside := naiveOutside(list, a); outside != "" {
			t.Errorf("%+v is allowed by %+v: %s", a, list, outside)
		}
		upper := a
		upper.Owner = strings.ToUpper(a.Owner)
		if err := tenant.Compile(list).Check(upper); err != nil {
			t.Errorf("in upper case it is denied: %v", err)
		}
		if n := len(a.Access.Repositories); n > 1 {
			less := a
			less.Access.Repositories = a.Access.Repositories[:n-1]
			if err := tenant.Compile(list).Check(less); err != nil {
				t.Errorf("with one repository less it is denied: %v", err)
			}
		}
	})
}

// naiveOutside says what of a no policy has in its text, by a plain comparison of
// every name with every entry.
func naiveOutside(list []v1.TenantPolicy, a tenant.Request) string {
	has := func(pick func(v1.TenantPolicySpec) []string, names ...string) bool {
		for _, policy := range list {
			for _, entry := range pick(policy.Spec) {
				for _, name := range names {
					if strings.EqualFold(entry, name) {
						return true
					}
				}
			}
		}
		return false
	}
	patterns := func(s v1.TenantPolicySpec) []string { return s.Repositories }
	if !has(func(s v1.TenantPolicySpec) []string { return s.Owners }, "*", a.Owner) {
		return "the owner"
	}
	for _, name := range a.Access.Repositories {
		if !has(patterns, "*", a.Owner+"/*", a.Owner+"/"+name) || strings.ContainsAny(name, "/*%\\ ") {
			return "the repository " + name
		}
	}
	if a.Access.AllRepositories && !has(patterns, "*", a.Owner+"/*") {
		return "every repository"
	}
	order := map[v1.PermissionLevel]int{"read": 1, "write": 2, "admin": 3}
	for name, level := range a.Access.Permissions {
		most := 0
		for _, policy := range list {
			most = max(most, order[policy.Spec.Permissions[name]])
		}
		if order[level] == 0 || order[level] > most {
			return "the permission " + name
		}
	}
	return ""
}

// levels reads name:level, separated by blanks.
func levels(text string) map[string]v1.PermissionLevel {
	found := map[string]v1.PermissionLevel{}
	for field := range strings.FieldsSeq(text) {
		name, level, _ := strings.Cut(field, ":")
		found[name] = v1.PermissionLevel(level)
	}
	return found
}
