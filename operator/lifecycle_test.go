package operator

import (
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/gatepass/gatepass/operator/api/v1"
	"github.com/gatepass/gatepass/test/fakegithub"
	"github.com/gatepass/gatepass/test/kubernetestest"
)

// TestLifecycle is what happens to Tokens while something else fails or changes. The
// parts follow each other on one cluster.
func TestLifecycle(t *testing.T) {
	t.Parallel()
	w := newWorld(t, kubernetestest.Options{})
	for _, part := range []struct {
		name string
		test func(*world)
	}{
		{"a restart mints nothing", testRestart},
		{"what was deleted while the operator was away is revoked", testDeletedWhileAway},
		{"a policy that narrows takes tokens away", testPolicyNarrows},
		{"GitHub's outage keeps Secrets and heals", testOutage},
		{"a rate limit holds the App", testRateLimit},
		{"the API server restarts in the middle", testAPIServerRestarts},
		{"a ClusterToken writes where it says", testClusterToken},
		{"a namespace that refuses Secrets gets no mint", testQuota},
		{"pods are replaced after a refresh", testConsumersRestart},
		{"two hundred are created at once", testTwoHundred},
		{"the configuration changes", testConfigChanges},
		{"GitHub's clock is two hours ahead", testClockAhead},
	} {
		t.Run(part.name, func(t *testing.T) {
			sub := *w
			sub.t = t
			part.test(&sub)
		})
	}
}

// many creates Tokens and waits until all are ready.
func (w *world) many(namespace string, n int) []*v1.Token {
	w.t.Helper()
	var all []*v1.Token
	for i := range n {
		t := token(namespace, fmt.Sprintf("git-%d", i))
		w.create(t)
		all = append(all, t)
	}
	for i, t := range all {
		all[i] = w.until(t, "ready", isReady)
	}
	return all
}

func (w *world) text(t *v1.Token) string {
	w.t.Helper()
	s := w.secret(t.Namespace, t.Name)
	if s == nil {
		w.t.Fatalf("Secret %s is not there", t.Name)
	}
	return string(s.Data["token"])
}

// The model system minted every token again after a restart.
func testRestart(w *world) {
	stop := w.run()
	all := w.many(w.tenant(), 20)
	stop()
	mints, writes := w.mints(), w.secret(all[0].Namespace, all[0].Name).ResourceVersion
	w.run()
	last := all[len(all)-1]
	if err := w.c.Delete(w.t.Context(), w.secret(last.Namespace, last.Name)); err != nil {
		w.t.Fatal(err)
	}
	w.wait(patience, "the deleted Secret back", func() bool { return w.secret(last.Namespace, last.Name) != nil })
	if got := w.mints(); got != mints {
		w.t.Errorf("a restart minted %d tokens, want none", got-mints)
	}
	if got := w.secret(all[0].Namespace, all[0].Name).ResourceVersion; got != writes {
		w.t.Error("a restart wrote a Secret that was as it should be")
	}
}

func testDeletedWhileAway(w *world) {
	stop := w.run()
	all := w.many(w.tenant(), 10)
	var texts []string
	for _, t := range all {
		texts = append(texts, w.text(t))
	}
	stop()
	for _, t := range all {
		if err := w.c.Delete(w.t.Context(), t); err != nil {
			w.t.Fatal(err)
		}
	}
	w.run()
	for i, text := range texts {
		w.wait(patience, "a token of a deleted object revoked", func() bool { return !w.lives(text) && w.secret(all[i].Namespace, all[i].Name) == nil })
	}
}

func testPolicyNarrows(w *world) {
	w.run()
	all := w.many(w.tenant(), 5)
	var texts []string
	for _, t := range all {
		texts = append(texts, w.text(t))
	}
	policy := &v1.TenantPolicy{}
	if err := w.c.Get(w.t.Context(), client.ObjectKey{Name: "all"}, policy); err != nil {
		w.t.Fatal(err)
	}
	wide := policy.DeepCopy()
	policy.Spec.Repositories = []string{"acme/gadgets"}
	if err := w.c.Update(w.t.Context(), policy); err != nil {
		w.t.Fatal(err)
	}
	for _, text := range texts {
		w.wait(patience, "a token revoked that no policy allows", func() bool { return !w.lives(text) })
	}
	w.until(all[0], "refused", hasReason(v1.ReasonNotPermitted))
	if w.secret(all[0].Namespace, all[0].Name) != nil {
		w.t.Error("the Secret with the dead token is still there")
	}
	policy.Spec = wide.Spec
	if err := w.c.Update(w.t.Context(), policy); err != nil {
		w.t.Fatal(err)
	}
	w.until(all[0], "ready", isReady)
}

