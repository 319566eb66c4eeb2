package operator

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/gatepass/gatepass/operator/api/v1"
	"github.com/gatepass/gatepass/test/kubernetestest"
)

// TestToken is what one operator does, on one cluster.
func TestToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, kubernetestest.Options{})
	w.run()
	for name, test := range map[string]func(*world){
		"a Token becomes a Secret":          testBecomesASecret,
		"a Secret is mended without a mint": testSecretIsMended,
		"deletion revokes and cleans up":    testDeletionRevokes,
		"a rename is made before the break": testRename,
		"another scope revokes the old one": testAnotherScope,
		"somebody else's Secret stays":      testForeignSecret,
		"no policy, no token":               testNoPolicy,
		"suspended":                         testSuspended,
		"a refusal costs GitHub nothing":    testRefusalAsksNobody,
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
	if s.Annotations[v1.AnnotationExpires] == "" || s.Labels[v1.LabelOwnerKind] != "Token" || s.Labels[v1.LabelOwnerName] != "git" || len(s.OwnerReferences) != 1 || s.OwnerReferences[0].UID != got.UID {
		w.t.Errorf("labels %v, annotations %v, owners %v", s.Labels, s.Annotations, s.OwnerReferences)
	}
	status := got.Status
	if status.ManagedSecret == nil || *status.ManagedSecret != (v1.ManagedSecret{Namespace: namespace, Name: "git"}) ||
		status.InstallationAccessToken == nil || time.Until(status.InstallationAccessToken.ExpiresAt.Time) < 50*time.Minute ||
		len(status.Repositories) != 1 || status.Repositories[0] != "acme/widgets" || status.Permissions["contents"] != "read" || status.NextRefresh == nil {
		w.t.Errorf("status = %+v", status)
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
	// What somebody else put there stays.
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
