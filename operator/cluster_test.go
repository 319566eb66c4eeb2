package operator

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/gatepass/gatepass/operator/api/v1"
	"github.com/gatepass/gatepass/test/fakegithub"
	"github.com/gatepass/gatepass/test/freeport"
	"github.com/gatepass/gatepass/test/kubernetestest"
)

// TestWithControllers has the garbage collector and the namespace controller at work.
func TestWithControllers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, kubernetestest.Options{Controllers: true, Audit: true, Flags: []string{kubernetestest.OwnerReferencesEnforced}})
	w.run()
	for _, part := range []struct {
		name string
		test func(*world)
	}{
		{"a namespace goes while GitHub is down", testNamespaceGoes},
		{"the garbage collector leaves what is owned", testGarbageCollector},
		{"a writer who does not stop is outlasted", testConflicts},
		{"no Secret of others is listed or watched", testNoUnfilteredSecrets},
	} {
		t.Run(part.name, func(t *testing.T) {
			sub := *w
			sub.t = t
			part.test(&sub)
		})
	}
}

// Finalizers of other operators hold namespaces for as long as an API is away.
func testNamespaceGoes(w *world) {
	namespace := w.tenant()
	var texts []string
	for _, t := range w.many(namespace, 10) {
		texts = append(texts, w.text(t))
	}
	heal := w.gh.Fail(fakegithub.To(http.MethodDelete, "/installation/token"), fakegithub.Status(503), -1)
	if err := w.c.Delete(w.t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}); err != nil {
		w.t.Fatal(err)
	}
	w.wait(patience, "the namespace gone", func() bool {
		return w.c.Get(w.t.Context(), client.ObjectKey{Name: namespace}, &corev1.Namespace{}) != nil
	})
	heal()
	for _, text := range texts {
		w.wait(2*patience, "the tokens revoked when GitHub is back", func() bool { return !w.lives(text) })
	}
}

// Owner references across namespaces have Secrets collected at random.
func testGarbageCollector(w *world) {
	got := w.ready(token(w.tenant(), "git"))
	before := w.secret(got.Namespace, "git").UID
	time.Sleep(3 * time.Second) // the collector looks at each new owner reference
	if s := w.secret(got.Namespace, "git"); s == nil || s.UID != before {
		w.t.Error("the Secret was collected")
	}
}

func testConflicts(w *world) {
	got := w.ready(token(w.tenant(), "git"))
	ctx, cancel := context.WithTimeout(w.t.Context(), 3*time.Second)
	defer cancel()
	writes := 0
	for ctx.Err() == nil {
		patch := fmt.Sprintf(`{"metadata":{"annotations":{"theirs":"%d"}},"data":{"token":"eA=="}}`, writes)
		if w.c.Patch(w.t.Context(), w.secret(got.Namespace, "git"), client.RawPatch(types.MergePatchType, []byte(patch))) == nil {
			writes++
		}
		time.Sleep(5 * time.Millisecond)
	}
	w.wait(patience, "the token in the Secret again", func() bool { return w.lives(w.text(got)) })
	if s := w.secret(got.Namespace, "git"); s.Annotations["theirs"] != fmt.Sprint(writes-1) {
		w.t.Errorf("their annotation is %q after %d writes", s.Annotations["theirs"], writes)
	}
	w.t.Logf("%d writes of another writer", writes)
	ours := 0
	for _, r := range w.Requests(kubernetestest.User(w.home, "gatepass-operator")) {
		if r.Resource == "secrets" && r.Verb == "update" && r.Namespace == got.Namespace {
			ours++
		}
	}
	if ours > 2*repairsPerMinute {
		w.t.Errorf("the operator answered %d writes by %d of its own", writes, ours)
	}
}

// A typed read beside a metadata watch would keep every Secret of the cluster in memory.
func testNoUnfilteredSecrets(w *world) {
	seen := 0
	for _, r := range w.Requests(kubernetestest.User(w.home, "gatepass-operator")) {
		if r.Resource != "secrets" || r.Verb != "list" && r.Verb != "watch" {
			continue
		}
		seen++
		selector := r.Query.Get("labelSelector")
		isRecords := r.Namespace == w.home && selector == "gatepass.dev/record"
		if !isRecords && selector != v1.LabelOwnerKind {
			w.t.Errorf("%s of secrets in %q with the selector %q is not limited to ours", r.Verb, r.Namespace, selector)
		}
	}
	if seen == 0 {
		w.t.Error("no list of Secrets was seen: the audit log is not what this test takes it for")
	}
}