// The model system said Ready while minting failed, and nothing at a first failure.
func testOutage(w *world) {
	w.run()
	good := w.ready(token(w.tenant(), "good"))
	text := w.text(good)
	heal := w.gh.Fail(fakegithub.To(http.MethodPost, "/access_tokens"), fakegithub.Status(502), -1)
	fresh := token(good.Namespace, "fresh")
	w.create(fresh)
	w.update(good, func(t *v1.Token) { t.Spec.Permissions["issues"] = "read" })
	got := w.until(fresh, "failed", hasReason(v1.ReasonFailed))
	if c := meta.FindStatusCondition(got.Status.Conditions, v1.ConditionReady); !strings.Contains(c.Message, "GitHub") {
		w.t.Errorf("the condition says %q", c.Message)
	}
	got = w.until(good, "failed", hasReason(v1.ReasonFailed))
	if c := meta.FindStatusCondition(got.Status.Conditions, v1.ConditionReady); !strings.Contains(c.Message, "the token in the Secret is valid until") {
		w.t.Errorf("the condition says %q", c.Message)
	}
	if w.text(good) != text || !w.lives(text) {
		w.t.Error("the old token is not kept")
	}
	heal()
	w.until(fresh, "ready", isReady)
	w.until(good, "ready", isReady)
}

func testRateLimit(w *world) {
	w.run()
	namespace := w.tenant()
	w.ready(token(namespace, "before"))
	w.gh.Fail(fakegithub.To(http.MethodPost, "/access_tokens"), fakegithub.SecondaryRateLimited(6*time.Second), 1)
	first := token(namespace, "first")
	w.create(first)
	w.until(first, "rate limited", hasReason(v1.ReasonRateLimited))
	refused := time.Now()
	asked := w.gh.Count(func(r fakegithub.Request) bool { return strings.HasSuffix(r.Path, "/access_tokens") })
	var more []*v1.Token
	for i := range 5 {
		more = append(more, token(namespace, fmt.Sprintf("more-%d", i)))
		w.create(more[i])
	}
	w.until(more[4], "told why it waits", func(t *v1.Token) bool {
		c := meta.FindStatusCondition(t.Status.Conditions, v1.ConditionReady)
		return hasReason(v1.ReasonRateLimited)(t) && c.Status == metav1.ConditionUnknown && strings.HasPrefix(c.Message, "the mint of a token waits: GitHub asks the App to wait until 20")
	})
	time.Sleep(time.Until(refused.Add(4500 * time.Millisecond))) // GitHub's pause is six seconds
	if got := w.gh.Count(func(r fakegithub.Request) bool { return strings.HasSuffix(r.Path, "/access_tokens") }); got != asked {
		w.t.Errorf("%d requests went out while GitHub asked to wait", got-asked)
	}
	for _, t := range append(more, first) {
		w.until(t, "ready", isReady)
	}
}

func testAPIServerRestarts(w *world) {
	stop := w.run()
	namespace := w.tenant()
	w.many(namespace, 3)
	for i := range 20 {
		w.create(token(namespace, fmt.Sprintf("during-%d", i)))
	}
	w.Kill()
	time.Sleep(time.Second) // what is under way fails
	w.Resume()
	for i := range 20 {
		w.until(token(namespace, fmt.Sprintf("during-%d", i)), "ready", isReady)
	}
	stop()
	// Each object has one token: what was minted while the API server was away is used.
	live := 0
	for _, t := range w.gh.Tokens() {
		if t.InstallationID == w.installation {
			live++
		}
	}
	records := &corev1.SecretList{}
	if err := w.c.List(w.t.Context(), records, client.InNamespace(w.home), client.HasLabels{"gatepass.dev/record"}); err != nil {
		w.t.Fatal(err)
	}
	if live > len(records.Items)+10 {
		w.t.Errorf("%d tokens live for %d objects", live, len(records.Items))
	}
}

func testClusterToken(w *world) {
	w.run()
	w.create(&v1.TenantPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "targets"},
		Spec: v1.TenantPolicySpec{
			TargetNamespaces: []string{"target"}, Apps: []string{"default"}, Owners: []string{"acme"},
			Repositories: []string{"acme/*"}, Permissions: map[string]v1.PermissionLevel{"contents": "read", "metadata": "read"},
		},
	})
	mints := w.mints()
	ct := &v1.ClusterToken{ObjectMeta: metav1.ObjectMeta{Name: "shared"}}
	ct.Spec.Access = token("", "").Spec.Access
	ct.Spec.Secret.Namespace = "target"
	w.create(ct)
	key := client.ObjectKeyFromObject(ct)
	reason := func() string {
		if err := w.c.Get(w.t.Context(), key, ct); err != nil {
			return err.Error()
		}
		if c := meta.FindStatusCondition(ct.Status.Conditions, v1.ConditionReady); c != nil {
			return c.Reason + ": " + c.Message
		}
		return ""
	}
	w.wait(patience, "a condition that names the missing namespace", func() bool { return strings.Contains(reason(), "namespace target does not exist") })
	if w.mints() != mints {
		w.t.Error("a token was minted for a namespace that does not exist")
	}
	w.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "target"}})
	w.wait(patience, "the Secret in the new namespace", func() bool { return w.secret("target", "shared") != nil })
	if err := w.c.Delete(w.t.Context(), ct); err != nil {
		w.t.Fatal(err)
	}
	w.wait(patience, "the Secret gone", func() bool { return w.secret("target", "shared") == nil })
}

