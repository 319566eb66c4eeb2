package webhook

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/testr"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
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
	w.pace.look, w.pace.linger = 100*time.Millisecond, 0
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
		"another repository":                     {"team-a", "Token", but(fields{"repositories": []string{"web"}}), "TenantPolicy team: repositories does not have acme/web; ask for what one of these policies allows"},
		"a higher level":                         {"team-a", "Token", but(fields{"permissions": fields{"contents": "write"}}), "permissions does not have contents: write"},
		"another owner":                          {"team-a", "Token", but(fields{"owner": "zeta"}), "owners does not have zeta"},
		"an App that no policy lists":            {"team-a", "Token", but(fields{"appRef": fields{"name": "own"}}), "apps does not have team-a/own"},
		"the operator's App without a policy":    {"team-b", "Token", inside, "no TenantPolicy selects namespace team-b"},
		"a type that needs a policy":             {"team-a", "Token", but(fields{"secret": fields{"type": "example.com/x"}}), "secretTypes does not have example.com/x"},
		"a template that is none":                {"team-a", "Token", but(fields{"secret": fields{"template": fields{"a": "{{ .Tokn }}"}}}), "template"},

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
	w := s.start(t, func(w *Webhook) { w.pace.linger = 2 * time.Second }).ready(t)
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

// testRotation has two replicas replace the authority every few seconds, as fast as the
// seconds of certificates allow. The API server trusts both of two authorities while
// one replica may still serve the old one.
func (s suite) testRotation(t *testing.T) {
	quick := func(w *Webhook) {
		w.pace = pace{life: 8 * time.Second, renew: 5 * time.Second, settle: time.Second, overlap: 2 * time.Second, look: 100 * time.Millisecond}
	}
	s.secret(t, http.MethodDelete)
	one := s.start(t, quick).ready(t)
	two := s.start(t, func(w *Webhook) { quick(w); w.options.URL = one.options.URL }).ready(t)
	s.called(t)

	seen := map[string]bool{}
	calls, most := 0, 0
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); calls++ {
		if code, message := s.create("team-a", "Token", inside); code != http.StatusCreated {
			t.Fatalf("after %d authorities and %d calls: %d %s", len(seen), calls, code, message)
		}
		bundle := s.configuration(t).Webhooks[0].ClientConfig.CABundle
		for i, replica := range []*running{one, two} {
			if err := replica.handshake(bundle); err != nil {
				t.Fatalf("replica %d, after %d authorities: %v", i+1, len(seen), err)
			}
		}
		all := strings.SplitAfter(strings.TrimSpace(string(bundle)), "-----END CERTIFICATE-----\n")
		most = max(most, len(all))
		for _, certificate := range all {
			seen[strings.TrimSpace(certificate)] = true
		}
	}
	if len(seen) < 3 || most != 2 || calls < 50 {
		t.Errorf("%d calls saw %d authorities, at most %d at once; want more", calls, len(seen), most)
	}
	t.Logf("%d calls, %d authorities", calls, len(seen))
}

// handshake connects to a replica as an API server does that trusts a bundle.
func (r *running) handshake(bundle []byte) error {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(bundle)
	host, err := r.name()
	if err != nil {
		return err
	}
	connection, err := tls.Dial("tcp", r.loopback(), &tls.Config{RootCAs: roots, ServerName: host, MinVersion: tls.VersionTLS13})
	if err != nil {
		return err
	}
	return connection.Close()
}

func (s suite) configuration(t *testing.T) *admissionv1.ValidatingWebhookConfiguration {
	t.Helper()
	var found admissionv1.ValidatingWebhookConfiguration
	if err := s.operator.Get(t.Context(), client.ObjectKey{Name: Name}, &found); err != nil {
		t.Fatal(err)
	}
	return &found
}

const (
	secretPath        = "/api/v1/namespaces/" + system + "/secrets/" + SecretName
	configurationPath = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/" + Name
)