// TestWatchNamespaces has no right on Secrets but in one namespace.
func TestWatchNamespaces(t *testing.T) {
	t.Parallel()
	w := newWorld(t, kubernetestest.Options{})
	namespace := w.tenant()
	other := w.tenant()
	w.Call(http.MethodDelete, "/apis/rbac.authorization.k8s.io/v1/clusterroles/gatepass-operator", nil)
	w.ApplyText([]byte(strings.ReplaceAll(narrowRoles, "NAMESPACE", namespace)))
	w.options.WatchNamespaces = []string{namespace}
	w.run()
	w.create(&v1.TenantPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "targets"},
		Spec: v1.TenantPolicySpec{
			TargetNamespaces: []string{other}, Apps: []string{"default"}, Owners: []string{"acme"},
			Repositories: []string{"acme/*"}, Permissions: map[string]v1.PermissionLevel{"contents": "read"},
		},
	})
	w.ready(token(namespace, "git"))
	w.create(token(other, "git"))
	ct := &v1.ClusterToken{ObjectMeta: metav1.ObjectMeta{Name: "elsewhere"}}
	ct.Spec.Access, ct.Spec.Secret.Namespace = token("", "").Spec.Access, other
	w.create(ct)
	w.wait(patience, "a condition that names the option", func() bool {
		if err := w.c.Get(t.Context(), client.ObjectKeyFromObject(ct), ct); err != nil {
			t.Fatal(err)
		}
		return len(ct.Status.Conditions) > 0 && strings.Contains(fmt.Sprint(ct.Status.Conditions), "--watch-namespaces")
	})
	if w.secret(other, "git") != nil || w.secret(other, "elsewhere") != nil {
		t.Error("a Secret was written outside of the namespaces to watch")
	}
}

