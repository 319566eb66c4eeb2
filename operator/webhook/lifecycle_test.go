package webhook

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gatepass/gatepass/test/kubernetestest"
)

// testRotation has two replicas replace the authority every few seconds, as fast as the
// seconds of certificates allow. The API server trusts both of two authorities while
// one replica may still serve the old one.
func (s suite) testRotation(t *testing.T) {
	quick := func(w *Webhook) {
		w.timing = timing{life: 8 * time.Second, renew: 5 * time.Second, settle: time.Second, overlap: 2 * time.Second, checkEvery: 100 * time.Millisecond}
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
			w := &Webhook{options: Options{Client: s.operator, Namespace: system}, timing: defaultTiming, now: time.Now}
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
		return err != nil && strings.Contains(err.Error(), "delete it, and the operator creates a new one"), err
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
