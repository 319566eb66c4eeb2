package v1_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	v1 "github.com/gatepass/gatepass/operator/api/v1"
	"github.com/gatepass/gatepass/test/kubernetestest"
)

// An object that says the least has the defaults of the second system.
func TestDefaults(t *testing.T) {
	c := kubernetestest.New(t)
	c.Apply(crds)
	for kind, row := range map[string]struct{ spec, want fields }{
		"Token": {ok, merged(ok, fields{"refreshInterval": "30m", "retryInterval": "5m", "minTTL": "10m"})},
		"ClusterToken": {
			merged(ok, fields{"secret": fields{"namespace": "a"}}),
			merged(ok, fields{"secret": fields{"namespace": "a"}, "refreshInterval": "30m", "retryInterval": "5m", "minTTL": "10m"}),
		},
		"App": {
			fields{"provider": "aws", "appID": 1, "key": "k"},
			fields{"provider": "aws", "appID": 1.0, "key": "k", "validateKey": false},
		},
		"TenantPolicy": {fields{"namespaces": fields{}}, fields{"namespaces": fields{}}},
	} {
		answer := c.Call(http.MethodPost, collection(kind)+"?dryRun=All", object(kind, row.spec))
		if !reflect.DeepEqual(answer["spec"], row.want) {
			t.Errorf("%s: the spec is %v, want %v", kind, answer["spec"], row.want)
		}
	}
}

func object(kind string, spec any) fields {
	return fields{"apiVersion": "gatepass.dev/v1", "kind": kind, "metadata": fields{"name": "one"}, "spec": spec}
}

// A Token that a Go program makes without intervals has the defaults too: an absent
// interval is not sent as "0s", which the API server refuses.
func TestGoObjectHasTheDefaults(t *testing.T) {
	c := kubernetestest.New(t)
	c.Apply(crds)
	var token v1.Token
	token.APIVersion, token.Kind, token.Name = "gatepass.dev/v1", "Token", "go"
	token.Spec.Repositories = []string{"api"}
	token.Spec.AllPermissions = true
	text, err := json.Marshal(token)
	if err != nil {
		t.Fatal(err)
	}
	var body fields
	if err := json.Unmarshal(text, &body); err != nil {
		t.Fatal(err)
	}
	answer := c.Call(http.MethodPost, collection("Token")+"?dryRun=All", body)
	if got := answer["spec"].(fields)["refreshInterval"]; got != "30m" {
		t.Errorf("refreshInterval is %v, want 30m", got)
	}
}

// What kubectl needs: columns, short names, the category, status apart from the spec.
func TestDiscovery(t *testing.T) {
	c := kubernetestest.New(t)
	c.Apply(crds)
	for kind, want := range map[string]struct{ short, columns string }{
		"Token":        {"gtok", "Name Ready Reason Expires Repositories Age"},
		"ClusterToken": {"gctok", "Name Ready Reason Namespace Expires Repositories Age"},
		"App":          {"gapp", "Name Ready Reason App ID Client ID Provider Age"},
		"TenantPolicy": {"gpol", "Name Apps Owners Age"},
	} {
		found, status := resources(c, kind)
		if fmt.Sprint(found["shortNames"]) != "["+want.short+"]" || fmt.Sprint(found["categories"]) != "[gatepass]" {
			t.Errorf("%s has the short names %v and categories %v", kind, found["shortNames"], found["categories"])
		}
		if hasStatus := kind != "TenantPolicy"; status != hasStatus {
			t.Errorf("%s has a status of its own: %v, want %v", kind, status, hasStatus)
		}
		if got := columns(t, kind); got != want.columns {
			t.Errorf("%s has the columns %q, want %q", kind, got, want.columns)
		}
	}
}

// resources returns what the API server says of a kind, and whether it has a status.
func resources(c *kubernetestest.Cluster, kind string) (found fields, status bool) {
	list := c.Call(http.MethodGet, "/apis/gatepass.dev/v1", nil)["resources"].([]any)
	for _, one := range list {
		if entry := one.(fields); entry["kind"] == kind {
			if strings.HasSuffix(entry["name"].(string), "/status") {
				status = true
			} else {
				found = entry
			}
		}
	}
	return found, status
}

func columns(t *testing.T, kind string) string {
	t.Helper()
	plural := strings.ToLower(kind) + "s"
	if kind == "TenantPolicy" {
		plural = "tenantpolicies"
	}
	definition := readYAML(t, filepath.Join(crds, "gatepass.dev_"+plural+".yaml"))
	version := definition["spec"].(fields)["versions"].([]any)[0].(fields)
	names := []string{"Name"}
	for _, one := range version["additionalPrinterColumns"].([]any) {
		names = append(names, one.(fields)["name"].(string))
	}
	return strings.Join(names, " ")
}

// A change of the status changes no spec, also in the objects' generation.
func TestStatusIsApart(t *testing.T) {
	c := kubernetestest.New(t)
	c.Apply(crds)
	path := "/apis/gatepass.dev/v1/namespaces/" + c.Namespace() + "/tokens"
	c.Call(http.MethodPost, path, object("Token", ok))
	after := c.Call(http.MethodPatch, path+"/one/status", fields{
		"spec": fields{"suspend": true},
		"status": fields{
			"observedGeneration": 1, "repositories": []string{"acme/api"},
			"conditions": []fields{{"type": "Ready", "status": "True", "reason": "Refreshed", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}},
		},
	})
	if after["spec"].(fields)["suspend"] != nil || after["metadata"].(fields)["generation"] != 1.0 {
		t.Errorf("a change of the status made %v", after)
	}
	after = c.Call(http.MethodPatch, path+"/one", fields{"spec": fields{"suspend": true}, "status": fields{"repositories": []string{"x"}}})
	if after["metadata"].(fields)["generation"] != 2.0 || fmt.Sprint(after["status"].(fields)["repositories"]) != "[acme/api]" {
		t.Errorf("a change of the spec made %v", after)
	}
}

// testdata/first has objects as they were valid when the kinds were new. Users
// who have such objects in a cluster or in Git must be able to write them for ever. A change
// of the kinds that this test refuses is not one of version v1.
func TestFirstObjectsStayValid(t *testing.T) {
	c := kubernetestest.New(t)
	c.Apply(crds)
	paths, err := filepath.Glob("testdata/first/*.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("testdata/first has %v, %v", paths, err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for one := range strings.SplitSeq(string(text), "\n---\n") {
			var object fields
			if err := yaml.Unmarshal([]byte(one), &object); err != nil {
				t.Fatal(err)
			}
			kind := object["kind"].(string)
			// Unknown fields would be dropped in silence.
			code, answer := c.Try(http.MethodPost, collection(kind)+"?dryRun=All&fieldValidation=Strict", object)
			if code != http.StatusCreated {
				t.Errorf("%s: %s is refused: %v", path, object["metadata"], answer["message"])
				continue
			}
			if lost := missingIn(object["spec"], answer["spec"], "spec"); lost != "" {
				t.Errorf("%s: of %s the API server keeps no %s", path, object["metadata"], lost)
			}
		}
	}
}

// missingIn returns the path of a value of want that got does not have.
func missingIn(want, got any, path string) string {
	below, isObject := want.(fields)
	if !isObject {
		// In JSON, where numbers are alike.
		one, err := json.Marshal(want)
		other, err2 := json.Marshal(got)
		if err != nil || err2 != nil || !bytes.Equal(one, other) {
			return path
		}
		return ""
	}
	in, _ := got.(fields)
	for name, value := range below {
		if lost := missingIn(value, in[name], path+"."+name); lost != "" {
			return lost
		}
	}
	return ""
}
