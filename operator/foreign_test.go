package operator

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/gatepass/gatepass/operator/api/v1"
	"github.com/gatepass/gatepass/test/kubernetestest"
)

// External Secrets took 1 GB in a cluster with many Secrets of others
// (external-secrets/external-secrets#721), and another operator was killed in seconds
// (k8ssandra/k8ssandra-operator#1752).
func TestForeignSecretsCostNothing(t *testing.T) {
	t.Parallel()
	n := 500 // of 100 KiB
	if os.Getenv("GATEPASS_TEST_SCALE") != "" {
		n = 5000
	}
	w := newWorld(t, kubernetestest.Options{Audit: true})
	foreign, home := w.tenant(), w.tenant()
	w.createSecrets(foreign, "opaque", n, 100<<10, corev1.SecretTypeOpaque)
	w.createSecrets(foreign, "release", 20, 1<<20-4096, "helm.sh/release.v1")
	p := w.start()
	w.many(home, 10)
	time.Sleep(2 * time.Second)
	first, _ := p.usage()
	if first > 100 {
		t.Errorf("the operator takes %d MiB beside %d Secrets of others, want less than 100", first, n)
	}
	asked := len(w.requests("secrets"))
	w.changeSecrets(foreign, "opaque", 200)
	time.Sleep(2 * time.Second)
	second, _ := p.usage()
	if second > first+5 {
		t.Errorf("200 changes of others' Secrets took the operator from %d to %d MiB", first, second)
	}
	if now := len(w.requests("secrets")); now != asked {
		t.Errorf("200 changes of others' Secrets made the operator ask %d times", now-asked)
	}
	for _, r := range w.requests("secrets") {
		selector := r.Query.Get("labelSelector")
		isOurs := selector == v1.LabelOwnerKind || r.Namespace == w.home && selector == "gatepass.dev/record"
		if r.Namespace == foreign || (r.Verb == "list" || r.Verb == "watch") && !isOurs {
			t.Errorf("%s of secrets in %q with the selector %q", r.Verb, r.Namespace, selector)
		}
	}
	t.Logf("%d MiB beside %d Secrets of 100 KiB and 20 of a MiB, %d MiB after 200 changes", first, n, second)
	p.end()
}

// requests are those of the operator for a resource.
func (w *world) requests(resource string) []kubernetestest.Request {
	w.t.Helper()
	var all []kubernetestest.Request
	for _, r := range w.Requests(kubernetestest.User(w.home, "gatepass-operator")) {
		if r.Resource == resource {
			all = append(all, r)
		}
	}
	return all
}

// createSecrets creates n Secrets of a size, some at a time.
func (w *world) createSecrets(namespace, name string, n, size int, kind corev1.SecretType) {
	w.t.Helper()
	text := make([]byte, size/2)
	rand.Read(text)
	data := map[string][]byte{"data": []byte(hex.EncodeToString(text))}
	w.atOnce(n, func(i int) error {
		return w.c.Create(w.t.Context(), &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("%s-%05d", name, i)}, Type: kind, Data: data,
		})
	})
}

// changeSecrets changes the first n of them.
func (w *world) changeSecrets(namespace, name string, n int) {
	w.t.Helper()
	w.atOnce(n, func(i int) error {
		s := &corev1.Secret{}
		if err := w.c.Get(w.t.Context(), client.ObjectKey{Namespace: namespace, Name: fmt.Sprintf("%s-%05d", name, i)}, s); err != nil {
			return err
		}
		s.Data["more"] = bytes.Repeat([]byte("x"), 1024)
		return w.c.Update(w.t.Context(), s)
	})
}

// atOnce calls do for 0 to n-1, eight at a time.
func (w *world) atOnce(n int, do func(int) error) {
	w.t.Helper()
	var wg sync.WaitGroup
	for part := range 8 {
		wg.Go(func() {
			for i := part; i < n; i += 8 {
				if err := do(i); err != nil {
					w.t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}