func testQuota(w *world) {
	w.run()
	namespace := w.tenant()
	w.create(&corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "no-secrets"},
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{"secrets": resource.MustParse("0")}},
		Status:     corev1.ResourceQuotaStatus{Hard: corev1.ResourceList{"secrets": resource.MustParse("0")}, Used: corev1.ResourceList{"secrets": resource.MustParse("0")}},
	})
	quota := &corev1.ResourceQuota{}
	if err := w.c.Get(w.t.Context(), client.ObjectKey{Namespace: namespace, Name: "no-secrets"}, quota); err != nil {
		w.t.Fatal(err)
	}
	quota.Status.Hard = quota.Spec.Hard
	quota.Status.Used = corev1.ResourceList{"secrets": resource.MustParse("0")}
	if err := w.c.Status().Update(w.t.Context(), quota); err != nil { // no controller-manager is here to do it
		w.t.Fatal(err)
	}
	mints := w.mints()
	refused := token(namespace, "git")
	w.create(refused)
	got := w.until(refused, "failed", hasReason(v1.ReasonFailed))
	if c := meta.FindStatusCondition(got.Status.Conditions, v1.ConditionReady); !strings.Contains(c.Message, "quota") {
		w.t.Errorf("the condition says %q, want the quota named", c.Message)
	}
	if got := w.mints() - mints; got != 0 {
		w.t.Errorf("%d tokens were minted for a Secret that cannot be made", got)
	}
}

func testConsumersRestart(w *world) {
	w.Grant("restarts", kubernetestest.Fields{"kind": "ServiceAccount", "name": "gatepass-operator", "namespace": w.home})
	w.ApplyText([]byte(`
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: restarts}
rules: [{apiGroups: [apps], resources: [deployments], verbs: [get, patch]}]
`))
	w.run()
	namespace := w.tenant()
	pod := corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "x"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "x", Image: "x"}}},
	}
	w.create(&appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "reader"},
		Spec:       appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "x"}}, Template: pod},
	})
	got := w.ready(token(namespace, "git", func(t *v1.Token) {
		t.Annotations = map[string]string{v1.AnnotationRestart: "reader, missing"}
	}))
	template := func() map[string]string {
		d := &appsv1.Deployment{}
		if err := w.c.Get(w.t.Context(), client.ObjectKey{Namespace: namespace, Name: "reader"}, d); err != nil {
			w.t.Fatal(err)
		}
		return d.Spec.Template.Annotations
	}
	if a := template(); a != nil {
		w.t.Errorf("the first delivery restarted the pods: %v", a)
	}
	w.update(got, func(t *v1.Token) { t.Spec.Permissions["issues"] = "read" })
	w.wait(patience, "another pod template", func() bool { return template()[annotationToken] != "" })
}

func testTwoHundred(w *world) {
	w.run()
	namespace, mints := w.tenant(), w.mints()
	w.createMany(namespace, 200)
	w.wait(3*patience, "all ready", func() bool { time.Sleep(200 * time.Millisecond); return w.notReady(namespace) == 0 })
	if got := w.mints() - mints; got != 200 {
		w.t.Errorf("%d mints for 200 Tokens", got)
	}
}

func testConfigChanges(w *world) {
	config, err := os.ReadFile(w.options.Config)
	if err != nil {
		w.t.Fatal(err)
	}
	w.write(w.options.Config, regexp.MustCompile(`installation_id: .*`).ReplaceAll(config, nil))
	w.run()
	got := token(w.tenant(), "git")
	w.create(got)
	w.until(got, "without an installation", hasReason(v1.ReasonInvalidSpec))
	w.write(w.options.Config, []byte("nonsense: yes\n"))
	w.wait(patience, "a line of the log that says the file is not taken", func() bool { return strings.Contains(w.log.String(), "nonsense") })
	w.write(w.options.Config, config)
	w.until(got, "ready", isReady)
}

// A wrong clock must not make tokens that are dead, or minted over and over.
func testClockAhead(w *world) {
	w.gh.Advance(2 * time.Hour)
	defer w.gh.Advance(-2 * time.Hour)
	w.run()
	before := w.mints()
	got := w.ready(token(w.tenant(), "git"))
	if left := got.Status.InstallationAccessToken.ExpiresAt.Sub(w.gh.Now()); left < 50*time.Minute || left > 70*time.Minute {
		w.t.Errorf("the token ends in %v by GitHub's clock, want an hour", left)
	}
	if left := got.Status.NextRefresh.Sub(w.gh.Now()); left < 20*time.Minute || left > 31*time.Minute {
		w.t.Errorf("the next refresh is in %v by GitHub's clock", left)
	}
	// Tokens of the parts before are over by GitHub's clock. This one is minted once.
	fresh := 0
	for _, t := range w.gh.Tokens() {
		if t.Created.After(w.gh.Now().Add(-time.Minute)) && t.Hash == w.secret(got.Namespace, got.Name).Annotations[annotationToken] {
			fresh++
		}
	}
	if fresh != 1 || w.mints() == before {
		w.t.Errorf("%d tokens of this object live", fresh)
	}
}
