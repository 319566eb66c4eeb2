package webhook

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/testr"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	v1 "github.com/gatepass/gatepass/operator/api/v1"
	"github.com/gatepass/gatepass/test/freeport"
	"github.com/gatepass/gatepass/test/kubernetestest"
)

type fields = kubernetestest.Fields

const system = "gatepass"

// A suite is an API server, and what the webhook has there.
type suite struct {
	*kubernetestest.Cluster
	operator client.Client // as the operator's service account, with its role
}

func TestMain(m *testing.M) {
	log.SetLogger(logr.Discard())
	os.Exit(m.Run())
}

// TestWebhook is one test with parts because each API server costs seconds. The
// webhook's configuration is the whole cluster's, so it cannot share one.
func TestWebhook(t *testing.T) {
	s := suite{Cluster: kubernetestest.Start(t, kubernetestest.Options{Controllers: true})}
	s.Apply("../../deploy/crds")
	s.Call(http.MethodPost, "/api/v1/namespaces", fields{"metadata": fields{"name": system}})
	s.Apply("../../deploy/rbac")
	s.Grant("gatepass-operator", fields{"kind": "ServiceAccount", "name": "operator", "namespace": system})
	s.operator = s.as(t, s.Token(system, "operator", nil))
	s.policies(t)

	t.Run("refuses and accepts", s.testDecisions)
	t.Run("asks about changes of the spec only", s.testSpecOnly)
	t.Run("Ignore goes on without it and Fail does not", s.testFailurePolicy)
	t.Run("serves on for a while after it was told to end", s.testLinger)
	t.Run("asks about the namespaces that are watched only", s.testNamespaces)
	t.Run("replaces its authority without a refused call", s.testRotation)
	t.Run("replicas that start at once agree", s.testAgree)
	t.Run("comes back after Secret and configuration are deleted", s.testDeleted)
	t.Run("a chart beside it changes nothing", s.testChart)
	t.Run("what a cloud adds to the configuration stays", s.testAddition)
	t.Run("is deleted with the operator's ClusterRole", s.testOwner)
	t.Run("a Secret of something else is left alone", s.testForeignSecret)
	t.Run("without its rights it is not ready and says why", s.testRights)
	t.Run("what it cannot find out is left to the failure policy", s.testCannotRead)
	t.Run("stays ready while the API server is away", s.testAway)
}

