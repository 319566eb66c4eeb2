package docstest

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	brokerconfig "github.com/gatepass/gatepass/broker/config"
	"github.com/gatepass/gatepass/broker/probe"
	"github.com/gatepass/gatepass/config"
	v1 "github.com/gatepass/gatepass/operator/api/v1"
	"github.com/gatepass/gatepass/operator/apps"
	"github.com/gatepass/gatepass/operator/render"
	"github.com/gatepass/gatepass/workspace/profile"
	"github.com/santhosh-tekuri/jsonschema/v6"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/yaml"
)

// A reader is a parser of the programs, for examples that begin with one of its
// words.
type reader struct {
	begins []string
	read   func(t *testing.T, text string) error
}

var readers = []reader{
	{[]string{"listen:", "callers:", "operators:", "webhook:", "audit:", "gateway:"}, broker},
	{[]string{"- oidc:", "- socket:"}, func(t *testing.T, text string) error { return broker(t, "callers:\n"+text) }},
	{[]string{"- name:"}, func(_ *testing.T, text string) error { _, err := brokerconfig.ParseCases([]byte(text)); return err }},
	{[]string{"- {repo:"}, func(_ *testing.T, text string) error { _, err := probe.ParseCases([]byte(text)); return err }},
	{[]string{"apiVersion: gatepass.dev/v1\nkind: App\n"}, func(_ *testing.T, text string) error { return yaml.UnmarshalStrict([]byte(text), &v1.App{}) }},
	{[]string{"apiVersion: gatepass.dev/v1\nkind: Token\n"}, func(_ *testing.T, text string) error { return yaml.UnmarshalStrict([]byte(text), &v1.Token{}) }},
	{[]string{"apiVersion: gatepass.dev/v1\nkind: TenantPolicy\n"}, objects},
	{[]string{"apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n"}, func(_ *testing.T, text string) error {
		return yaml.UnmarshalStrict([]byte(text), &networkingv1.NetworkPolicy{})
	}},
	{[]string{"apiVersion: v1\nkind: Pod\n"}, func(_ *testing.T, text string) error { return yaml.UnmarshalStrict([]byte(text), &corev1.Pod{}) }},
	{[]string{"name: release notes\non:"}, func(_ *testing.T, text string) error { _, err := readJob(text); return err }},
	{[]string{"mirror:\n  image:"}, func(_ *testing.T, text string) error { _, err := readGitLab(text); return err }},
	{[]string{"app_id:", "vault:"}, operatorConfig},
	{[]string{"config:", "broker:"}, chartValues},
	{[]string{"spec:", "metadata:", "apiVersion:"}, func(_ *testing.T, text string) error { _, err := profile.Parse([]byte(text)); return err }},
	{[]string{"workspace:", "hosts:", "strict:"}, func(_ *testing.T, text string) error { _, err := config.Parse([]byte(text)); return err }},
	{[]string{"source:"}, sources},
	{[]string{"secret:"}, secretShape},
}

// objects reads documents of YAML, ours strictly.
func objects(_ *testing.T, text string) error {
	var errs []error
	for document := range strings.SplitSeq(text, "\n---\n") {
		var into any = &map[string]any{}
		for begins, kind := range map[string]any{"TenantPolicy": &v1.TenantPolicy{}, "Token": &v1.Token{}, "App": &v1.App{}} {
			if strings.HasPrefix(document, "apiVersion: gatepass.dev/v1\nkind: "+begins+"\n") {
				into = kind
			}
		}
		errs = append(errs, yaml.UnmarshalStrict([]byte(document), into))
	}
	return errors.Join(errs...)
}

// broker reads a broker's file, or a part of one, with the profiles that the
// examples name. Only what lies in other files is not looked at.
func broker(t *testing.T, text string) error {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"agent", "ci", "dev", "mirror", "release"} {
		write(t, filepath.Join(dir, name+".profile"), "metadata: {name: "+name+"}\nspec: {}\n")
	}
	for _, line := range []string{"listen: unix:///run/broker.sock\n", "audit: /var/log/audit\n", "profiles: [/etc/gatepass/profiles/*.yaml]\n"} {
		if key, _, _ := strings.Cut(line, " "); !strings.HasPrefix(text, key) && !strings.Contains(text, "\n"+key) {
			text = line + text
		}
	}
	file := filepath.Join(dir, "broker.yaml")
	write(t, file, strings.NewReplacer("/etc/gatepass/profiles/*.yaml", dir+"/*.profile", "/etc/gatepass/*.profile.yaml", dir+"/*.profile", "6d3b…", strings.Repeat("6d3b", 16)).Replace(text))
	_, err := brokerconfig.LoadDraft(file)
	return err
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// sources reads lines that are each the one source of a workspace file.
func sources(_ *testing.T, text string) error {
	for line := range strings.Lines(text) {
		if _, err := config.Parse([]byte(line)); err != nil {
			return err
		}
	}
	return nil
}

// secretShape reads spec.secret of a Token.
func secretShape(_ *testing.T, text string) error {
	var spec struct {
		Secret v1.SecretShape `json:"secret"`
	}
	if err := yaml.UnmarshalStrict([]byte(text), &spec); err != nil {
		return err
	}
	return render.Check(spec.Secret)
}

// operatorConfig reads the operator's own configuration.
func operatorConfig(_ *testing.T, text string) error {
	_, err := apps.ParseConfig("the example", []byte(text), func(string) string { return "" })
	return err
}

// chartValues reads values of the Helm chart as Helm does, by their schema.
func chartValues(t *testing.T, text string) error {
	t.Helper()
	var schema, values any
	if err := yaml.Unmarshal([]byte(read(t, "deploy/helm/gatepass/values.schema.json")), &schema); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal([]byte(text), &values); err != nil {
		return err
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("values.schema.json", schema); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile("values.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return compiled.Validate(values)
}

// uncommented is an example without the comments that it begins with.
func uncommented(text string) string {
	for strings.HasPrefix(text, "#") || strings.HasPrefix(text, "// ") {
		_, text, _ = strings.Cut(text, "\n")
	}
	return text
}

// readerOf returns the parser for an example, or nil.
func readerOf(text string) func(*testing.T, string) error {
	for _, r := range readers {
		for _, word := range r.begins {
			if strings.HasPrefix(text, word) {
				return r.read
			}
		}
	}
	return nil
}

func TestExamplesAreRead(t *testing.T) {
	looked := 0
	for _, page := range pages(t) {
		examples, _ := blocks(read(t, page))
		for _, b := range examples {
			text := uncommented(b.text)
			reads := readerOf(text)
			switch {
			case b.language == "json":
				if !json.Valid([]byte(text)) {
					t.Errorf("%s: no JSON:\n%s", page, b.text)
				}
			case reads != nil:
				if err := reads(t, text); err != nil {
					t.Errorf("%s: %v:\n%s", page, err, text)
				}
			case b.language == "yaml":
				t.Errorf("%s: nothing here reads this example; add a reader:\n%s", page, text)
				continue
			default:
				continue
			}
			looked++
		}
	}
	if looked < 30 {
		t.Errorf("%d examples were read, want all of them", looked)
	}
}
