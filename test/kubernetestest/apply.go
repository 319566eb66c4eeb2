package kubernetestest

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/yaml"
)

// settled bounds how long an API server takes to serve a new kind on an overloaded
// machine.
const settled = 2 * time.Minute

// Apply applies the objects of YAML files by server-side apply, as "kubectl apply
// --server-side" does; for a folder, those of its *.yaml files in the order of their
// names. When Apply returns, the API server serves the kinds of new
// CustomResourceDefinitions.
func (c *Cluster) Apply(paths ...string) {
	c.t.Helper()
	for _, path := range paths {
		files := []string{path}
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			files, _ = filepath.Glob(filepath.Join(path, "*.yaml")) // the pattern is well-formed
		}
		if len(files) == 0 {
			c.t.Fatalf("%s has no *.yaml", path)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				c.t.Fatal(err)
			}
			c.ApplyText(text)
		}
	}
}

// ApplyText applies the objects of a YAML text as [Cluster.Apply] does.
func (c *Cluster) ApplyText(text []byte) {
	c.t.Helper()
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
	for {
		var object Fields
		if err := decoder.Decode(&object); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			c.t.Fatal(err)
		}
		if len(object) > 0 {
			c.ApplyObject(object)
		}
	}
}

// ApplyObject applies one object as [Cluster.Apply] does, and returns the resulting
// object.
func (c *Cluster) ApplyObject(object Fields) Fields {
	c.t.Helper()
	code, answer := c.TryApply(object)
	if code/100 != 2 {
		c.t.Fatalf("apply %v %v = %d %v", object["kind"], object["metadata"], code, answer["message"])
	}
	if object["kind"] == "CustomResourceDefinition" {
		c.established(c.pathOf(object))
	}
	return answer
}

// TryApply applies one object by server-side apply and returns the answer's status and
// JSON.
func (c *Cluster) TryApply(object Fields) (code int, answer Fields) {
	c.t.Helper()
	return c.send(http.MethodPatch, c.pathOf(object)+"?fieldManager=kubernetestest&force=true", "application/apply-patch+yaml", object)
}

// established waits until the API server serves the kind of a CustomResourceDefinition.
func (c *Cluster) established(path string) {
	c.t.Helper()
	Wait(c.t, settled, path+" to be established", func() (bool, any) {
		status, _ := c.Call(http.MethodGet, path, nil)["status"].(Fields)
		conditions, _ := status["conditions"].([]any)
		for _, one := range conditions {
			if condition, _ := one.(Fields); condition["type"] == "Established" && condition["status"] == "True" {
				return true, nil
			}
		}
		return false, conditions
	})
}

// pathOf returns the path of an object in the API. It waits for a kind that the API
// server does not serve yet.
func (c *Cluster) pathOf(object Fields) string {
	c.t.Helper()
	version, _ := object["apiVersion"].(string)
	kind, _ := object["kind"].(string)
	metadata, _ := object["metadata"].(Fields)
	name, _ := metadata["name"].(string)
	namespace, _ := metadata["namespace"].(string)
	if version == "" || kind == "" || name == "" {
		c.t.Fatalf("an object has no apiVersion, kind or name: %v", object)
	}
	group := "/apis/" + version
	if !strings.Contains(version, "/") {
		group = "/api/" + version
	}
	resource := c.resource(group, kind)
	if resource["namespaced"] == true {
		if namespace == "" {
			namespace = "default"
		}
		group += "/namespaces/" + namespace
	}
	return group + "/" + resource["name"].(string) + "/" + name
}

// resource returns the API server's entry for a kind.
func (c *Cluster) resource(group, kind string) (found Fields) {
	c.t.Helper()
	Wait(c.t, settled, group+" to have the kind "+kind, func() (bool, any) {
		code, answer := c.Try(http.MethodGet, group, nil)
		resources, _ := answer["resources"].([]any)
		for _, one := range resources {
			resource, _ := one.(Fields)
			if name, _ := resource["name"].(string); resource["kind"] == kind && name != "" && !strings.Contains(name, "/") {
				found = resource
				return true, nil
			}
		}
		return false, code
	})
	return found
}
