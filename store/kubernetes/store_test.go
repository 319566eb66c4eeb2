package kubernetes

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/storetest"
)

func TestRealStoreConforms(t *testing.T) {
	namespace := realCluster(t).Namespace()
	n := 0
	storetest.Run(t, func(t *testing.T) func() store.Store {
		n++
		prefix := fmt.Sprintf("kubernetes://%s/team/p%d", namespace, n)
		return func() store.Store {
			s := openStore(t, prefix)
			s.page = 10 // several pages in each list
			return s
		}
	})
}

func TestRealListsPause(t *testing.T) {
	s := openStore(t, "kubernetes://"+realCluster(t).Namespace())
	s.page = 10
	storetest.PausesBetweenPages(t, s)
}

// Many entries are written at once, some of them by two, with lists in between:
// what was written before a list began is in it.
func TestRealListsMissNothing(t *testing.T) {
	address := "kubernetes://" + realCluster(t).Namespace()
	begun := openStore(t, address)
	each(4, func(writer int) {
		s := openStore(t, address)
		for i := range 12 {
			n, err := store.Record(fmt.Sprintf("w-%d-%d", writer/2, i))
			if err != nil {
				t.Error(err)
				return
			}
			if err := s.Put(t.Context(), n, store.NewSecret(sprint(writer)), store.Replace); err != nil {
				t.Error(err)
				return
			}
			if names := list(t, begun, store.Workspaces()); !slices.Contains(names, n.String()) {
				t.Errorf("List after Put(%s) = %d names without it", n, len(names))
			}
		}
	})
	if names := list(t, begun, store.Everything()); len(names) != 24 {
		t.Errorf("List = %d names, want 24", len(names))
	}
}

