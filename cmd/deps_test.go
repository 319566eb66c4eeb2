package cmd_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const module = "github.com/gatepass/gatepass/"

// Families of packages that must not reach a small binary.
var (
	cloud      = []string{"github.com/aws/", "github.com/hashicorp/"}
	signers    = []string{"cloud.google.com/", "google.golang.org/", "github.com/googleapis/", "go.opentelemetry.io/", "github.com/Azure/", "github.com/AzureAD/"}
	kubernetes = []string{"k8s.io/", "sigs.k8s.io/"}
	// Stores of the issuing side. Agents read Parameter Store with the rest of AWS's
	// SDK.
	databases = []string{"github.com/aws/aws-sdk-go-v2/service/dynamodb", "github.com/aws/aws-sdk-go-v2/service/dynamodb/", "github.com/jackc/"}
	// The rest of it reads kubeconfigs; these contain every kind of the API.
	kubernetesTypes = []string{"k8s.io/api/", "k8s.io/client-go/kubernetes", "k8s.io/client-go/kubernetes/", "k8s.io/client-go/informers", "k8s.io/client-go/informers/", "sigs.k8s.io/controller-runtime/"}
	gogit           = []string{"github.com/go-git/"}
	framework       = []string{"github.com/urfave/"}
	keyring         = []string{"github.com/godbus/", "github.com/zalando/"}
	metrics         = []string{"github.com/prometheus/"}
	// The SDK of OpenTelemetry is for the broker; Google's signer brings the rest.
	telemetry = []string{"go.opentelemetry.io/otel/sdk", "go.opentelemetry.io/otel/sdk/", "go.opentelemetry.io/otel/exporters/", "go.opentelemetry.io/proto/"}
	// The GraphQL of test/fakegithub/hub, which the demo's double of GitHub does not
	// need.
	graphql  = []string{"github.com/vektah/"}
	network  = []string{"net", "net/http", "crypto/tls"}
	starters = []string{"fmt", "crypto/sha256", "encoding/json", "log/slog"} // each costs the helper a tenth of its start
)

func join(lists ...[]string) []string {
	var all []string
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

// TestCommandsLinkOnlyWhatTheyMay enforces the dependency rule of ARCHITECTURE.md.
func TestCommandsLinkOnlyWhatTheyMay(t *testing.T) {
	forbidden := map[string][]string{
		"git-credential-gatepass": join(cloud, databases, signers, kubernetes, gogit, framework, keyring, metrics, network, starters),
		"gatepass-askpass":        join(cloud, databases, signers, kubernetes, gogit, framework, keyring, metrics, network, starters),
		"gatepass-pre-push":       join(cloud, databases, signers, kubernetes, gogit, framework, keyring, metrics, network),
		"gatepass-agent":          join(databases, signers, kubernetes, gogit, framework, metrics),
		"gatepass":                join(kubernetesTypes, telemetry, graphql),
		"gatepass-refresher":      join(kubernetesTypes, gogit, framework, keyring, telemetry),
		"gatepass-broker":         join(kubernetesTypes, gogit, framework, keyring),
		"gatepass-operator":       join(gogit, framework, keyring),
	}
	needModule(t)
	dirs, err := filepath.Glob("*/main.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		name := filepath.Dir(dir)
		bad, known := forbidden[name]
		if !known {
			t.Errorf("cmd/%s has no entry in the table of what it may link", name)
			continue
		}
		for _, dep := range deps(t, "cmd/"+name) {
			if hit := match(dep, bad); hit != "" {
				t.Errorf("%s links %s, which its table forbids (%s)", name, dep, hit)
			}
		}
	}
}

// TestLeavesStayLeaves keeps the packages below everything else free of other imports.
func TestLeavesStayLeaves(t *testing.T) {
	needModule(t)
	allowed := map[string][]string{
		"credential/protocol": {"internal/gitname"},
		"credential":          {"credential/protocol", "internal/clock", "internal/gitname", "internal/usererr", "internal/secret"},
		"credential/agent":    {"credential/protocol", "internal/gitname", "internal/usererr"},
		"credential/forward":  {"credential/agent", "credential/protocol", "internal/gitname", "internal/usererr", "internal/workspacefile"},
		"internal/clock":      nil,
		"internal/usererr":    nil,
		"internal/secret":     nil,
		"internal/version":    nil,
		"store":               {"internal/clock", "internal/usererr", "internal/secret"},
		"mint":                {"credential", "credential/protocol", "internal/clock", "internal/gitname", "internal/keywrap", "internal/usererr", "internal/redact", "internal/secret", "internal/suggest"},
		"api":                 {"internal/gitname", "internal/usererr", "internal/secret"},
	}
	for leaf, may := range allowed {
		if _, err := os.Stat("../" + leaf); os.IsNotExist(err) {
			continue
		}
		for _, dep := range deps(t, leaf) {
			first, _, _ := strings.Cut(dep, "/")
			if !strings.Contains(first, ".") {
				continue // the standard library
			}
			if rest, ours := strings.CutPrefix(dep, module); !ours || match(rest, may) == "" {
				t.Errorf("%s links %s, which a leaf may not", leaf, dep)
			}
		}
	}
}

// TestTheKillSwitchHasNoPage keeps package revoke importable by programs without a
// page.
func TestTheKillSwitchHasNoPage(t *testing.T) {
	needModule(t)
	for _, dep := range deps(t, "broker/revoke") {
		if match(dep, []string{"html/template", module + "broker/console", module + "broker/serve"}) != "" {
			t.Errorf("broker/revoke links %s", dep)
		}
	}
}

// needModule skips if this test runs away from the source, under another git; what is
// linked was checked where it was built.
func needModule(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("../go.mod"); err != nil {
		t.Skip("the module's source is not here: ", err)
	}
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("the go command is not here: ", err)
	}
}

// deps lists what the package in a folder links in the form that ships.
func deps(t *testing.T, folder string) []string {
	t.Helper()
	all, err := listPackages()
	if err != nil {
		t.Fatal("go list: ", err)
	}
	p, known := all[folder]
	if !known {
		t.Fatalf("go list does not name %s", folder)
	}
	return p.links
}

// match returns the entry of list that is dep or above it.
func match(dep string, list []string) string {
	for _, entry := range list {
		if dep == entry || strings.HasSuffix(entry, "/") && strings.HasPrefix(dep, entry) {
			return entry
		}
	}
	return ""
}
