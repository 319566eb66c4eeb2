package cmd_test

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/credential/agent"
)

// Variables that the agent's code names, but that change no answer.
var irrelevant = []string{
	"AWS_EXECUTION_ENV", "AWS_LAMBDA_FUNCTION_NAME", // sent in User-Agent
	"AWS_TEST_EC2_IMDS_WITH_USER_DATA",
	"AWS_S3_DISABLE_EXPRESS_SESSION_AUTH", "AWS_S3_DISABLE_MULTIREGION_ACCESS_POINTS", "AWS_S3_USE_ARN_REGION",
	"AWS_RESTRICT_FILE_PERMISSIONS", // for files that are written
	"DBUS_SYSTEM_BUS_ADDRESS",       // only the session bus is asked
	"GIT_DIR", "GIT_COMMON_DIR",     // for the guard
	"GATEPASS_CONFIG", "XDG_RUNTIME_DIR", // they choose the agent by themselves
	"GATEPASS_AGENT_IDLE", "PATH", "TMPDIR", "USERPROFILE",
}

var (
	named  = regexp.MustCompile(`"((?:AWS|VAULT)_[A-Z0-9_]*[A-Z0-9])"`)
	looked = regexp.MustCompile(`(?:Getenv|LookupEnv|orVariable|getEnvAny)\((?:[a-z.]+, )?"([A-Za-z0-9_]+)"(?:, "([A-Za-z0-9_]+)")?`)
	kept   = regexp.MustCompile(`(?:Variable|Env)\s*=\s*"([A-Z_]+)"`)
)

// If a source or its transport reads a variable that is not in the list, one job of a
// user can get another's identity.
func TestAgentVariablesAreThoseThatItReads(t *testing.T) {
	needModule(t)
	cmd := exec.Command("go", "list", "-deps", "-f", `{{if or (not .Standard) (eq .ImportPath "vendor/golang.org/x/net/http/httpproxy" "crypto/x509")}}{{$d := .Dir}}{{range .GoFiles}}{{$d}}/{{.}}{{"\n"}}{{end}}{{end}}`, "./gatepass-agent")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	read := map[string]string{}
	for file := range strings.FieldsSeq(string(out)) {
		if strings.HasSuffix(file, "credential/agent/identity.go") {
			continue // the list itself
		}
		if strings.HasSuffix(file, "/schemas.go") {
			continue // names of AWS's own values
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range []*regexp.Regexp{named, looked, kept} {
			for _, hit := range r.FindAllStringSubmatch(string(text), -1) {
				for _, name := range hit[1:] {
					read[name] = file
				}
			}
		}
	}
	for _, name := range []string{"AWS_PROFILE", "VAULT_TOKEN", "GATEPASS_IDENTITY", "DBUS_SESSION_BUS_ADDRESS", "SSL_CERT_FILE", "HTTPS_PROXY", "no_proxy"} {
		if read[name] == "" {
			t.Errorf("this test does not find where %s is read", name)
		}
	}
	delete(read, "")
	all := agent.Variables(agent.ReadsIdentity + agent.ReadsHome + agent.ReadsKeyring + agent.ReadsNetwork + agent.ReadsVault + agent.ReadsAWS)
	for name, file := range read {
		if !slices.Contains(all, name) && !slices.Contains(irrelevant, name) {
			t.Errorf("%s, read in %s, is in no group of agent.Variables", name, file)
		}
	}
}
