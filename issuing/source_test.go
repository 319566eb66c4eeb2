package issuing

import (
	"strings"
	"testing"
)

func TestSource(t *testing.T) {
	for _, c := range []struct {
		store  string
		isOnly bool
		want   string
	}{
		{"ssm:///km?region=us-east-1&kms_key=alias/x", true, "ssm:///km/sandbox/{workspace}/github-token?region=us-east-1"},
		{"ssm:///km/", false, "ssm:///km/sandbox/{workspace}/github-tokens/{owner}"},
		{"ssm:///km?workspaces=/&profile=issuer", true, "ssm:///sandbox/{workspace}/github-token"},
		{"ssm:///", true, "ssm:///sandbox/{workspace}/github-token"},
		{"dynamodb://gatepass?region=eu-west-1&tokens=ssm:///km", true, "ssm:///km/sandbox/{workspace}/github-token?region=eu-west-1"},
		{"dynamodb://gatepass?region=eu-west-1&tokens=ssm:///%3Fregion=us-east-1%26kms_key=alias/x", false, "ssm:///sandbox/{workspace}/github-tokens/{owner}?region=us-east-1"},
		{"vault://secret/gatepass?addr=https://vault.example:8200&auth=approle&role_id=x", false, "vault://secret/gatepass/sandbox/{workspace}/github-tokens/{owner}?addr=https%3A%2F%2Fvault.example%3A8200"},
		{"file:///var/lib/gatepass", true, "file:///var/lib/gatepass/sandbox/{workspace}/github-token"},
	} {
		if got, err := Source(c.store, c.isOnly); err != nil || got != c.want {
			t.Errorf("Source(%s, %v) = %s, %v, want %s", c.store, c.isOnly, got, err, c.want)
		}
	}
}

func TestSourceOfNoWorkspace(t *testing.T) {
	for _, store := range []string{"kubernetes://gatepass/team", "dynamodb://gatepass?region=eu-west-1", "postgres://gatepass@db.example/gatepass"} {
		got, err := Source(store, true)
		if err == nil || !strings.Contains(err.Error(), "--source broker+https://") {
			t.Errorf("Source(%s) = %q, %v, want an error that names a broker", store, got, err)
		}
	}
}
