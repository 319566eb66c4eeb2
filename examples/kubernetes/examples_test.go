// Package kubernetes holds the examples against the programs: each is applied to a real
// API server, allowed by its own policy, and renders.
package kubernetes

import (
	"bytes"
	"embed"
	"encoding/json"
	"io/fs"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/yaml"
	sigsyaml "sigs.k8s.io/yaml"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/deploy"
	v1 "github.com/gatepass/gatepass/operator/api/v1"
	"github.com/gatepass/gatepass/operator/render"
	"github.com/gatepass/gatepass/operator/tenant"
	"github.com/gatepass/gatepass/test/kubernetestest"
)

//go:embed *.yaml README.md
var files embed.FS

// text is a token as GitHub makes them.
const text = "ghs_16C7e42F292c6912E7710c838347Ae178B4a"

func token() render.Token {
	return render.Token{Token: credential.NewToken(text, time.Date(2026, 11, 30, 9, 0, 0, 0, time.UTC))}
}

// An example is the objects of one file.
type example struct {
	name    string
	text    []byte
	objects []kubernetestest.Fields
	token   v1.Token
	policy  v1.TenantPolicy
}

// readExamples reads every file, ours strictly: a field that does not exist is an error.
func readExamples(t *testing.T) []example {
	t.Helper()
	paths, err := fs.Glob(files, "*.yaml")
	if err != nil || len(paths) < 9 {
		t.Fatalf("there are %d examples, %v, want all of them", len(paths), err)
	}
	var all []example
	for _, path := range paths {
		text, err := files.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		e := example{name: path, text: text}
		for document := range bytes.SplitSeq(text, []byte("\n---\n")) {
			var object kubernetestest.Fields
			if err := yaml.Unmarshal(document, &object); err != nil {
				t.Fatalf("%s: %v", e.name, err)
			}
			e.objects = append(e.objects, object)
			var into any
			switch object["kind"] {
			case "Token":
				into = &e.token
			case "TenantPolicy":
				into = &e.policy
			default:
				continue
			}
			if err := sigsyaml.UnmarshalStrict(document, into); err != nil {
				t.Errorf("%s: %v", e.name, err)
			}
		}
		all = append(all, e)
	}
	return all
}

// secretName is where the Token's Secret is.
func (e example) secretName() string {
	if e.token.Spec.Secret.Name != "" {
		return e.token.Spec.Secret.Name
	}
	return e.token.Name
}

// Each example is allowed by its own policy, renders, and names the Secret that it makes.
func TestExamplesRender(t *testing.T) {
	index, err := files.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range readExamples(t) {
		spec := e.token.Spec
		err := tenant.Compile([]v1.TenantPolicy{e.policy}).Check(tenant.Request{
			Kind: tenant.KindToken, Namespace: tenant.Namespace{Name: e.token.Namespace}, App: tenant.App{Default: true},
			Owner: spec.Owner, Access: spec.Access, SecretType: render.Type(spec.Secret),
		})
		if err != nil {
			t.Errorf("%s: %v", e.name, err)
		}
		if err := render.Check(spec.Secret); err != nil {
			t.Errorf("%s: %v", e.name, err)
		}
		if _, err := render.Render(spec.Secret, token()); err != nil {
			t.Errorf("%s: %v", e.name, err)
		}
		consumers, err := json.Marshal(e.objects[2:])
		isFound := err == nil && bytes.Contains(consumers, []byte(`"`+e.secretName()+`"`))
		if byURL := string(spec.Secret.ExtraData["url"]); !isFound && byURL == "" {
			t.Errorf("%s: no consumer names the Secret %s", e.name, e.secretName())
		}
		if !bytes.Contains(index, []byte("["+e.name+"]("+e.name+")")) {
			t.Errorf("README.md does not list %s", e.name)
		}
	}
}

// Each example is applied to a real API server with our CustomResourceDefinitions, and
// so is the Secret that it makes: the API server has rules for types of Secrets.
func TestRealExamples(t *testing.T) {
	c := kubernetestest.New(t)
	crds, err := fs.Glob(deploy.Files, "crds/*.yaml")
	if err != nil || len(crds) != 4 {
		t.Fatalf("there are %d CustomResourceDefinitions, %v", len(crds), err)
	}
	for _, path := range crds {
		definition, err := deploy.Files.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		c.ApplyText(definition)
	}
	for _, e := range readExamples(t) {
		for _, object := range e.objects {
			serveKind(c, object)
			metadata := object["metadata"].(kubernetestest.Fields)
			if namespace, is := metadata["namespace"]; is {
				c.ApplyObject(kubernetestest.Fields{"apiVersion": "v1", "kind": "Namespace", "metadata": kubernetestest.Fields{"name": namespace}})
			}
			c.ApplyObject(object)
		}
		got, err := render.Render(e.token.Spec.Secret, token())
		if err != nil {
			t.Errorf("%s: %v", e.name, err)
			continue
		}
		c.ApplyObject(kubernetestest.Fields{
			"apiVersion": "v1", "kind": "Secret", "type": got.Type, "data": got.Data,
			"metadata": kubernetestest.Fields{"name": e.secretName(), "namespace": e.token.Namespace, "labels": got.Labels, "annotations": got.Annotations},
		})
	}
}

// serveKind makes the API server take a consumer's objects, whatever they say.
func serveKind(c *kubernetestest.Cluster, object kubernetestest.Fields) {
	group, version, _ := strings.Cut(object["apiVersion"].(string), "/")
	if !strings.Contains(group, ".") || group == v1.Group {
		return // of Kubernetes, or ours
	}
	kind := object["kind"].(string)
	plural := strings.TrimSuffix(strings.ToLower(kind), "y")
	if plural != strings.ToLower(kind) {
		plural += "ie"
	}
	plural += "s"
	scope := "Cluster"
	if _, is := object["metadata"].(kubernetestest.Fields)["namespace"]; is {
		scope = "Namespaced"
	}
	c.ApplyObject(kubernetestest.Fields{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": kubernetestest.Fields{"name": plural + "." + group},
		"spec": kubernetestest.Fields{
			"group": group, "scope": scope,
			"names": kubernetestest.Fields{"kind": kind, "plural": plural, "singular": strings.ToLower(kind), "listKind": kind + "List"},
			"versions": []any{kubernetestest.Fields{
				"name": version, "served": true, "storage": true,
				"schema": kubernetestest.Fields{"openAPIV3Schema": kubernetestest.Fields{"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
			}},
		},
	})
}

// A pull with the registry's credentials logs in with what auth says.
func TestTheRegistryReadsIt(t *testing.T) {
	for _, e := range readExamples(t) {
		if e.name != "dockerconfigjson.yaml" {
			continue
		}
		got, err := render.Render(e.token.Spec.Secret, token())
		if err != nil {
			t.Fatal(err)
		}
		var config struct {
			Auths map[string]struct {
				Auth []byte `json:"auth"`
			} `json:"auths"`
		}
		err = json.Unmarshal(got.Data[".dockerconfigjson"], &config)
		if auth := string(config.Auths["ghcr.io"].Auth); err != nil || auth != "x-access-token:"+text {
			t.Errorf("the registry gets %q, %v", auth, err)
		}
		return
	}
	t.Error("there is no example for a registry")
}
