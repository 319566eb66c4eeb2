package operator

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/util/yaml"

	v1 "github.com/gatepass/gatepass/operator/api/v1"
	"github.com/gatepass/gatepass/operator/apps"
	"github.com/gatepass/gatepass/operator/tenant"
)

// The operator takes the options that the Helm chart and the Kustomize base give it.
func TestManifestsStartTheOperator(t *testing.T) {
	paths, err := filepath.Glob("../test/charttest/testdata/golden/*.yaml")
	if err != nil || len(paths) < 5 {
		t.Fatalf("the chart renders %q, %v", paths, err)
	}
	for _, path := range append(paths, "../deploy/kustomize/operator.yaml") {
		args := operatorArgs(t, path)
		getenv := func(name string) string { return map[string]string{"POD_NAMESPACE": "gatepass"}[name] }
		o, err := ParseOptions(args, getenv)
		if err != nil || !o.LeaderElect || o.Namespace != "gatepass" || len(args) < 4 {
			t.Errorf("%s: %q is read as %+v, %v", path, args, o, err)
		}
		if strings.Contains(path, "namespaces") && len(o.WatchNamespaces) != 2 {
			t.Errorf("%s: the operator looks after %q", path, o.WatchNamespaces)
		}
		if !o.MetricsSecure {
			t.Errorf("%s: metrics are for everybody", path)
		}
	}
}

// operatorArgs returns the arguments of the container named operator, without the
// placeholder for the user's own arguments.
func operatorArgs(t *testing.T, path string) (args []string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for part := range strings.SplitSeq(string(text), "\n---\n") {
		var o struct {
			Spec struct {
				Template struct {
					Spec struct {
						Containers []struct {
							Name string
							Args []string
						}
					}
				}
			}
		}
		if err := yaml.Unmarshal([]byte(part), &o); err != nil {
			continue // a list of rules is not a pod
		}
		for _, c := range o.Spec.Template.Spec.Containers {
			if c.Name == "operator" {
				args = c.Args
			}
		}
	}
	for i, arg := range args {
		if arg == "--example=1" {
			return append(args[:i:i], args[i+1:]...)
		}
	}
	return args
}

// The operator reads the configuration that the chart writes.
func TestManifestsHaveAConfiguration(t *testing.T) {
	read := 0
	for _, name := range []string{"flux", "namespaces"} {
		text, err := os.ReadFile("../test/charttest/testdata/golden/" + name + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		for part := range strings.SplitSeq(string(text), "\n---\n") {
			var o struct{ StringData map[string]string }
			if yaml.Unmarshal([]byte(part), &o) != nil || o.StringData["gatepass.yaml"] == "" {
				continue
			}
			c, err := apps.ParseConfig(name, []byte(o.StringData["gatepass.yaml"]), func(string) string { return "" })
			if err != nil || c.IsZero() {
				t.Errorf("%s: the configuration is read as %+v, %v", name, c, err)
			}
			read++
		}
	}
	if read != 2 {
		t.Errorf("%d configurations were read, want 2", read)
	}
}

// Every metric and every reason that an alert asks for is one that there is.
func TestAlertsReadTheMetrics(t *testing.T) {
	text, err := os.ReadFile("../deploy/prometheus/operator-alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Rules []struct{ Alert, Expr string }
		}
	}
	if err := yaml.Unmarshal(text, &file); err != nil || len(file.Groups) != 1 || len(file.Groups[0].Rules) < 4 {
		t.Fatalf("operator-alerts.yaml = %+v, %v", file, err)
	}
	known := metricNames(t)
	reasons := map[string]bool{v1.ReasonAppNotReady: true, v1.ReasonAppNotFound: true, v1.ReasonRateLimited: true}
	for _, rule := range file.Groups[0].Rules {
		names := regexp.MustCompile(`(?:gatepass_operator|controller_runtime)_[a-z_]+`).FindAllString(rule.Expr, -1)
		if len(names) == 0 {
			t.Errorf("%s asks for no metric", rule.Alert)
		}
		for _, name := range names {
			if !known[name] {
				t.Errorf("%s asks for %s, which there is not", rule.Alert, name)
			}
		}
		for _, said := range regexp.MustCompile(`reason=~?"([^"]*)"`).FindAllStringSubmatch(rule.Expr, -1) {
			for reason := range strings.SplitSeq(said[1], "|") {
				if !reasons[reason] {
					t.Errorf("%s asks for the reason %s, which there is not", rule.Alert, reason)
				}
			}
		}
	}
}

// The page has every option and every metric.
func TestThePageNamesOptionsAndMetrics(t *testing.T) {
	page, err := os.ReadFile("../docs/operator.md")
	if err != nil {
		t.Fatal(err)
	}
	var usage bytes.Buffer
	WriteUsage(&usage)
	if _, err := ParseOptions([]string{"-h"}, func(string) string { return "" }); !errors.Is(err, flag.ErrHelp) {
		t.Fatalf("-h: %v", err)
	}
	options := regexp.MustCompile(`(?m)^  --([a-z-]+)`).FindAllStringSubmatch(usage.String(), -1)
	if len(options) < 10 {
		t.Errorf("-h names %d options, want all of them", len(options))
	}
	for _, option := range options {
		if !strings.Contains(string(page), "`--"+option[1]+"`") {
			t.Errorf("docs/operator.md does not name --%s", option[1])
		}
	}
	for name := range metricNames(t) {
		if bare, ours := strings.CutPrefix(name, prefix); ours && !strings.Contains(string(page), bare) {
			t.Errorf("docs/operator.md does not name the metric %s", name)
		}
	}
}

// metricNames are the names of all metrics of an operator that has done one of each
// thing.
func metricNames(t *testing.T) map[string]bool {
	t.Helper()
	registry := prometheus.NewRegistry()
	m := NewMetrics(registry)
	for _, c := range []twice{m.refreshes, m.requests, m.errors, m.secrets} {
		c.add("token", "x")
	}
	m.revoked(nil)
	m.refreshSeconds.observe(1, "token", "x")
	m.requestSeconds.observe(1, "token", "x")
	m.expires(apps.Key{Kind: tenant.KindToken, Namespace: "ns", Name: "name"}, time.Unix(1, 0))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{"controller_runtime_active_workers": true} // controller-runtime's own
	for _, f := range families {
		names[f.GetName()] = true
	}
	return names
}
