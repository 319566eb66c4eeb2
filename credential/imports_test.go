package credential_test

import (
	"os/exec"
	"strings"
	"testing"
)

// The helper links these packages, and a client of the broker may: they import only the
// standard library and each other.
func TestLeavesStayLeaves(t *testing.T) {
	const module = "github.com/gatepass/gatepass/"
	core := []string{"credential", "credential/protocol", "internal/clock", "internal/gitname", "internal/usererr", "internal/secret"}
	wire := append([]string{"api"}, core...)
	for _, c := range []struct {
		pkg     string
		allowed []string // of this module
		never   string   // of the standard library
	}{
		{"credential", core, "net/http"},
		{"api", []string{"api", "internal/gitname", "internal/usererr", "internal/secret"}, ""},
		{"credential/filestore", append([]string{"credential/filestore", "store"}, core...), "net/http"},
		{"credential/brokerclient", append([]string{"credential/brokerclient", "internal/redact", "internal/httpclient"}, wire...), "testing"},
		{"credential/credentialtest", append([]string{"credential/credentialtest"}, wire...), "testing"},
	} {
		t.Run(c.pkg, func(t *testing.T) {
			allowed := make(map[string]bool)
			for _, p := range c.allowed {
				allowed[module+p] = true
			}
			out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{if not .Standard}}!{{end}}{{.ImportPath}}", module+c.pkg).Output()
			if err != nil {
				t.Skipf("missing: go list: %v", err)
			}
			for dep := range strings.FieldsSeq(string(out)) {
				foreign, ok := strings.CutPrefix(dep, "!")
				if ok && !allowed[foreign] || dep == c.never {
					t.Errorf("%s links %s", c.pkg, dep)
				}
			}
		})
	}
}