func (s suite) secret(t *testing.T, method string) fields {
	t.Helper()
	_, answer := s.Try(method, secretPath, nil)
	return answer
}

// Replicas that make an authority at the same moment keep that of one of them.
func (s suite) testAgree(t *testing.T) {
	s.secret(t, http.MethodDelete)
	const replicas = 8
	bundles := make([]string, replicas)
	var group sync.WaitGroup
	for i := range replicas {
		group.Go(func() {
			w := &Webhook{options: Options{Client: s.operator, Namespace: system}, pace: calm, now: time.Now}
			all, err := w.authorities(t.Context(), nil)
			if err != nil {
				t.Error(err)
			}
			bundles[i] = string(all.bundle())
		})
	}
	group.Wait()
	kept, _ := s.authorities(t)
	for i, bundle := range bundles {
		if bundle != string(kept) {
			t.Errorf("replica %d has another authority than the Secret", i)
		}
	}
}

func (s suite) testDeleted(t *testing.T) {
	one := s.start(t, nil).ready(t)
	two := s.start(t, func(w *Webhook) { w.options.URL = one.options.URL }).ready(t)
	s.called(t)
	before := s.secret(t, http.MethodGet)

	s.Call(http.MethodDelete, configurationPath, nil)
	s.called(t)

	s.Call(http.MethodDelete, secretPath, nil)
	kubernetestest.Wait(t, 20*time.Second, "another authority", func() (bool, any) {
		if code, message := s.create("team-a", "Token", inside); code != http.StatusCreated {
			t.Fatalf("after the Secret was deleted: %d %s", code, message)
		}
		after := s.secret(t, http.MethodGet)
		return after["data"] != nil && fmt.Sprint(after["data"]) != fmt.Sprint(before["data"]), after["metadata"]
	})
	kubernetestest.Wait(t, 20*time.Second, "one authority of both replicas in the configuration", func() (bool, any) {
		all, err := parseAuthorities(s.authorities(t))
		bundle := string(s.configuration(t).Webhooks[0].ClientConfig.CABundle)
		return err == nil && len(all) == 2 && bundle == string(all.bundle()), err
	})
	for _, w := range []*running{one, two} {
		if err := w.Ready(nil); err != nil {
			t.Errorf("a replica is not ready: %v", err)
		}
	}
}

func (s suite) authorities(t *testing.T) (certificates, keys []byte) {
	t.Helper()
	var found corev1.Secret
	if err := s.operator.Get(t.Context(), client.ObjectKey{Namespace: system, Name: SecretName}, &found); err != nil {
		t.Fatal(err)
	}
	return found.Data[certificatesKey], found.Data[keysKey]
}

// A cloud that adds to the configuration is not written against: each would undo the
// other for ever.
func (s suite) testAddition(t *testing.T) {
	s.start(t, nil).ready(t)
	s.called(t)
	exclude := fields{"key": "control-plane", "operator": "DoesNotExist"}
	hook := s.Call(http.MethodGet, configurationPath, nil)["webhooks"].([]any)[0].(fields)
	hook["namespaceSelector"] = fields{"matchExpressions": []fields{exclude}}
	version := s.Call(http.MethodPatch, configurationPath, fields{"webhooks": []any{hook}})["metadata"].(fields)["resourceVersion"]
	time.Sleep(time.Second)
	if again := s.configuration(t); again.ResourceVersion != version {
		t.Errorf("it was written again, with %v", again.Webhooks[0].NamespaceSelector)
	}
}

