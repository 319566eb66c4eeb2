package reference

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A variable is an environment variable that the programs read.
type variable struct {
	Name    string
	Reads   string // which programs read it
	About   string // its meaning, in one sentence without a full stop
	Default string // the value without the key; "" if that is obvious
}

// A variableGroup is the variables of one subject.
type variableGroup struct {
	Title     string
	variables []variable
}

// environment returns every variable that gatepass itself gives a meaning to, or names.
// It leaves out those that only AWS's SDK or OpenTelemetry's read.
func environment() []variableGroup {
	const workspace, issuing = "helper, askpass, agent, guard, `gatepass`", "`gatepass`, refresher"
	return []variableGroup{
		{"In the workspace", []variable{
			{"GATEPASS_CONFIG", workspace, "the workspace file", "`/etc/gatepass/workspace.yaml`, else `~/.config/gatepass/workspace.yaml`"},
			{"GATEPASS_TIMEOUT", workspace, "how long git waits for an answer at most, as in `5s` or in seconds", "`20s`"},
			{"GATEPASS_IDENTITY", "agent", "what to show a broker, where the source names no `identity_file`", ""},
			{"GATEPASS_AGENT_IDLE", "agent", "how long an agent stays without a question", "`30m`"},
			{"GATEPASS_DOCTOR_TIMEOUT", "`gatepass doctor`", "how long to look at most", "as `--timeout` says"},
			{"XDG_RUNTIME_DIR", "helper, askpass, agent, `gatepass`", "where the agent's socket is", "`TMPDIR`, else `/tmp`"},
			{"XDG_CONFIG_HOME", workspace, "where the user's workspace file and git's configuration are", "`~/.config`"},
			{"GIT_ASKPASS", "git", "`gatepass-askpass`, in images", ""},
			{"NO_COLOR", "`gatepass`", "anything: no colours", ""},
		}},
		{"On the issuing side", []variable{
			{"GATEPASS_STORE", issuing, "the URL of the store", "a directory of this user"},
			{"GATEPASS_GITHUB_URL", "`gatepass`, refresher, operator", "GitHub Enterprise, as in `https://HOST`", "what the store says, else `https://github.com`"},
			{"GATEPASS_MARGIN", "refresher", "a token that has less left than this is replaced", "`20m`"},
			{"GATEPASS_GRACE", "refresher", "a token that was replaced is revoked after this", "`20m`"},
			{"GATEPASS_WORKERS", "refresher", "workspaces at once", "`20`"},
			{"GATEPASS_ADOPT", "refresher", "`true`: make workspaces from payloads, and take over live tokens that gatepass did not write", "`false`"},
			{"GATEPASS_LOG_FORMAT", "refresher", "`json` or `text`", "`json`"},
			{"PGPASSFILE", issuing + ", broker", "where PostgreSQL's passwords are", "`~/.pgpass`"},
			{"PGSSLMODE", issuing + ", broker", "`sslmode`, where the store's URL has none", ""},
			{"SOURCE_DATE_EPOCH", "`gatepass install --from`", "the time of the files that it writes, in seconds", "that of the packed `gatepass`"},
			{"XDG_DATA_HOME", issuing, "where the default store is", "`~/.local/share`"},
			{"POD_NAMESPACE", "operator", "its own namespace, with its records", "as `--namespace` says"},
			{"KUBECONFIG", "`gatepass`, operator", "the cluster, outside of one", "the pod's own"},
		}},
		{"The operator's own App, before its configuration file", []variable{
			{"GTM_APP_ID", "operator", "`app_id`; `GITHUB_APP_ID` is the same", ""},
			{"GTM_INSTALLATION_ID", "operator", "`installation_id`; `GITHUB_INSTALLATION_ID` is the same", ""},
			{"GTM_PROVIDER", "operator", "`provider`; `KMS_PROVIDER` is the same", ""},
			{"GTM_KEY", "operator", "`key`; `KMS_KEY` and `GITHUB_PRIVATE_KEY` are the same", ""},
			{"GTM_VALIDATE_KEY", "operator", "`validate_key`", ""},
		}},
		{"Of HashiCorp Vault", []variable{
			{"VAULT_ADDR", "what reads Vault", "the server", "as `addr=` says"},
			{"VAULT_TOKEN", "what reads Vault", "the token, with `auth=token`", "`~/.vault-token`"},
			{"VAULT_NAMESPACE", "what reads Vault", "the namespace", "as `namespace=` says"},
			{"VAULT_CACERT", "what reads Vault", "a file with the authorities of its certificate", "the system's"},
			{"VAULT_CAPATH", "what reads Vault", "a folder of the same", "the system's"},
			{"VAULT_CLIENT_CERT", "what reads Vault", "a client certificate", ""},
			{"VAULT_CLIENT_KEY", "what reads Vault", "its key", ""},
			{"VAULT_TLS_SERVER_NAME", "what reads Vault", "the name that its certificate is for", "that of the URL"},
		}},
		{"Of the network", []variable{
			{"HTTPS_PROXY", "all that call a server", "a proxy; the broker's [own keys](../broker.md#the-file) count more", ""},
			{"HTTP_PROXY", "all that call a server", "the same for `http://`", ""},
			{"NO_PROXY", "all that call a server", "hosts without a proxy", ""},
			{"SSL_CERT_FILE", "all that call a server", "a file of authorities, instead of the system's", ""},
			{"SSL_CERT_DIR", "all that call a server", "a folder of the same", ""},
			{"DBUS_SESSION_BUS_ADDRESS", "agent", "the session whose keyring is asked", ""},
		}},
		{"Set by `gatepass exec`, for its command alone", []variable{
			{"GH_TOKEN", "`gh`", "the token; without a gateway", ""},
			{"GH_HOST", "`gh`", "the gateway", ""},
			{"GH_REPO", "`gh`", "the repository of the working directory", ""},
			{"GH_ENTERPRISE_TOKEN", "`gh`", "a session of the gateway", ""},
			{"GITHUB_API_URL", "Octokit, scripts", "the API below the gateway", ""},
			{"GITHUB_GRAPHQL_URL", "Octokit, scripts", "the same for GraphQL", ""},
			{"GITHUB_SERVER_URL", "Octokit, scripts", "the gateway", ""},
			{"GITHUB_HOST", "GitHub's MCP server", "the gateway", ""},
		}},
	}
}

