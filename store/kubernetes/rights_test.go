package kubernetes

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/gatepass/gatepass/deploy"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/storetest"
)

// manifestObjects are those of the manifest that ships, in another namespace.
func manifestObjects(t *testing.T, namespace string) []fields {
	t.Helper()
	text, err := deploy.Files.ReadFile("kubernetes/store.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var objects []fields
	for part := range strings.SplitSeq(string(text), "\n---\n") {
		var o fields
		if err := yaml.Unmarshal([]byte(part), &o); err != nil {
			t.Fatal(err)
		}
		m := o["metadata"].(fields)
		if o["kind"] == "Namespace" {
			m["name"] = namespace
		} else if m["namespace"] != "gatepass" {
			t.Errorf("%s %s is in namespace %v, want gatepass", o["kind"], m["name"], m["namespace"])
		} else {
			m["namespace"] = namespace
		}
		if subjects, ok := o["subjects"].([]any); ok {
			subjects[0].(fields)["namespace"] = namespace
		}
		objects = append(objects, o)
	}
	return objects
}

// apiPaths are where the API takes what is in the manifest.
var apiPaths = map[string]string{
	"Namespace": "/api/v1/namespaces", "ServiceAccount": "/api/v1/namespaces/%s/serviceaccounts",
	"Role":        "/apis/rbac.authorization.k8s.io/v1/namespaces/%s/roles",
	"RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/%s/rolebindings",
}

// deployed applies the manifest to a new namespace, and has what follows be done
// by its account. change may change the rules of the Role.
func (c cluster) deployed(change func(rule fields)) (namespace string) {
	c.t.Helper()
	namespace = c.Namespace()
	for _, o := range manifestObjects(c.t, namespace)[1:] {
		if o["kind"] == "Role" && change != nil {
			change(o["rules"].([]any)[0].(fields))
		}
		at, ok := apiPaths[o["kind"].(string)]
		if !ok {
			c.t.Fatalf("the manifest has a %v, which a store does not need", o["kind"])
		}
		c.Call(http.MethodPost, fmt.Sprintf(at, namespace), o)
	}
	c.t.Setenv("KUBECONFIG", c.For(fields{"token": c.Token(namespace, "gatepass", nil)}))
	return namespace
}

// With the rights of the manifest a store does all it has to.
func TestRealManifestIsEnough(t *testing.T) {
	namespace := realCluster(t).deployed(nil)
	n := 0
	storetest.Run(t, func(t *testing.T) func() store.Store {
		n++
		prefix := fmt.Sprintf("kubernetes://%s/p%d", namespace, n)
		return func() store.Store { return openStore(t, prefix) }
	})
}

// everything does what needs each of the verbs, on both kinds.
func everything(t *testing.T, s store.Store) error {
	for _, n := range []store.Name{store.Signer(), store.BlockedApp()} {
		for range 2 {
			if err := s.Put(t.Context(), n, store.NewSecret("x"), store.Replace); err != nil {
				return err
			}
		}
		if _, err := s.Get(t.Context(), n); err != nil {
			return err
		}
	}
	for _, err := range s.List(t.Context(), store.Everything()) {
		if err != nil {
			return err
		}
	}
	for _, n := range []store.Name{store.Signer(), store.BlockedApp()} {
		if err := s.Delete(t.Context(), n); err != nil {
			return err
		}
	}
	return nil
}

// Each verb of the manifest is needed, and its absence is named.
func TestRealManifestIsNoMore(t *testing.T) {
	c := realCluster(t)
	for _, verb := range []string{"get", "list", "create", "patch", "delete"} {
		namespace := c.deployed(func(rule fields) {
			verbs := rule["verbs"].([]any)
			if len(verbs) != 5 || !slices.Contains(verbs, any(verb)) {
				t.Errorf("the manifest allows %v", verbs)
			}
			rule["verbs"] = slices.DeleteFunc(verbs, func(v any) bool { return v == verb })
		})
		checkError(t, everything(t, openStore(t, "kubernetes://"+namespace)), "forbids it", "system:serviceaccount:"+namespace+":gatepass",
			"allow "+verb+" on secrets in a Role in namespace "+namespace+", as deploy/kubernetes/store.yaml")
	}
	namespace := c.deployed(func(rule fields) { rule["resources"] = []string{"secrets"} })
	checkError(t, everything(t, openStore(t, "kubernetes://"+namespace)), "allow patch on configmaps")
}

// The account reaches nothing outside of its namespace, and others nothing in it.
func TestRealManifestReachesNoFurther(t *testing.T) {
	c := realCluster(t)
	namespace, other := c.deployed(nil), c.Namespace()
	s := openStore(t, "kubernetes://"+namespace)
	if err := everything(t, s); err != nil {
		t.Fatal(err)
	}
	put(t, s, store.Signer(), "x")
	checkForbidden(t, openStore(t, "kubernetes://"+other))
	t.Setenv("KUBECONFIG", c.For(fields{"token": c.Token(other, "gatepass", nil)}))
	checkForbidden(t, openStore(t, "kubernetes://"+namespace))
	t.Setenv("KUBECONFIG", c.For(fields{}))
	checkForbidden(t, openStore(t, "kubernetes://"+namespace))
}

func checkForbidden(t *testing.T, s store.Store) {
	t.Helper()
	e, err := s.Get(t.Context(), store.Signer())
	checkError(t, err, "forbids it")
	if e.Value.Reveal() != "" {
		t.Error("Get gives the value as well")
	}
	checkError(t, s.Put(t.Context(), store.Signer(), store.NewSecret("y"), store.Replace), "forbids it")
	checkError(t, s.Delete(t.Context(), store.Signer()), "forbids it")
	for n, err := range s.List(t.Context(), store.Everything()) {
		checkError(t, err, "forbids it", "allow list on secrets")
		if n != (store.Name{}) {
			t.Errorf("List yields %s", n)
		}
	}
}
