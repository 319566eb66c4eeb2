package tenant_test

import (
	"testing"

	v1 "github.com/gatepass/gatepass/operator/api/v1"
	"github.com/gatepass/gatepass/operator/tenant"
)

func TestCache(t *testing.T) {
	one, two := team(), team(allows("acme/web"))
	two.Name = "two"
	changed := *two.DeepCopy()
	changed.Generation++
	changed.Spec.Repositories = []string{"acme/*"}
	again := two
	again.UID = "made again"

	var cache tenant.Cache
	first, version := cache.Compile([]v1.TenantPolicy{one, two})
	if same, v := cache.Compile([]v1.TenantPolicy{two, one}); same != first || v != version {
		t.Error("another order is another version")
	}
	for what, list := range map[string][]v1.TenantPolicy{
		"a changed policy": {one, changed}, "one less": {one}, "none": nil, "one that was made again": {one, again},
	} {
		if other, v := cache.Compile(list); other == first || v == version {
			t.Errorf("%s is the same version", what)
		}
	}
	policies, _ := cache.Compile([]v1.TenantPolicy{one, changed})
	check(t, policies.Check(ask(allRepositories)), "")

	var zero tenant.Cache
	none, _ := zero.Compile(nil)
	check(t, none.Check(ask()), "no TenantPolicy selects")
}