// environmentPage returns the page of the variables, in Markdown.
func environmentPage() string {
	var b strings.Builder
	b.WriteString("# Environment variables\n\nThe AWS SDK's own variables hold wherever gatepass calls AWS, and those of OpenTelemetry (`OTEL_…`) in the broker. ")
	b.WriteString("[Which of them choose an agent](../sources.md#the-environment).\n")
	for _, g := range environment() {
		fmt.Fprintf(&b, "\n## %s\n\n| variable | read by | means | default |\n|---|---|---|---|\n", g.Title)
		for _, v := range g.variables {
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", v.Name, v.Reads, v.About, v.Default)
		}
	}
	return b.String()
}

// read is a variable that source reads by its name, or names in a constant.
var read = regexp.MustCompile(`(?:[gG]etenv|LookupEnv|get)\("([A-Z][A-Z0-9_]+)"\)|"(GATEPASS_[A-Z_]+)"`)

// notListed are read for another program, or are not settings.
var notListed = []string{
	"GATEPASS_CHAIN", // the guard sets it for itself
	"HOME", "PATH", "TMPDIR", "TERM", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT",
	"GOGC",                                                            // Go's own
	"DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME", "SSH_CONNECTION", // whether there is a browser
	"VSCODE_GIT_ASKPASS_NODE", "SSH_ASKPASS", // the doctor checks whether other programs set them
	"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET", // from systemd
}

// TestTheVariablesAreThoseOfTheSource checks that every variable that the programs read
// by name is on the page.
func TestTheVariablesAreThoseOfTheSource(t *testing.T) {
	listed := map[string]bool{}
	for _, g := range environment() {
		for _, v := range g.variables {
			listed[v.Name] = false
		}
	}
	for _, name := range notListed {
		listed[name] = true
	}
	found := 0
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() && (path == root+"/test" || strings.HasPrefix(e.Name(), ".") && path != root) {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for name := range listed {
			if strings.Contains(string(text), `"`+name) || strings.Contains(string(text), name+`"`) || strings.Contains(string(text), `"$`+name) {
				listed[name] = true
			}
		}
		for _, m := range read.FindAllStringSubmatch(string(text), -1) {
			name := m[1] + m[2]
			found++
			_, isListed := listed[name]
			if !isListed && !strings.HasPrefix(name, "GIT_") && !strings.HasPrefix(name, "AWS_") && !strings.HasPrefix(name, "OTEL_") {
				t.Errorf("%s reads %s, which the page does not have", path, name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found < 20 {
		t.Errorf("%d variables were found, want those of all programs", found)
	}
	for name, isThere := range listed {
		if !isThere {
			t.Errorf("no program has %s", name)
		}
	}
}
