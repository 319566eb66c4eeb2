package main

import (
	"bufio"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/fakegithub"
	"github.com/gatepass/gatepass/test/kubernetestest"
	"k8s.io/client-go/rest"
)

// A fleet is a world whose store is on a real API server.
type fleet struct {
	*world
	cluster   *kubernetestest.Cluster
	namespace string
	others    int
}

// openFor opens the store with a kubeconfig.
func (f *fleet) openFor(kubeconfig string) store.Store {
	f.cluster.Call(http.MethodGet, "/api/v1/namespaces/"+f.namespace, nil)
	s, err := issuing.OpenStore("kubernetes://" + f.namespace + "?kubeconfig=" + kubeconfig)
	if err != nil {
		panic(err)
	}
	return s
}

// fill adds records until there are so many other workspaces.
func (f *fleet) fill(others int) {
	f.t.Helper()
	var adding sync.WaitGroup
	todo := make(chan int)
	for range 8 {
		adding.Go(func() {
			for n := range todo {
				name, err := store.Record(fmt.Sprint("other-", n))
				if err == nil {
					err = f.store.Put(f.t.Context(), name, store.NewSecret(strings.Repeat("x", 2000)), store.Replace)
				}
				if err != nil {
					f.t.Error(err)
				}
			}
		})
	}
	for ; f.others < others; f.others++ {
		todo <- f.others
	}
	close(todo)
	adding.Wait()
}

// cpu is how many seconds of a core the API server has used.
func (f *fleet) cpu() float64 {
	f.t.Helper()
	client, err := rest.HTTPClientFor(f.cluster.RESTConfig())
	if err != nil {
		f.t.Fatal(err)
	}
	response, err := client.Get(f.cluster.Host + "/metrics")
	if err != nil {
		f.t.Fatal(err)
	}
	defer response.Body.Close()
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), "process_cpu_seconds_total "); ok {
			seconds, _ := strconv.ParseFloat(text, 64)
			return seconds
		}
	}
	f.t.Fatal("the API server does not say how much CPU it has used")
	return 0
}

// A refresh does not list a namespace: with a thousand other workspaces it makes as
// many requests as with a hundred.
func TestRealRefreshOnKubernetes(t *testing.T) {
	const each = 20
	c := kubernetestest.Start(t, kubernetestest.Options{Audit: true})
	f := &fleet{cluster: c, namespace: c.Namespace()}
	f.world = newWorldWith(t, fakegithub.Options{HandlerOnly: true}, f.openFor(c.Kubeconfig))
	var ids []string
	for n := range 2 * each {
		ids = append(ids, fmt.Sprint("sb-", n))
	}
	f.settle(ids...)
	c.Grant("cluster-admin", kubernetestest.Fields{"kind": "ServiceAccount", "namespace": f.namespace, "name": "refresher"})
	r := f.refresher()
	r.apps = issuing.Loader{Store: f.openFor(c.KubeconfigAs(f.namespace, "refresher"))}
	user := kubernetestest.User(f.namespace, "refresher")
	before, made := 0, []map[string]int{}
	for _, others := range []int{100, 1000} {
		f.fill(others)
		time.Sleep(time.Second) // time for the API server to finish work for those
		cpu := f.cpu()
		for _, id := range ids[len(made)*each:][:each] {
			if sum, err := f.refresh(r, request{workspace: id, force: true}); err != nil || sum.Minted != 1 {
				t.Fatalf("refresh %s = %+v, %v", id, sum, err)
			}
		}
		cpu = f.cpu() - cpu
		calls, requests := map[string]int{}, c.Requests(user)
		for _, q := range requests[before:] {
			calls[q.Verb+" "+q.Resource]++
		}
		t.Logf("beside %d workspaces: %d requests and %.1f ms of the API server's CPU for a refresh: %v", others, (len(requests)-before)/each, cpu*1000/each, calls)
		before, made = len(requests), append(made, calls)
	}
	if !maps.Equal(made[0], made[1]) || made[0]["list secrets"] != made[1]["list secrets"] {
		t.Errorf("beside 1000 workspaces the requests are %v, want %v as beside 100", made[1], made[0])
	}
}
