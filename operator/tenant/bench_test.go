package tenant_test

import (
	"fmt"
	"testing"

	v1 "github.com/gatepass/gatepass/operator/api/v1"
	"github.com/gatepass/gatepass/operator/tenant"
)

// BenchmarkCheck is the last of 500 tenants, each with 100 repositories.
func BenchmarkCheck(b *testing.B) {
	list := make([]v1.TenantPolicy, 500)
	for i := range list {
		list[i] = team(func(s *v1.TenantPolicySpec) {
			s.Namespaces.Names = []string{fmt.Sprintf("team-%d", i)}
			s.Repositories = nil
			for j := range 100 {
				s.Repositories = append(s.Repositories, fmt.Sprintf("acme/r%d-%d", i, j))
			}
		})
	}
	a := ask(in("team-499"), repositories("r499-7"))
	b.Run("Compile", func(b *testing.B) {
		for b.Loop() {
			tenant.Compile(list)
		}
	})
	policies := tenant.Compile(list)
	b.Run("Check", func(b *testing.B) {
		for b.Loop() {
			if err := policies.Check(a); err != nil {
				b.Fatal(err)
			}
		}
	})
}
