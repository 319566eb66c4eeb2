// Package charttest holds the Helm chart, the Kustomize base and the image's
// Dockerfile against the operator: its CRDs, its rights, its types. What needs helm,
// kustomize or an API server is skipped where that is missing.
package charttest

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const (
	root  = "../.."
	chart = root + "/deploy/helm/gatepass"
)

// fields are a Kubernetes object.
type fields = map[string]any

// program returns the path of a program that a variable names, or skips the test.
func program(t *testing.T, name, variable string) string {
	t.Helper()
	path := os.Getenv(variable)
	if path == "" {
		t.Skipf("missing: %s (make test-real sets %s)", name, variable)
	}
	return path
}

// run runs a program that sees nothing of the user's configuration.
func run(t *testing.T, path string, args ...string) (output string, err error) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Env = []string{"HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH"), "KUBECONFIG=" + os.Getenv("KUBECONFIG")}
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), errors.New(strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// helm runs helm, which has to succeed.
func helm(t *testing.T, args ...string) string {
	t.Helper()
	output, err := run(t, program(t, "helm", "GATEPASS_TEST_HELM"), args...)
	if err != nil {
		t.Fatalf("helm %s: %v", strings.Join(args, " "), err)
	}
	return output
}

// template renders the chart as release gatepass in the namespace gatepass.
func template(t *testing.T, args ...string) string {
	t.Helper()
	return helm(t, append([]string{"template", "gatepass", chart, "--namespace=gatepass"}, args...)...)
}

// render returns the objects that the chart makes.
func render(t *testing.T, args ...string) objects {
	t.Helper()
	return parse(t, template(t, args...))
}

// objects are those of a YAML text, in its order.
type objects []fields

func parse(t *testing.T, text string) objects {
	t.Helper()
	var all objects
	decoder := yaml.NewDecoder(strings.NewReader(text))
	for {
		var o fields
		if err := decoder.Decode(&o); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		if o != nil {
			all = append(all, o)
		}
	}
}

// all returns the objects of a kind.
func (all objects) all(kind string) objects {
	var found objects
	for _, o := range all {
		if o["kind"] == kind {
			found = append(found, o)
		}
	}
	return found
}

// one returns the only object of a kind.
func (all objects) one(t *testing.T, kind string) fields {
	t.Helper()
	found := all.all(kind)
	if len(found) != 1 {
		t.Fatalf("there are %d objects of kind %s, want one", len(found), kind)
	}
	return found[0]
}

// at returns what lies below an object's fields: nil where one is missing.
func at(o any, path ...any) any {
	for _, step := range path {
		switch step := step.(type) {
		case string:
			f, _ := o.(fields)
			o = f[step]
		case int:
			list, _ := o.([]any)
			if step >= len(list) {
				return nil
			}
			o = list[step]
		}
	}
	return o
}

// valueSets are the files of values in testdata, by name.
func valueSets(t *testing.T) map[string]string {
	t.Helper()
	paths, err := filepath.Glob("testdata/values/*.yaml")
	if err != nil || len(paths) < 5 {
		t.Fatalf("testdata has the values %q, %v", paths, err)
	}
	sets := map[string]string{}
	for _, path := range paths {
		sets[strings.TrimSuffix(filepath.Base(path), ".yaml")] = path
	}
	return sets
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
