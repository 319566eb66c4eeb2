package operator

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/gatepass/gatepass/operator/api/v1"
	"github.com/gatepass/gatepass/test/kubernetestest"
)

// TestToken is what one operator does, on one cluster.
func TestToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, kubernetestest.Options{})
	early := w.areInProgressAtFirst()
	w.run()
	for _, object := range early { // so that the tests below do not count their mints
		w.wait(patience, "decided", func() bool { return w.kstatus(object) != status.InProgressStatus })
	}
	for name, test := range map[string]func(*world){
		"a Token becomes a Secret":          testBecomesASecret,
		"a Secret is mended without a mint": testSecretIsMended,
		"deletion revokes and cleans up":    testDeletionRevokes,
		"a rename is made before the break": testRename,
		"another scope revokes the old one": testAnotherScope,
		"an immutable Secret is replaced":   testImmutable,
		"no GitOps tool prunes a Secret":    testNotPruned,
		"somebody else's Secret stays":      testForeignSecret,
		"no policy, no token":               testNoPolicy,
		"suspended":                         testSuspended,
		"a refusal costs GitHub nothing":    testRefusalAsksNothing,
		"a condition names the fix":         testConditionNamesTheFix,
	} {
		t.Run(name, func(t *testing.T) {
			sub := *w
			sub.t = t
			test(&sub)
		})
	}
}

func testBecomesASecret(w *world) {
	namespace := w.tenant()
	got := w.ready(token(namespace, "git"))
	s := w.secret(namespace, "git")
	if s == nil || s.Type != v1.SecretTypeToken || !w.lives(string(s.Data["token"])) {
		w.t.Fatalf("Secret = %+v, want a token that lives", s)
	}
	if got := w.kstatus(got); got != status.CurrentStatus {
		w.t.Errorf("kstatus is %s, want Current", got)
	}
	if s.Annotations[v1.AnnotationExpires] == "" || s.Labels[v1.LabelOwnerKind] != "Token" || s.Labels[v1.LabelOwnerName] != "git" || len(s.OwnerReferences) != 1 || s.OwnerReferences[0].UID != got.UID {
		w.t.Errorf("labels %v, annotations %v, owners %v", s.Labels, s.Annotations, s.OwnerReferences)
	}
	is := got.Status
	if is.ManagedSecret == nil || *is.ManagedSecret != (v1.ManagedSecret{Namespace: namespace, Name: "git"}) ||
		is.InstallationAccessToken == nil || time.Until(is.InstallationAccessToken.ExpiresAt.Time) < 50*time.Minute ||
		len(is.Repositories) != 1 || is.Repositories[0] != "acme/widgets" || is.Permissions["contents"] != "read" || is.NextRefresh == nil {
		w.t.Errorf("status = %+v", is)
	}
}

func testSecretIsMended(w *world) {
	namespace := w.tenant()
	w.ready(token(namespace, "git", func(t *v1.Token) { t.Spec.Secret.Labels = map[string]string{"team": "a"} }))
	original, mints := w.secret(namespace, "git"), w.mints()
	whole := func() bool {
		s := w.secret(namespace, "git")
		return s != nil && string(s.Data["token"]) == string(original.Data["token"]) && s.Labels["team"] == "a" && s.Labels[v1.LabelOwnerKind] == "Token" && len(s.OwnerReferences) == 1
	}
	for what, harm := range map[string]string{
		"data":   `{"data":{"token":"eA=="}}`,
		"labels": `{"metadata":{"labels":null}}`,
		"owner":  `{"metadata":{"ownerReferences":null}}`,
		"both":   `{"metadata":{"labels":{"team":"b"},"ownerReferences":null}}`,
	} {
		if err := w.c.Patch(w.t.Context(), w.secret(namespace, "git"), client.RawPatch(types.MergePatchType, []byte(harm))); err != nil {
			w.t.Fatal(err)
		}
		w.wait(patience, "the Secret whole after harm to its "+what, whole)
	}
	if err := w.c.Delete(w.t.Context(), w.secret(namespace, "git")); err != nil {
		w.t.Fatal(err)
	}
	w.wait(patience, "the Secret back after its deletion", whole)
	// Additions of other writers stay.
	foreign := `{"metadata":{"labels":{"theirs":"x"}},"data":{"theirs":"eA=="}}`
	if err := w.c.Patch(w.t.Context(), w.secret(namespace, "git"), client.RawPatch(types.MergePatchType, []byte(foreign))); err != nil {
		w.t.Fatal(err)
	}
	if err := w.c.Patch(w.t.Context(), w.secret(namespace, "git"), client.RawPatch(types.MergePatchType, []byte(`{"data":{"token":"eA=="}}`))); err != nil {
		w.t.Fatal(err)
	}
	w.wait(patience, "the Secret whole again", whole)
	if s := w.secret(namespace, "git"); s.Labels["theirs"] != "x" || string(s.Data["theirs"]) != "x" {
		w.t.Errorf("somebody else's label or key is gone: %v, %v", s.Labels, s.Data)
	}
	if got := w.mints(); got != mints {
		w.t.Errorf("%d tokens were minted to mend a Secret, want none", got-mints)
	}
}