func token(t *testing.T, workspace, owner string) store.Name {
	t.Helper()
	n, err := store.Token(workspace, owner)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Markers are ConfigMaps, all else is a Secret, and lists find both.
func TestRealKinds(t *testing.T) {
	c := realCluster(t)
	namespace := c.Namespace()
	s := openStore(t, "kubernetes://"+namespace)
	for _, n := range []store.Name{
		store.BlockedApp(), store.BlockedToken([8]byte{1}, time.Time{}), store.Delivery([32]byte{1}), store.Redeemed([32]byte{1}), store.UsedProof([32]byte{1}),
		store.JoinToken([32]byte{1}), store.SessionKey(7), store.PrivateKey(), token(t, "sb-1", "acme"),
	} {
		put(t, s, n, "x")
	}
	for resource, want := range map[string]int{"secrets": 4, "configmaps": 5} {
		answer := c.Call(http.MethodGet, "/api/v1/namespaces/"+namespace+"/"+resource+"?labelSelector=app.kubernetes.io/managed-by=gatepass", nil)
		if got := len(answer["items"].([]any)); got != want {
			t.Errorf("%d %s, want %d", got, resource, want)
		}
	}
	if got := list(t, s, store.Everything()); len(got) != 9 {
		t.Errorf("List = %q, want all nine", got)
	}
	if b, err := store.ReadBlocks(t.Context(), s); err != nil || !b.App || len(b.Tokens) != 1 {
		t.Errorf("ReadBlocks = %+v, %v, want both", b, err)
	}
}

// Stores of one namespace do not see each other, whatever their prefixes.
func TestRealPrefixes(t *testing.T) {
	namespace := realCluster(t).Namespace()
	for _, prefix := range []string{"", "/config", "/config/github", "/Config"} {
		s := openStore(t, "kubernetes://"+namespace+prefix)
		if names := list(t, s, store.Everything()); names != nil {
			t.Errorf("prefix %q has %q before anything is put there", prefix, names)
		}
		put(t, s, store.Signer(), "of "+prefix)
		if err := s.Put(t.Context(), store.Signer(), store.NewSecret("x"), store.CreateOnly); !errors.Is(err, store.ErrExists) {
			t.Errorf("prefix %q: Put = %v, want that it exists", prefix, err)
		}
	}
}

// Modified is the server's time of the last write, also of the same value.
func TestRealModified(t *testing.T) {
	s := openStore(t, "kubernetes://"+realCluster(t).Namespace())
	modified := func() time.Time {
		put(t, s, store.Signer(), "the same")
		e, err := s.Get(t.Context(), store.Signer())
		if err != nil {
			t.Fatal(err)
		}
		return e.Modified
	}
	first := modified()
	time.Sleep(1100 * time.Millisecond) // it is in whole seconds
	if second := modified(); !second.After(first) {
		t.Errorf("Modified = %v after a second write, want later than %v", second, first)
	}
}

// path is where the API has the object of an entry.
func (s *Store) path(n store.Name) string {
	return "/api/v1/namespaces/" + s.place.namespace + "/" + kindOf(n).resource + "/" + s.place.objectName(n)
}

// What others add to an object stays, and is none of a value's age.
func TestRealReplaceKeepsWhatOthersAdded(t *testing.T) {
	c := realCluster(t)
	s := openStore(t, "kubernetes://"+c.Namespace())
	put(t, s, store.Signer(), "first")
	before, err := s.Get(t.Context(), store.Signer())
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(1100 * time.Millisecond)
	c.Call(http.MethodPatch, s.path(store.Signer()), fields{"metadata": fields{"labels": fields{"team": "ops"}}})
	if after, err := s.Get(t.Context(), store.Signer()); err != nil || !after.Modified.Equal(before.Modified) {
		t.Errorf("Modified = %v, %v after a label of somebody's, want %v", after.Modified, err, before.Modified)
	}
	put(t, s, store.Signer(), "second")
	labels := c.Call(http.MethodGet, s.path(store.Signer()), nil)["metadata"].(fields)["labels"].(fields)
	if labels["team"] != "ops" {
		t.Errorf("labels = %v, want the one that was added", labels)
	}
}

// An object of another owner under the name of an entry is neither read, overwritten
// nor deleted.
func TestRealForeignObjects(t *testing.T) {
	c := realCluster(t)
	for what, change := range map[string]fields{
		"another's":           {"labels": fields{managedByLabel: "Helm"}},
		"without a label":     {"labels": fields{managedByLabel: nil}},
		"another store's":     {"annotations": fields{prefixNote: "other"}},
		"without its name":    {"annotations": fields{nameNote: nil}},
		"with a broken name":  {"annotations": fields{nameNote: "../x"}},
		"with another's name": {"annotations": fields{nameNote: "config/github/app-client-id"}},
	} {
		t.Run(what, func(t *testing.T) {
			for _, n := range []store.Name{store.Signer(), store.BlockedApp()} {
				s := openStore(t, "kubernetes://"+c.Namespace())
				put(t, s, n, "mine")
				c.Call(http.MethodPatch, s.path(n), fields{"metadata": change})
				before := c.Call(http.MethodGet, s.path(n), nil)
				_, err := s.Get(t.Context(), n)
				checkError(t, err, "another program wrote it")
				for _, mode := range []store.Mode{store.CreateOnly, store.Replace} {
					err := s.Put(t.Context(), n, store.NewSecret("stolen"), mode)
					checkError(t, err, "another program wrote it")
					if errors.Is(err, store.ErrExists) {
						t.Errorf("Put = %v, which is no entry that exists", err)
					}
				}
				checkError(t, s.Delete(t.Context(), n), "another program wrote it")
				after := c.Call(http.MethodGet, s.path(n), nil)
				if fmt.Sprint(before) != fmt.Sprint(after) {
					t.Errorf("the object was changed: %v, want %v", after["metadata"], before["metadata"])
				}
			}
		})
	}
}

// A block does not go away with its annotation.
func TestRealSpoiltBlockIsNoMissingBlock(t *testing.T) {
	c := realCluster(t)
	s := openStore(t, "kubernetes://"+c.Namespace())
	put(t, s, store.BlockedApp(), "x")
	c.Call(http.MethodPatch, s.path(store.BlockedApp()), fields{"metadata": fields{"annotations": fields{nameNote: nil}}})
	_, err := store.ReadBlocks(t.Context(), s)
	checkError(t, err, "ConfigMap "+s.place.objectName(store.BlockedApp()), nameNote)
}

func TestRealSpoiltValues(t *testing.T) {
	c := realCluster(t)
	s := openStore(t, "kubernetes://"+c.Namespace())
	for data, want := range map[string]string{"": "has no value", "AA==": "not text", "/w==": "not text"} {
		put(t, s, store.Signer(), "x")
		change := fields{valueKey: data}
		if data == "" {
			change[valueKey] = nil
		}
		c.Call(http.MethodPatch, s.path(store.Signer()), fields{"data": change})
		_, err := s.Get(t.Context(), store.Signer())
		checkError(t, err, want)
	}
}

// Another program's finalizer keeps the object, and its value, after a delete.
func TestRealFinalizer(t *testing.T) {
	c := realCluster(t)
	s := openStore(t, "kubernetes://"+c.Namespace())
	put(t, s, store.Signer(), "x")
	finalizers := func(list ...string) {
		c.Call(http.MethodPatch, s.path(store.Signer()), fields{"metadata": fields{"finalizers": list}})
	}
	finalizers("example.com/keep")
	for range 2 {
		checkError(t, s.Delete(t.Context(), store.Signer()), "a finalizer of another controller keeps it")
	}
	checkError(t, s.Put(t.Context(), store.Signer(), store.NewSecret("y"), store.Replace), "a finalizer of another controller")
	finalizers()
	if err := s.Delete(t.Context(), store.Signer()); err != nil {
		t.Error(err)
	}
	if _, err := s.Get(t.Context(), store.Signer()); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Get = %v, want that it is gone", err)
	}
}