const narrowRoles = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: gatepass-operator}
rules:
- {apiGroups: [gatepass.dev], resources: [tokens, clustertokens, apps, tenantpolicies], verbs: [get, list, watch]}
- {apiGroups: [gatepass.dev], resources: [tokens/status, clustertokens/status, apps/status], verbs: [get, patch, update]}
- {apiGroups: [gatepass.dev], resources: [tokens/finalizers, clustertokens/finalizers], verbs: [update]}
- {apiGroups: [""], resources: [namespaces], verbs: [get, list, watch]}
- {apiGroups: [events.k8s.io], resources: [events], verbs: [create, patch]}
- {apiGroups: [admissionregistration.k8s.io], resources: [validatingwebhookconfigurations], verbs: [get, delete], resourceNames: [gatepass-operator]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: secrets, namespace: NAMESPACE}
rules: [{apiGroups: [""], resources: [secrets], verbs: [get, list, watch, create, update, patch, delete]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: secrets, namespace: NAMESPACE}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: secrets}
subjects: [{kind: ServiceAccount, name: gatepass-operator, namespace: gatepass}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: secrets, namespace: gatepass}
rules: [{apiGroups: [""], resources: [secrets], verbs: [get, list, watch, create, update, patch, delete]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: secrets, namespace: gatepass}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: secrets}
subjects: [{kind: ServiceAccount, name: gatepass-operator, namespace: gatepass}]
`

// TestFailover kills the replica that leads. The other one goes on where it was: what is
// held is delivered and revoked, and nothing is minted again.
func TestFailover(t *testing.T) {
	t.Parallel()
	w := newWorld(t, kubernetestest.Options{})
	first := w.start("--leader-elect")
	namespace := w.tenant()
	all := w.many(namespace, 10)
	second := w.start("--leader-elect")
	mints := w.mints()
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait()
	gone, text := all[0], w.text(all[0])
	if err := w.c.Delete(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	if err := w.c.Delete(t.Context(), w.secret(namespace, all[1].Name)); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	w.wait(2*patience, "the other replica at work", func() bool {
		return !w.lives(text) && w.secret(namespace, all[1].Name) != nil
	})
	t.Logf("the other replica worked after %v", time.Since(began).Round(time.Second))
	if got := w.mints(); got != mints {
		t.Errorf("%d tokens were minted by the change of the leader", got-mints)
	}
	second.end()
}

// TestServes asks the program for what it serves: probes, and metrics to those who may
// read them.
func TestServes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, kubernetestest.Options{})
	probes, err := freeport.Address()
	metrics, err2 := freeport.Address()
	if err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	p := w.start("--health-probe-bind-address", probes, "--metrics-bind-address", metrics)
	get := func(url, bearer string) (int, string) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if bearer != "" {
			request.Header.Set("Authorization", "Bearer "+bearer)
		}
		c := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} // the certificate is made at each start
		defer c.CloseIdleConnections()
		response, err := c.Do(request)
		if err != nil {
			return 0, err.Error()
		}
		defer response.Body.Close()
		text, _ := io.ReadAll(response.Body)
		return response.StatusCode, string(text)
	}
	w.wait(patience, "readiness", func() bool { code, _ := get("http://"+probes+"/readyz", ""); return code == 200 })
	if code, _ := get("http://"+probes+"/healthz", ""); code != 200 {
		t.Errorf("/healthz = %d", code)
	}
	got := w.ready(token(w.tenant(), "git"))
	url := "https://" + metrics + "/metrics"
	if code, _ := get(url, ""); code != 401 {
		t.Errorf("metrics without a token: %d, want 401", code)
	}
	stranger := w.Token("default", "stranger", nil)
	if code, _ := get(url, stranger); code != 403 {
		t.Errorf("metrics for an account without the right: %d, want 403", code)
	}
	w.ApplyText([]byte(`
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: reads-metrics}
rules: [{nonResourceURLs: [/metrics], verbs: [get]}]
`))
	w.Grant("reads-metrics", kubernetestest.Fields{"kind": "ServiceAccount", "name": "prometheus", "namespace": "default"})
	reader := w.Token("default", "prometheus", nil)
	series := fmt.Sprintf(`token_expiry_timestamp_seconds{controller="token",name="git",namespace=%q}`, got.Namespace)
	_, text := get(url, reader)
	for _, want := range []string{
		series, "gatepass_operator_" + series, `token_refresh_total{controller="token",result="success"} 1`, `tokens_active{controller="token"} 1`,
		"token_refresh_duration_seconds_count", "github_api_requests_total", "github_api_call_duration_seconds_count", `kubernetes_secret_operations_total{operation="create",result="success"} 1`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
	// Series of deleted tokens stayed in the model system.
	if err := w.c.Delete(t.Context(), got); err != nil {
		t.Fatal(err)
	}
	w.wait(patience, "the series gone", func() bool { _, text := get(url, reader); return text != "" && !strings.Contains(text, series) })
	p.end()
}

// A consumer reads the Secret all the time, while the token is replaced over and over
// and GitHub's servers learn of each new token five seconds late.
func TestAConsumerSeesNoFailure(t *testing.T) {
	t.Parallel()
	w := newWorld(t, kubernetestest.Options{})
	if err := w.gh.SetLag(5*time.Second, 401); err != nil {
		t.Fatal(err)
	}
	w.run()
	got := w.ready(token(w.tenant(), "git"))
	time.Sleep(6 * time.Second) // an object's first token is delivered at once
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var asked, failed atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		c := w.gh.Client()
		for ctx.Err() == nil {
			s := &corev1.Secret{}
			if w.c.Get(ctx, client.ObjectKey{Namespace: got.Namespace, Name: "git"}, s) != nil {
				continue
			}
			request, _ := http.NewRequestWithContext(ctx, http.MethodGet, w.gh.URL()+"/api/v3/installation/repositories?per_page=1", nil)
			request.Header.Set("Authorization", "Bearer "+string(s.Data["token"]))
			response, err := c.Do(request)
			if err != nil {
				continue
			}
			_, _ = io.Copy(io.Discard, bufio.NewReader(response.Body))
			response.Body.Close()
			asked.Add(1)
			if response.StatusCode != 200 {
				failed.Add(1)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}()
	refreshes := 3
	if os.Getenv("GATEPASS_TEST_SCALE") != "" {
		refreshes = 50
	}
	for i := range refreshes {
		before := w.text(got)
		w.later(31*time.Minute, got)
		w.wait(patience, fmt.Sprint("refresh ", i), func() bool { return w.text(got) != before })
	}
	stop()
	<-done
	if asked.Load() < 100 || failed.Load() > 0 {
		t.Errorf("%d of %d calls failed over %d refreshes", failed.Load(), asked.Load(), refreshes)
	}
	t.Logf("%d calls, %d failed, %d refreshes", asked.Load(), failed.Load(), refreshes)
}

// later moves GitHub's clock. The operator learns of it by the mint for another Token, and
// then looks at t.
func (w *world) later(d time.Duration, t *v1.Token) {
	w.t.Helper()
	w.gh.Advance(d)
	other := w.ready(token(t.Namespace, fmt.Sprint("clock-", w.gh.Now().Unix())))
	if err := w.c.Delete(w.t.Context(), other); err != nil {
		w.t.Fatal(err)
	}
	w.until(t, "there", func(got *v1.Token) bool { *t = *got; return true })
	w.update(t, func(t *v1.Token) { t.Annotations = map[string]string{"look": w.gh.Now().String()} })
}