func testDeletionRevokes(w *world) {
	namespace := w.tenant()
	got := w.ready(token(namespace, "git"))
	text := string(w.secret(namespace, "git").Data["token"])
	if err := w.c.Delete(w.t.Context(), got); err != nil {
		w.t.Fatal(err)
	}
	w.wait(patience, "the token revoked and the Secret gone", func() bool { return !w.lives(text) && w.secret(namespace, "git") == nil })
	w.wait(patience, "the record gone", func() bool { return w.secret(w.home, "gatepass-record-"+string(got.UID)) == nil })
}

// The model system deleted the working Secret before it minted the next token.
func testRename(w *world) {
	namespace := w.tenant()
	got := w.ready(token(namespace, "git"))
	text, mints := string(w.secret(namespace, "git").Data["token"]), w.mints()
	w.update(got, func(t *v1.Token) { t.Spec.Secret.Name = "other" })
	w.wait(patience, "the Secret under its new name, and the old one gone", func() bool {
		s := w.secret(namespace, "other")
		return s != nil && string(s.Data["token"]) == text && w.secret(namespace, "git") == nil
	})
	w.update(w.until(got, "ready", isReady), func(t *v1.Token) { t.Spec.Secret.BasicAuth = true })
	gap := time.Duration(0)
	missing := time.Time{}
	w.wait(patience, "the Secret of another type", func() bool {
		s := w.secret(namespace, "other")
		switch {
		case s == nil && missing.IsZero():
			missing = time.Now()
		case s != nil && !missing.IsZero():
			gap, missing = time.Since(missing), time.Time{}
		}
		return s != nil && s.Type == v1.SecretTypeBasicAuth && string(s.Data["password"]) == text && s.Data["token"] == nil
	})
	w.t.Logf("without a Secret for %v while its type changed", gap.Round(time.Millisecond))
	if w.mints() != mints {
		w.t.Errorf("%d tokens were minted for a name and a type", w.mints()-mints)
	}
}

func testAnotherScope(w *world) {
	namespace := w.tenant()
	got := w.ready(token(namespace, "git"))
	text := string(w.secret(namespace, "git").Data["token"])
	w.update(got, func(t *v1.Token) { t.Spec.Repositories = []string{"gadgets"} })
	w.wait(patience, "another token in the Secret, and the old one revoked", func() bool {
		s := w.secret(namespace, "git")
		return s != nil && string(s.Data["token"]) != text && !w.lives(text)
	})
	w.until(got, "ready with the other repository", func(t *v1.Token) bool {
		return isReady(t) && len(t.Status.Repositories) == 1 && t.Status.Repositories[0] == "acme/gadgets"
	})
}

// External Secrets wrote to immutable Secrets for ever, and failed
// (external-secrets/external-secrets#3604, #3920).
func testImmutable(w *world) {
	namespace := w.tenant()
	got := w.ready(token(namespace, "git"))
	before := w.secret(namespace, "git")
	if err := w.c.Patch(w.t.Context(), before, client.RawPatch(types.MergePatchType, []byte(`{"immutable":true,"data":{"theirs":"eA=="}}`))); err != nil {
		w.t.Fatal(err)
	}
	w.update(got, func(t *v1.Token) { t.Spec.Repositories = []string{"gadgets"} })
	var missing time.Time
	w.wait(patience, "another token in the Secret", func() bool {
		time.Sleep(10 * time.Millisecond)
		s := w.secret(namespace, "git")
		if s == nil && missing.IsZero() {
			missing = time.Now()
		}
		return s != nil && s.UID != before.UID && string(s.Data["token"]) != string(before.Data["token"]) && string(s.Data["theirs"]) == "x"
	})
	if !missing.IsZero() {
		w.t.Logf("without a Secret for %v", time.Since(missing).Round(time.Millisecond))
	}
	if !missing.IsZero() && time.Since(missing) > 2*time.Second { // 200 ms on an idle machine
		w.t.Errorf("without a Secret for %v", time.Since(missing))
	}
}

