package apps

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/gatepass/gatepass/operator/api/v1"
	"github.com/gatepass/gatepass/test/kubernetestest"
)

// counted counts the reads of a real API server.
type counted struct {
	client.Reader
	reads atomic.Int64
}

// Get implements client.Reader.
func (c *counted) Get(ctx context.Context, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
	c.reads.Add(1)
	return c.Reader.Get(ctx, key, o, options...)
}

// A clusterWorld is a world whose Apps are objects of a real API server.
type clusterWorld struct {
	*world
	t         *testing.T
	c         client.Client
	namespace string
	secrets   *counted
	passed    time.Duration // on the registry's clock
	object    *v1.App
	key       *corev1.Secret
}

func newClusterWorld(t *testing.T) *clusterWorld {
	t.Helper()
	cluster := kubernetestest.New(t)
	cluster.Apply("../../deploy/crds")
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	c, err := client.New(cluster.RESTConfig(), client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	w := &clusterWorld{world: newWorld(t), t: t, c: c, namespace: cluster.Namespace(), secrets: &counted{Reader: c}}
	w.registry.Apps, w.registry.Secrets = c, w.secrets
	w.registry.Now = func() time.Time { return time.Now().Add(w.passed) }
	meta := metav1.ObjectMeta{Namespace: w.namespace, Name: "one"}
	w.key = &corev1.Secret{ObjectMeta: meta, Data: map[string][]byte{"private-key.pem": pemText(keys[0])}}
	w.object = &v1.App{ObjectMeta: meta, Spec: v1.AppSpec{ClientID: w.app.ClientID, Provider: v1.ProviderSecret, KeyRef: &v1.KeyReference{Name: "one"}}}
	w.do(c.Create(t.Context(), w.key), c.Create(t.Context(), w.object))
	return w
}

func (w *clusterWorld) do(errs ...error) {
	w.t.Helper()
	if err := errors.Join(errs...); err != nil {
		w.t.Fatal(err)
	}
}

func (w *clusterWorld) get() *App {
	w.t.Helper()
	app, err := w.registry.Get(w.t.Context(), Ref{w.namespace, "one"})
	w.do(err)
	return app
}

// refused checks that Get refuses the App, and why.
func (w *clusterWorld) refused(reason, message string) {
	w.t.Helper()
	_, err := w.registry.Get(w.t.Context(), Ref{w.namespace, "one"})
	if e, ok := errors.AsType[*NotReady](err); !ok || e.Reason != reason || !strings.Contains(e.Message, message) {
		w.t.Errorf("Get = %v, want %s: %s", err, reason, message)
	}
}

// The reads of a Secret are few, and what it said is never believed for long.
func TestAppsAsObjects(t *testing.T) {
	w := newClusterWorld(t)
	first := w.get()
	for range 100 {
		if w.get() != first {
			t.Fatal("another App although nothing changed")
		}
	}
	if n := w.secrets.reads.Load(); n != 1 {
		t.Errorf("the Secret is read %d times at once, want 1", n)
	}
	if _, err := first.Mint(t.Context(), w.grant()); err != nil {
		t.Fatal(err)
	}

	w.passed += keyLife
	if w.get() != first || w.secrets.reads.Load() != 2 {
		t.Errorf("a minute later the Secret was read %d times, want twice, for the same App", w.secrets.reads.Load())
	}
	w.key.Data["private-key.pem"] = pemText(keys[1])
	w.do(w.c.Update(t.Context(), w.key))
	w.passed += keyLife
	second := w.get()
	if second == first {
		t.Error("the same App although its key changed a minute ago")
	}

	w.object.Spec.InstallationID, w.object.Spec.ValidateKey = w.installation, true
	w.do(w.c.Update(t.Context(), w.object))
	third := w.get()
	if third.InstallationID != w.installation || !third.ValidateKey || third.accounts != second.accounts {
		t.Errorf("Get after a change of the spec = %+v, want it at once, with what is known of accounts", third)
	}

	w.do(w.c.Delete(t.Context(), w.key))
	w.passed += keyLife
	w.refused(v1.ReasonAppNotReady, "of keyRef does not exist")
	w.key.ResourceVersion, w.key.UID = "", ""
	w.do(w.c.Create(t.Context(), w.key))
	w.refused(v1.ReasonAppNotReady, "of keyRef does not exist")
	w.passed += readAgain
	if w.get() != third {
		t.Error("another App although the Secret that is back says the same")
	}

	w.do(w.c.Delete(t.Context(), w.object))
	if _, err := w.registry.Get(t.Context(), Ref{w.namespace, "one"}); !errors.Is(err, ErrNotFound) {
		t.Errorf("Get of a deleted App = %v, want %v", err, ErrNotFound)
	}
	if len(w.registry.entries) != 0 {
		t.Error("a deleted App is remembered")
	}
}

// An App of another namespace does not lead to this one's Secrets, and none leads to the
// operator's.
func TestASecretOfAnotherNamespace(t *testing.T) {
	w := newClusterWorld(t)
	w.object.ResourceVersion, w.object.Namespace = "", "default"
	w.object.Name = w.namespace // which no other test uses
	w.do(w.c.Create(t.Context(), w.object))
	t.Cleanup(func() { _ = w.c.Delete(context.Background(), w.object) })
	_, err := w.registry.Get(t.Context(), Ref{"default", w.namespace})
	if err == nil || !strings.Contains(err.Error(), "the Secret default/one of keyRef does not exist") {
		t.Errorf("Get = %v, want that the Secret is not there", err)
	}
}

// The operator's identity signs for nothing that the policies do not allow, and without
// policies for nothing at all. It is asked each time: a policy may narrow.
func TestPermit(t *testing.T) {
	w := newClusterWorld(t)
	w.object.Spec = v1.AppSpec{ClientID: "Iv1.x", Provider: v1.ProviderAWS, Key: "alias/app"}
	w.do(w.c.Update(t.Context(), w.object))
	w.refused(v1.ReasonNotPermitted, "the operator has no policies; provider")
	var denied error
	w.registry.Permit = func(_ context.Context, app *v1.App) (error, error) {
		if app.Spec.Key != "alias/app" || app.Namespace != w.namespace {
			t.Errorf("Permit is asked about %+v", app)
		}
		return denied, nil
	}
	if app := w.get(); app.Provider != v1.ProviderAWS || app.Key != "alias/app" {
		t.Errorf("Get = %+v", app)
	}
	denied = errors.New("a policy\nsays no")
	w.refused(v1.ReasonNotPermitted, `a policy\nsays no`)
	failure := errors.New("the policies cannot be read")
	w.registry.Permit = func(context.Context, *v1.App) (error, error) { return nil, failure }
	if _, err := w.registry.Get(t.Context(), Ref{w.namespace, "one"}); !errors.Is(err, failure) {
		t.Errorf("Get = %v, want %v", err, failure)
	}
}

// The JWT of an App whose key the operator's identity signs with goes to the operator's
// GitHub alone: another server would get what opens the App there.
func TestAnotherGitHubNeedsItsOwnKey(t *testing.T) {
	w := newClusterWorld(t)
	w.registry.Permit = func(context.Context, *v1.App) (error, error) { return nil, nil }
	w.object.Spec.GitHubURL = "https://ghes.example"
	w.do(w.c.Update(t.Context(), w.object))
	if app := w.get(); app.URL != "https://ghes.example/api/v3" || app.Host != "ghes.example" {
		t.Errorf("Get = %+v, want the App's own GitHub", app)
	}
	for _, url := range []string{"https://ghes.example", "https://github.com", "https://github.test:444", "https://GITHUB.test.evil.example"} {
		w.object.Spec = v1.AppSpec{ClientID: "Iv1.x", Provider: v1.ProviderAWS, Key: "alias/app", GitHubURL: url}
		w.do(w.c.Update(t.Context(), w.object))
		w.refused(v1.ReasonAppNotReady, fmt.Sprintf("githubURL %s: provider aws signs with the operator's identity, for https://github.test only", url))
	}
	w.object.Spec.GitHubURL = "https://GitHub.test/"
	w.do(w.c.Update(t.Context(), w.object))
	if app := w.get(); app.GitHub != "https://github.test" || app.URL != "https://github.test/api/v3" {
		t.Errorf("Get = %+v, want the operator's GitHub", app)
	}
}