func (s suite) as(t *testing.T, token string) client.Client {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", s.For(fields{"token": token}))
	if err != nil {
		t.Fatal(err)
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	config.QPS, config.Burst = 1000, 1000
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// policies makes namespaces and what is allowed there.
func (s suite) policies(t *testing.T) {
	t.Helper()
	for name, labels := range map[string]fields{"team-a": {"team": "a"}, "team-b": nil, "flux-system": nil} {
		s.Call(http.MethodPost, "/api/v1/namespaces", fields{"metadata": fields{"name": name, "labels": labels}})
	}
	s.ApplyObject(fields{
		"apiVersion": "gatepass.dev/v1", "kind": "TenantPolicy", "metadata": fields{"name": "team"},
		"spec": fields{
			"namespaces": fields{"selector": fields{"matchLabels": fields{"team": "a"}}},
			"apps":       []string{"default"}, "owners": []string{"acme"}, "repositories": []string{"acme/api"},
			"permissions": fields{"contents": "read"}, "keys": []string{"aws:alias/gatepass"},
			"targetNamespaces": []string{"flux-system"},
		},
	})
}

// A running is a webhook that serves.
type running struct {
	*Webhook
	stop func() // returns when it has ended
}

// start runs a webhook as the operator's service account.
func (s suite) start(t *testing.T, change func(*Webhook)) *running {
	t.Helper()
	address, err := freeport.Address()
	if err != nil {
		t.Fatal(err)
	}
	w, err := New(Options{
		Client: s.operator, Reader: s.operator, Namespace: system, BindAddress: address, URL: "https://" + address,
		Fail: true, ClusterRole: "gatepass-operator", Log: testr.New(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	w.timing.checkEvery, w.timing.drainTime = 100*time.Millisecond, 0
	if change != nil {
		change(w)
	}
	if w.Ready(nil) == nil {
		t.Error("it is ready before it serves")
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Start(ctx) }()
	var stopped atomic.Bool
	stop := func() {
		if cancel(); stopped.CompareAndSwap(false, true) {
			if err := <-ended; err != nil {
				t.Errorf("it ended with %v", err)
			}
		}
	}
	t.Cleanup(stop)
	return &running{w, stop}
}

func (r *running) ready(t *testing.T) *running {
	t.Helper()
	kubernetestest.Wait(t, 20*time.Second, "the webhook", func() (bool, any) { err := r.Ready(nil); return err == nil, err })
	return r
}

// called waits until the API server asks the webhook: it learns of a configuration a
// moment after it was written.
func (s suite) called(t *testing.T) {
	t.Helper()
	kubernetestest.Wait(t, 20*time.Second, "the API server to ask", func() (bool, any) {
		code, answer := s.create("team-a", "Token", fields{"allRepositories": true, "allPermissions": true})
		return code == http.StatusForbidden, answer
	})
}

// create tries to create an object, for a moment only.
func (s suite) create(namespace, kind string, spec fields) (code int, message string) {
	code, answer := s.Try(http.MethodPost, collection(namespace, kind)+"?dryRun=All", fields{
		"apiVersion": "gatepass.dev/v1", "kind": kind, "metadata": fields{"generateName": "try-"}, "spec": spec,
	})
	return code, fmt.Sprint(answer["message"])
}

func collection(namespace, kind string) string {
	if kind == "ClusterToken" {
		return "/apis/gatepass.dev/v1/clustertokens"
	}
	return "/apis/gatepass.dev/v1/namespaces/" + namespace + "/" + strings.ToLower(kind) + "s"
}

var inside = fields{"owner": "acme", "repositories": []string{"api"}, "permissions": fields{"contents": "read"}}

// but returns inside with other fields; null takes one away.
func but(change fields) fields {
	all := fields{}
	for _, some := range []fields{inside, change} {
		for name, value := range some {
			if all[name] = value; value == nil {
				delete(all, name)
			}
		}
	}
	return all
}

func (s suite) testDecisions(t *testing.T) {
	s.start(t, nil).ready(t)
	s.called(t)
	flux := fields{"namespace": "flux-system"}
	for what, row := range map[string]struct {
		namespace, kind string
		spec            fields
		refused         string
	}{
		"a Token inside":                         {"team-a", "Token", inside, ""},
		"a Token whose account is not known yet": {"team-a", "Token", but(fields{"owner": nil, "installationID": 7}), ""},
		"a Token of an App that may follow":      {"team-b", "Token", but(fields{"appRef": fields{"name": "own"}}), ""},
		"a suspended Token":                      {"team-a", "Token", but(fields{"suspend": true, "permissions": fields{"contents": "admin"}}), ""},
		"another repository":                     {"team-a", "Token", but(fields{"repositories": []string{"web"}}), "TenantPolicy team: repositories does not have acme/web; request only what one of these policies allows, or ask for a change of the policy"},
		"a higher level":                         {"team-a", "Token", but(fields{"permissions": fields{"contents": "write"}}), "permissions does not have contents: write"},
		"another owner":                          {"team-a", "Token", but(fields{"owner": "zeta"}), "owners does not have zeta"},
		"an App that no policy lists":            {"team-a", "Token", but(fields{"appRef": fields{"name": "own"}}), "apps does not have team-a/own"},
		"the operator's App without a policy":    {"team-b", "Token", inside, "no TenantPolicy selects namespace team-b"},
		"a type that needs a policy":             {"team-a", "Token", but(fields{"secret": fields{"type": "example.com/x"}}), "secretTypes does not have example.com/x"},
		"not a template":                         {"team-a", "Token", but(fields{"secret": fields{"template": fields{"a": "{{ .Tokn }}"}}}), "template"},

		"a ClusterToken for a target":        {"", "ClusterToken", but(fields{"secret": flux}), ""},
		"a ClusterToken for another one":     {"", "ClusterToken", but(fields{"secret": fields{"namespace": "team-a"}}), "no TenantPolicy has namespace team-a in targetNamespaces"},
		"a ClusterToken with more":           {"", "ClusterToken", but(fields{"secret": flux, "repositories": []string{"web"}}), "repositories does not have acme/web"},
		"a ClusterToken, the operator's App": {"", "ClusterToken", but(fields{"secret": flux, "appRef": fields{"name": "bot"}}), "apps does not have gatepass/bot"},

		"an App with its own key":     {"team-b", "App", fields{"provider": "secret", "keyRef": fields{"name": "key"}}, ""},
		"an App with a listed key":    {"team-a", "App", fields{"provider": "aws", "appID": 1, "key": "alias/gatepass"}, ""},
		"an App with another key":     {"team-a", "App", fields{"provider": "aws", "appID": 1, "key": "alias/other"}, "keys does not have aws:alias/other"},
		"an App with the cloud's key": {"team-b", "App", fields{"provider": "vault", "appID": 1, "key": "transit/sign/app"}, "no TenantPolicy selects namespace team-b"},
		"an App of another GitHub":    {"team-a", "App", fields{"provider": "aws", "appID": 1, "key": "alias/gatepass", "githubURL": "https://evil.example"}, "another githubURL"},
	} {
		t.Run(what, func(t *testing.T) {
			code, message := s.create(row.namespace, row.kind, row.spec)
			switch {
			case row.refused == "" && code != http.StatusCreated:
				t.Errorf("it is refused: %s", message)
			case row.refused != "" && (code != http.StatusForbidden || !strings.Contains(message, row.refused)):
				t.Errorf("it is answered with %d %s, want a refusal with %q", code, message, row.refused)
			}
		})
	}
}

// Metadata, finalizers, status and DELETE go on while the webhook is away, also of
// objects that no policy allows any more.
func (s suite) testSpecOnly(t *testing.T) {
	w := s.start(t, nil).ready(t)
	s.called(t)
	path := collection("team-a", "Token")
	s.Call(http.MethodPost, path, fields{"apiVersion": "gatepass.dev/v1", "kind": "Token", "metadata": fields{"name": "kept"}, "spec": inside})
	path += "/kept"
	if code, answer := s.Try(http.MethodPatch, path, fields{"spec": fields{"repositories": []string{"web"}}}); code != http.StatusForbidden {
		t.Errorf("a change of the spec is answered with %d %v", code, answer["message"])
	}
	w.stop()

	s.Call(http.MethodPatch, path, fields{"metadata": fields{"labels": fields{"a": "b"}, "finalizers": []string{"example.com/x"}}})
	s.Call(http.MethodPatch, path+"/status", fields{"status": fields{"repositories": []string{"acme/api"}}})
	if code, answer := s.Try(http.MethodPatch, path, fields{"spec": fields{"refreshInterval": "20m"}}); code/100 == 2 {
		t.Errorf("a change of the spec is answered with %d %v, and nothing was asked", code, answer["message"])
	}
	s.Call(http.MethodDelete, path, nil)
	s.Call(http.MethodPatch, path, fields{"metadata": fields{"finalizers": []string{}}})
	if code, _ := s.Try(http.MethodGet, path, nil); code != http.StatusNotFound {
		t.Errorf("the deleted Token is answered with %d", code)
	}
}

func (s suite) testFailurePolicy(t *testing.T) {
	for _, fail := range []bool{false, true} {
		w := s.start(t, func(w *Webhook) { w.options.Fail = fail }).ready(t)
		s.called(t)
		w.stop()
		code, message := s.create("team-a", "Token", but(fields{"repositories": []string{"web"}}))
		if went := code == http.StatusCreated; went == fail {
			t.Errorf("with Fail: %v and no webhook, a Token is answered with %d %s", fail, code, message)
		}
	}
}

// A pod that is ending still gets calls, until the API server's side knows.
func (s suite) testLinger(t *testing.T) {
	w := s.start(t, func(w *Webhook) { w.timing.drainTime = 2 * time.Second }).ready(t)
	s.called(t)
	began := time.Now()
	go w.stop()
	for time.Since(began) < 1500*time.Millisecond {
		if code, message := s.create("team-a", "Token", inside); code != http.StatusCreated {
			t.Fatalf("%v after the end began: %d %s", time.Since(began), code, message)
		}
	}
	kubernetestest.Wait(t, 20*time.Second, "the end", func() (bool, any) {
		err := w.handshake(nil)
		return errors.Is(err, syscall.ECONNREFUSED), err
	})
}

func (s suite) testNamespaces(t *testing.T) {
	w := s.start(t, func(w *Webhook) { w.options.WatchNamespaces = []string{"team-a"} }).ready(t)
	s.called(t)
	kubernetestest.Wait(t, 20*time.Second, "the API server to leave team-b alone", func() (bool, any) {
		code, message := s.create("team-b", "Token", inside)
		return code == http.StatusCreated, message
	})
	if code, message := s.create("", "ClusterToken", but(fields{"secret": fields{"namespace": "team-b"}})); code != http.StatusForbidden {
		t.Errorf("a ClusterToken is answered with %d %s", code, message)
	}
	w.stop()

	s.start(t, nil).ready(t)
	kubernetestest.Wait(t, 20*time.Second, "the API server to ask about team-b again", func() (bool, any) {
		code, message := s.create("team-b", "Token", inside)
		return code == http.StatusForbidden, message
	})
}