// Argo CD and Flux delete what has their labels and is not in git, unless an object that
// they know owns it (1Password/onepassword-operator#96, argoproj/argo-cd#5792). What the
// operator writes has its owner from the first write on, and none of the Token's labels.
func testNotPruned(w *world) {
	namespace := w.tenant()
	c, err := client.NewWithWatch(w.RESTConfig(), client.Options{Scheme: Scheme()})
	if err != nil {
		w.t.Fatal(err)
	}
	seen, err := c.Watch(w.t.Context(), &corev1.SecretList{}, client.InNamespace(namespace))
	if err != nil {
		w.t.Fatal(err)
	}
	defer seen.Stop()
	got := w.ready(token(namespace, "git", func(t *v1.Token) {
		t.Labels = map[string]string{"app.kubernetes.io/instance": "argo", "kustomize.toolkit.fluxcd.io/name": "flux"}
		t.Annotations = map[string]string{"argocd.argoproj.io/tracking-id": "argo:gatepass.dev/Token:x/git"}
	}))
	w.update(got, func(t *v1.Token) { t.Spec.Secret.BasicAuth = true })
	late := time.After(patience)
	for versions := 0; ; {
		select {
		case e := <-seen.ResultChan():
			s, ok := e.Object.(*corev1.Secret)
			if !ok {
				w.t.Fatalf("the watch ended: %v", e.Object)
			}
			versions++
			if len(s.OwnerReferences) != 1 || s.Labels["app.kubernetes.io/instance"]+s.Labels["kustomize.toolkit.fluxcd.io/name"]+s.Annotations["argocd.argoproj.io/tracking-id"] != "" {
				w.t.Errorf("%s at %s: owners %v, labels %v, annotations %v", e.Type, s.ResourceVersion, s.OwnerReferences, s.Labels, s.Annotations)
			}
			if s.Type != v1.SecretTypeBasicAuth {
				continue
			}
			if versions < 3 {
				w.t.Errorf("%d versions of the Secret were seen, want its creation, deletion and successor", versions)
			}
			return
		case <-late:
			w.t.Fatal("no Secret of the other type was seen")
		}
	}
}

func testForeignSecret(w *world) {
	namespace := w.tenant()
	w.ApplyText([]byte("{apiVersion: v1, kind: Secret, metadata: {name: git, namespace: " + namespace + "}, stringData: {password: theirs}}"))
	before, mints := w.secret(namespace, "git"), w.mints()
	got := token(namespace, "git")
	w.create(got)
	w.until(got, "in conflict", hasReason(v1.ReasonSecretConflict))
	if s := w.secret(namespace, "git"); s.ResourceVersion != before.ResourceVersion || w.mints() != mints {
		w.t.Errorf("somebody else's Secret was changed, or %d tokens minted", w.mints()-mints)
	}
	adopt := `{"metadata":{"annotations":{"` + v1.AnnotationAdopt + `":"` + namespace + `/git"}}}`
	if err := w.c.Patch(w.t.Context(), before, client.RawPatch(types.MergePatchType, []byte(adopt))); err != nil {
		w.t.Fatal(err)
	}
	w.update(got, func(t *v1.Token) { t.Annotations = map[string]string{"look": "again"} })
	w.until(got, "ready", isReady)
	if s := w.secret(namespace, "git"); string(s.Data["password"]) != "theirs" || s.Data["token"] == nil {
		w.t.Errorf("after adoption: %v, want the token beside their key", s.Data)
	}
}

// In the model system a bare Token in any namespace got everything.
func testNoPolicy(w *world) {
	w.create(token("default", "git"))
	w.until(token("default", "git"), "refused", hasReason(v1.ReasonNotPermitted))
	namespace := w.tenant()
	wide := token(namespace, "wide", func(t *v1.Token) {
		t.Spec.Permissions, t.Spec.AllPermissions = nil, true
	})
	w.create(wide)
	w.until(wide, "refused", hasReason(v1.ReasonNotPermitted))
	if got := w.kstatus(wide); got != status.FailedStatus {
		w.t.Errorf("kstatus is %s, want Failed", got)
	}
	if w.secret(namespace, "wide") != nil || w.secret("default", "git") != nil {
		w.t.Error("a Secret was made")
	}
}

func testSuspended(w *world) {
	namespace := w.tenant()
	got := w.ready(token(namespace, "git"))
	text := string(w.secret(namespace, "git").Data["token"])
	w.update(got, func(t *v1.Token) { t.Spec.Suspend = true })
	w.until(got, "suspended", hasReason(v1.ReasonSuspended))
	if w.lives(text) || w.secret(namespace, "git") != nil {
		w.t.Error("the token lives, or the Secret is there")
	}
	w.update(w.until(got, "suspended", hasReason(v1.ReasonSuspended)), func(t *v1.Token) { t.Spec.Suspend = false })
	w.until(got, "ready", isReady)
}