// A chart, or Argo CD, that applies an object of the same name without the webhook's
// fields takes none of them away; one that puts its own text there is corrected.
func (s suite) testChart(t *testing.T) {
	s.start(t, nil).ready(t)
	before := s.configuration(t)
	s.ApplyObject(fields{
		"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
		"metadata": fields{"name": Name, "labels": fields{"app.kubernetes.io/instance": "release"}},
	})
	after := s.configuration(t)
	if string(after.Webhooks[0].ClientConfig.CABundle) != string(before.Webhooks[0].ClientConfig.CABundle) || after.Labels["app.kubernetes.io/instance"] != "release" {
		t.Errorf("after another one applied its own fields it is %+v", after)
	}
	version := after.ResourceVersion
	time.Sleep(time.Second)
	if again := s.configuration(t); again.ResourceVersion != version {
		t.Error("it is written though nothing changed")
	}

	s.Call(http.MethodPatch, configurationPath, fields{"webhooks": []fields{{
		"name": hookName, "clientConfig": fields{"url": "https://127.0.0.1:1/x"}, "sideEffects": "None", "admissionReviewVersions": []string{"v1"},
	}}})
	s.called(t)
}

// An uninstall deletes the ClusterRole. The garbage collector then deletes the
// configuration and the Secret, also when no operator runs any more.
func (s suite) testOwner(t *testing.T) {
	w := s.start(t, nil).ready(t)
	s.called(t)
	if owners := s.configuration(t).OwnerReferences; len(owners) != 1 || owners[0].BlockOwnerDeletion != nil {
		t.Errorf("its owners are %+v, want one that does not block", owners)
	}
	if err := Remove(t.Context(), s.operator); err != nil {
		t.Error(err)
	}
	s.called(t)
	w.stop()
	s.Call(http.MethodDelete, "/apis/rbac.authorization.k8s.io/v1/clusterroles/gatepass-operator", nil)
	for _, path := range []string{configurationPath, secretPath} {
		kubernetestest.Wait(t, time.Minute, "the end of "+path, func() (bool, any) {
			code, answer := s.Try(http.MethodGet, path, nil)
			return code == http.StatusNotFound, answer["metadata"]
		})
	}
	s.Apply("../../deploy/rbac")
}

// A Secret that cannot be read as authorities is not written over.
func (s suite) testForeignSecret(t *testing.T) {
	s.secret(t, http.MethodDelete)
	s.Call(http.MethodPost, "/api/v1/namespaces/"+system+"/secrets", fields{"metadata": fields{"name": SecretName}, "stringData": fields{"ca.crt": "x"}})
	w := s.start(t, nil)
	kubernetestest.Wait(t, 20*time.Second, "the reason", func() (bool, any) {
		err := w.Ready(nil)
		return err != nil && strings.Contains(err.Error(), "delete it, and the operator makes a new one"), err
	})
	if data := s.secret(t, http.MethodGet)["data"].(fields); len(data) != 1 {
		t.Errorf("the Secret has %v now", data)
	}
	s.secret(t, http.MethodDelete)
	w.ready(t)
}

func (s suite) testRights(t *testing.T) {
	nobody := s.as(t, s.Token(system, "nobody", nil))
	w := s.start(t, func(w *Webhook) { w.options.Client, w.options.ClusterRole = nobody, "" })
	kubernetestest.Wait(t, 20*time.Second, "the reason", func() (bool, any) {
		err := w.Ready(nil)
		return err != nil && strings.Contains(err.Error(), "is forbidden"), err
	})
}

func (s suite) testCannotRead(t *testing.T) {
	nobody := s.as(t, s.Token(system, "nobody", nil))
	for _, fail := range []bool{true, false} {
		w := s.start(t, func(w *Webhook) { w.options.Reader, w.options.Fail = nobody, fail }).ready(t)
		want := http.StatusInternalServerError
		if !fail {
			want = http.StatusCreated
		}
		kubernetestest.Wait(t, 20*time.Second, "the answer to a Token", func() (bool, any) {
			code, message := s.create("team-a", "Token", inside)
			return code == want && (!fail || strings.Contains(message, "read the TenantPolicies")), message
		})
		w.stop()
	}
}

func (s suite) testAway(t *testing.T) {
	w := s.start(t, nil).ready(t)
	s.Kill()
	time.Sleep(time.Second) // some looks
	if err := w.Ready(nil); err != nil {
		t.Errorf("without the API server it is not ready: %v", err)
	}
	s.Resume()
	s.called(t)
}