// A server that does not take an object says so without what is in it.
func TestRealImmutable(t *testing.T) {
	c := realCluster(t)
	s := openStore(t, "kubernetes://"+c.Namespace())
	for _, n := range []store.Name{store.Signer(), store.BlockedApp()} {
		put(t, s, n, "old value")
		c.Call(http.MethodPatch, s.path(n), fields{"immutable": true})
		err := s.Put(t.Context(), n, store.NewSecret("new value"), store.Replace)
		checkError(t, err, "does not accept the object (422)", "immutable")
		if err != nil && strings.Contains(err.Error(), "new value") {
			t.Errorf("the error %q has the value", err)
		}
	}
}

func TestRealNamespaceIsMissing(t *testing.T) {
	c := realCluster(t)
	s := openStore(t, "kubernetes://"+c.Namespace()+"-absent")
	checkError(t, s.Put(t.Context(), store.Signer(), store.NewSecret("x"), store.CreateOnly), "there is no namespace "+s.place.namespace, "kubectl apply")
}

// No controller here counts the use of a quota, so the test sets the count.
func TestRealQuota(t *testing.T) {
	c := realCluster(t)
	namespace := c.Namespace()
	at := "/api/v1/namespaces/" + namespace + "/resourcequotas"
	none := fields{"count/secrets": "0"}
	c.Call(http.MethodPost, at, fields{"metadata": fields{"name": "q"}, "spec": fields{"hard": none}})
	c.Call(http.MethodPatch, at+"/q/status", fields{"status": fields{"hard": none, "used": none}})
	s := openStore(t, "kubernetes://"+namespace)
	var err error
	for until := time.Now().Add(time.Minute); err == nil && time.Now().Before(until); {
		// The server hears of quotas by a watch.
		err = s.Put(t.Context(), store.Signer(), store.NewSecret("x"), store.Replace)
		if err == nil {
			err = s.Delete(t.Context(), store.Signer())
		}
	}
	checkError(t, err, "forbids it", "exceeded quota", "check the quotas and admission policies of namespace "+namespace)
}

func TestOpenStoreRefuses(t *testing.T) {
	for _, bad := range []string{
		"kubernetes://", "kubernetes:///prefix", "kubernetes://Team", "kubernetes://a_b", "kubernetes://-a", "kubernetes://ns.example", "kubernetes://ns:6443/x",
		"kubernetes://u:p@ns", "kubernetes://ns/x#f", "kubernetes://ns//x", "kubernetes://ns/x//y", "kubernetes://ns/../x", "kubernetes://ns/a%20b",
		"kubernetes://" + strings.Repeat("n", 64), "kubernetes://ns/" + strings.Repeat("p/", 101) + "p", "ssm://ns/x",
		"kubernetes://ns?unknown=1", "kubernetes://ns?context=", "kubernetes://ns?context=a&context=b", "kubernetes://ns?kubeconfig=%zz",
	} {
		u, err := url.Parse(bad)
		if err != nil {
			t.Fatal(err)
		}
		if s, err := OpenStore(u); err == nil {
			t.Errorf("OpenStore(%s) = %+v, want an error", bad, s)
		} else {
			checkError(t, err)
		}
	}
	u := &url.URL{Scheme: "kubernetes"}
	_, err := OpenStore(u)
	checkError(t, err, "it must name a namespace", "must name a namespace; write kubernetes://NAMESPACE")
}

func TestRealStoreIsDamaged(t *testing.T) {
	c := realCluster(t)
	s := openStore(t, "kubernetes://"+c.Namespace())
	storetest.Damaged(t, s, func(name store.Name) {
		put(t, s, name, "x")
		c.Call(http.MethodPatch, s.path(name), fields{"data": fields{valueKey: ""}})
	})
}
