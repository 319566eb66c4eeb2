package operator_test

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/operator"
	v1 "github.com/gatepass/gatepass/operator/api/v1"
	"github.com/gatepass/gatepass/operator/apps"
	"github.com/gatepass/gatepass/operator/tenant"
	"github.com/gatepass/gatepass/test/fakegithub"
	"github.com/gatepass/gatepass/test/kubernetestest"
	"github.com/gatepass/gatepass/test/testkey"
)

// appKeys are the one that GitHub knows, and another one.
var appKeys = [2]*rsa.PrivateKey{testkey.RSA(2048, 1), testkey.RSA(2048, 2)}

func pkcs1(key *rsa.PrivateKey) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
}

// An appWorld is an API server, the double of GitHub and the controller of Apps.
type appWorld struct {
	*kubernetestest.Cluster
	t            *testing.T
	gh           *fakegithub.Server
	app          fakegithub.App
	installation int64
	c            client.Client
	reconciler   *operator.AppReconciler
	namespace    string

	mu  sync.Mutex // guards log
	log bytes.Buffer
}

func newAppWorld(t *testing.T) *appWorld {
	t.Helper()
	w := &appWorld{Cluster: kubernetestest.New(t), t: t}
	w.Apply("../deploy/crds")
	w.namespace = w.Namespace()
	gh, err := fakegithub.New(fakegithub.Options{RESTOnly: true, Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { gh.Close() })
	w.gh = gh
	w.app, err = gh.AddApp(fakegithub.App{Slug: "gatepass", Keys: []*rsa.PublicKey{&appKeys[0].PublicKey}, Permissions: map[string]string{"contents": "read"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := gh.AddRepository(fakegithub.Repository{Owner: "acme", Name: "widgets"}); err != nil {
		t.Fatal(err)
	}
	in, err := gh.AddInstallation(fakegithub.Installation{AppID: w.app.ID, Account: "acme", RepositorySelection: "all"})
	if err != nil {
		t.Fatal(err)
	}
	w.installation = in.ID
	w.start()
	return w
}

// start runs the controller until the test ends.
func (w *appWorld) start() {
	w.t.Helper()
	logger := funcr.New(func(prefix, args string) {
		w.mu.Lock()
		defer w.mu.Unlock()
		fmt.Fprintln(&w.log, prefix, args)
	}, funcr.Options{Verbosity: 9})
	mgr, err := manager.New(w.RESTConfig(), manager.Options{
		Scheme: operator.Scheme(), Logger: logger, HealthProbeBindAddress: "0", Metrics: metricsserver.Options{BindAddress: "0"},
		Client: client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}}}},
		Cache:  cache.Options{DefaultNamespaces: map[string]cache.Config{w.namespace: {}}}, // others test on the same cluster
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.reconciler = &operator.AppReconciler{
		Client: mgr.GetClient(), Events: mgr.GetEventRecorder("gatepass-operator"),
		Apps: &apps.Registry{Apps: mgr.GetClient(), Secrets: mgr.GetAPIReader(), GitHub: w.gh.URL(), Client: w.gh.Client()},
		Policies: func(ctx context.Context) (*tenant.Policies, error) {
			var list v1.TenantPolicyList
			err := mgr.GetClient().List(ctx, &list)
			return tenant.Compile(list.Items), err
		},
	}
	w.reconciler.Apps.Permit = w.reconciler.Permit
	if err := w.reconciler.SetupWithManager(mgr); err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
	})
	w.c, err = client.New(w.RESTConfig(), client.Options{Scheme: operator.Scheme()})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *appWorld) create(o client.Object) {
	w.t.Helper()
	if err := w.c.Create(w.t.Context(), o); err != nil {
		w.t.Fatal(err)
	}
}

func (w *appWorld) secret(name string, data map[string][]byte) *corev1.Secret {
	w.t.Helper()
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}, Data: data}
	w.create(s)
	return s
}

func (w *appWorld) newApp(name string, spec v1.AppSpec) {
	w.t.Helper()
	w.create(&v1.App{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}, Spec: spec})
}

// withKey is an App whose key is in a Secret of its name.
func (w *appWorld) withKey(name string) v1.AppSpec {
	return v1.AppSpec{AppID: w.app.ID, InstallationID: w.installation, Provider: v1.ProviderSecret, KeyRef: &v1.KeyReference{Name: name}, ValidateKey: true}
}

// wait waits for a condition of an App, and returns the App.
func (w *appWorld) wait(name, kind string, status metav1.ConditionStatus, reason, message string) *v1.App {
	w.t.Helper()
	var app v1.App
	kubernetestest.Wait(w.t, 30*time.Second, fmt.Sprintf("%s of App %s: %s, %s", kind, name, status, reason), func() (bool, any) {
		if err := w.c.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: name}, &app); err != nil {
			return false, err
		}
		c := meta.FindStatusCondition(app.Status.Conditions, kind)
		return c != nil && c.Status == status && c.Reason == reason && strings.Contains(c.Message, message) && c.ObservedGeneration == app.Generation, app.Status
	})
	return &app
}

func (w *appWorld) ref(name string) apps.Ref { return apps.Ref{Namespace: w.namespace, Name: name} }

// mint makes a token with an App.
func (w *appWorld) mint(name string) (*apps.App, error) {
	w.t.Helper()
	app, err := w.reconciler.Apps.Get(w.t.Context(), w.ref(name))
	if err != nil {
		return nil, err
	}
	_, err = app.Mint(w.t.Context(), mint.Grant{
		Installation: app.InstallationID, Repositories: mint.RepositoryNames("widgets"),
		Permissions: mint.PermissionLevels(map[string]string{"contents": "read"}),
	})
	return app, err
}

func TestApps(t *testing.T) {
	w := newAppWorld(t)
	t.Run("GitHub does not answer", func(t *testing.T) { w.t = t; outage(w) })
	t.Run("a key in a Secret", func(t *testing.T) { w.t = t; inASecret(w) })
	t.Run("a Secret of Flux", func(t *testing.T) { w.t = t; fluxSecret(w) })
	t.Run("what is wrong with a Secret", func(t *testing.T) { w.t = t; wrongSecrets(w) })
	t.Run("a key that GitHub refuses", func(t *testing.T) { w.t = t; refusedKey(w) })
	t.Run("a key in a KMS", func(t *testing.T) { w.t = t; inAKMS(w) })
	t.Run("GitHub answers again", func(t *testing.T) {
		w.t = t
		w.wait("three", v1.ConditionReady, metav1.ConditionTrue, v1.ReasonReady, "")
	})
	t.Run("nothing shows a key", func(t *testing.T) { w.t = t; noKeyIsShown(w) })
}

func inASecret(w *appWorld) {
	w.secret("one", map[string][]byte{"private-key.pem": pkcs1(appKeys[0])})
	w.newApp("one", w.withKey("one"))
	w.wait("one", v1.ConditionKeyValid, metav1.ConditionTrue, v1.ReasonReady, "GitHub accepts the key for the App gatepass")
	app := w.wait("one", v1.ConditionReady, metav1.ConditionTrue, v1.ReasonReady, "the App can be used")
	if app.Status.Slug != "gatepass" || app.Status.ObservedGeneration != app.Generation || len(app.Status.Conditions) != 2 {
		w.t.Errorf("status = %+v", app.Status)
	}
	first, err := w.mint("one")
	if err != nil {
		w.t.Fatalf("Mint = %v", err)
	}
	// Nothing is written and GitHub is not asked again while nothing changes.
	asked := w.asked()
	for range 5 {
		if _, err := w.reconciler.Reconcile(w.t.Context(), requestOf(app)); err != nil {
			w.t.Fatal(err)
		}
	}
	after := w.wait("one", v1.ConditionReady, metav1.ConditionTrue, v1.ReasonReady, "")
	if after.ResourceVersion != app.ResourceVersion || w.asked() != asked {
		w.t.Errorf("five reconciles wrote the status or asked GitHub %d times", w.asked()-asked)
	}
	if again, err := w.mint("one"); err != nil || again != first {
		w.t.Errorf("the App is another one although nothing changed: %v", err)
	}
	w.event("one", corev1.EventTypeNormal, v1.ReasonReady)

	if err := w.c.Delete(w.t.Context(), app); err != nil {
		w.t.Fatal(err)
	}
	kubernetestest.Wait(w.t, 10*time.Second, "the App to be gone", func() (bool, any) {
		_, err := w.reconciler.Apps.Get(w.t.Context(), w.ref("one"))
		return err != nil && strings.Contains(err.Error(), "there is no such App; create it, or correct appRef"), err
	})
}

// fluxcd/flux2: "flux create secret githubapp" writes the ids beside the key. External
// Secrets was asked for the same (external-secrets/external-secrets#6955, #5983).
func fluxSecret(w *appWorld) {
	w.secret("flux", map[string][]byte{
		"githubAppID":             []byte(strconv.FormatInt(w.app.ID, 10)),
		"githubAppInstallationID": []byte(strconv.FormatInt(w.installation, 10)),
		"githubAppPrivateKey":     pkcs1(appKeys[0]),
		"githubAppBaseURL":        []byte(w.gh.URL() + "/api/v3"),
	})
	w.newApp("flux", v1.AppSpec{Provider: v1.ProviderSecret, KeyRef: &v1.KeyReference{Name: "flux"}})
	w.wait("flux", v1.ConditionReady, metav1.ConditionTrue, v1.ReasonReady, "the App can be used; its key was not checked at GitHub (validateKey)")
	app, err := w.mint("flux")
	if err != nil || app.InstallationID != w.installation || app.GitHub != w.gh.URL() {
		w.t.Errorf("Mint = %v with %+v", err, app)
	}
}

func wrongSecrets(w *appWorld) {
	for _, c := range []struct {
		name string
		data map[string][]byte
		key  string
		want string
	}{
		{"absent", nil, "", "of keyRef does not exist; create it with the App's private key in private-key.pem or githubAppPrivateKey"},
		{"empty", map[string][]byte{"x": []byte("y")}, "", "has no key private-key.pem or githubAppPrivateKey; put the App's private key there, or name its key in keyRef.key"},
		{"other", map[string][]byte{"private-key.pem": pkcs1(appKeys[0])}, "tls.key", "has no key tls.key"},
		// With such a Secret, github-token-manager read its own files.
		{"path", map[string][]byte{"private-key.pem": []byte("/var/run/secrets/kubernetes.io/serviceaccount/token")}, "", "key private-key.pem of the Secret " + w.namespace + "/path: it has no PEM block; write the private key there as GitHub gives it out"},
		{"url", map[string][]byte{"private-key.pem": []byte("file:///etc/passwd")}, "", "it has no PEM block"},
	} {
		if c.data != nil {
			w.secret(c.name, c.data)
		}
		spec := w.withKey(c.name)
		spec.KeyRef.Key = c.key
		w.newApp(c.name, spec)
		w.wait(c.name, v1.ConditionReady, metav1.ConditionFalse, v1.ReasonAppNotReady, c.want)
		w.wait(c.name, v1.ConditionKeyValid, metav1.ConditionUnknown, v1.ReasonAppNotReady, "")
	}
	w.event("absent", corev1.EventTypeWarning, v1.ReasonAppNotReady)
	w.secret("absent", map[string][]byte{"private-key.pem": pkcs1(appKeys[0])})
	w.wait("absent", v1.ConditionReady, metav1.ConditionTrue, v1.ReasonReady, "")
}

func refusedKey(w *appWorld) {
	s := w.secret("two", map[string][]byte{"private-key.pem": pkcs1(appKeys[1])})
	w.newApp("two", w.withKey("two"))
	const want = "ask GitHub which App this is: GitHub answered 401: A JSON web token could not be decoded; correct the App's ID (appID or clientID), or give it a private key of that App"
	w.wait("two", v1.ConditionKeyValid, metav1.ConditionFalse, v1.ReasonKeyInvalid, want)
	app := w.wait("two", v1.ConditionReady, metav1.ConditionFalse, v1.ReasonKeyInvalid, want)
	if !meta.IsStatusConditionTrue(app.Status.Conditions, v1.ConditionStalled) {
		w.t.Errorf("conditions = %+v, want Stalled", app.Status.Conditions)
	}
	s.Data["private-key.pem"] = pkcs1(appKeys[0])
	if err := w.c.Update(w.t.Context(), s); err != nil {
		w.t.Fatal(err)
	}
	app = w.wait("two", v1.ConditionReady, metav1.ConditionTrue, v1.ReasonReady, "")
	if meta.FindStatusCondition(app.Status.Conditions, v1.ConditionStalled) != nil {
		w.t.Errorf("conditions = %+v, want Stalled gone", app.Status.Conditions)
	}
}

// The operator's cloud identity signs only with keys that a policy allows for that
// namespace. In github-token-manager, every user who could create an App could name any
// key.
func inAKMS(w *appWorld) {
	w.newApp("kms", v1.AppSpec{ClientID: "Iv1.x", Provider: v1.ProviderAWS, Key: "alias/app"})
	w.wait("kms", v1.ConditionReady, metav1.ConditionFalse, v1.ReasonNotPermitted, `add "aws:alias/app" to keys in a TenantPolicy that selects the namespace, or set provider: secret`)
	policy := &v1.TenantPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: w.namespace},
		Spec: v1.TenantPolicySpec{
			Namespaces: v1.NamespaceSelection{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"team": w.namespace}}},
			Keys:       []string{"aws:alias/app"},
		},
	}
	w.create(policy)
	w.t.Cleanup(func() { _ = w.c.Delete(context.Background(), policy) })
	label := func(text string) {
		w.t.Helper()
		w.Call(http.MethodPatch, "/api/v1/namespaces/"+w.namespace, kubernetestest.Fields{"metadata": kubernetestest.Fields{"labels": kubernetestest.Fields{"team": text}}})
	}
	label(w.namespace)
	w.wait("kms", v1.ConditionReady, metav1.ConditionTrue, v1.ReasonReady, "")
	label("another")
	w.wait("kms", v1.ConditionReady, metav1.ConditionFalse, v1.ReasonNotPermitted, "")
	label(w.namespace)
	app := w.wait("kms", v1.ConditionReady, metav1.ConditionTrue, v1.ReasonReady, "")

	app.Spec.Key = "alias/other"
	if err := w.c.Update(w.t.Context(), app); err != nil {
		w.t.Fatal(err)
	}
	app = w.wait("kms", v1.ConditionReady, metav1.ConditionFalse, v1.ReasonNotPermitted, "aws:alias/other")
	app.Spec.Key, app.Spec.GitHubURL = "alias/app", "https://ghes.evil.example"
	if err := w.c.Update(w.t.Context(), app); err != nil {
		w.t.Fatal(err)
	}
	w.wait("kms", v1.ConditionReady, metav1.ConditionFalse, v1.ReasonNotPermitted, "only an App with provider: secret may have another githubURL than the operator")
	if _, err := w.mint("kms"); err == nil {
		w.t.Error("Mint = nil")
	}
}

// An App whose key GitHub cannot be asked about may be used, and is not said to be bad.
func outage(w *appWorld) {
	w.gh.Fail(fakegithub.To("GET", "/app"), fakegithub.Status(502), 1)
	w.secret("three", map[string][]byte{"private-key.pem": pkcs1(appKeys[0])})
	w.newApp("three", w.withKey("three"))
	app := w.wait("three", v1.ConditionReady, metav1.ConditionUnknown, v1.ReasonFailed, "GitHub answered 502: Bad Gateway; the operator tries again by itself")
	if !meta.IsStatusConditionTrue(app.Status.Conditions, v1.ConditionReconciling) {
		w.t.Errorf("conditions = %+v, want Reconciling", app.Status.Conditions)
	}
	if _, err := w.mint("three"); err != nil {
		w.t.Errorf("Mint = %v", err)
	}
}

// github-token-manager wrote raw bytes of Secrets to its log.
func noKeyIsShown(w *appWorld) {
	events := w.Call(http.MethodGet, "/apis/events.k8s.io/v1/namespaces/"+w.namespace+"/events", nil)
	status := w.Call(http.MethodGet, "/apis/gatepass.dev/v1/namespaces/"+w.namespace+"/apps", nil)
	w.mu.Lock()
	defer w.mu.Unlock()
	shown := fmt.Sprint(events, status, w.log.String())
	for _, key := range appKeys {
		lines := strings.Split(string(pkcs1(key)), "\n")
		for _, line := range lines[1 : len(lines)-2] {
			if strings.Contains(shown, line) {
				w.t.Fatal("a private key is in the log, an Event or a status")
			}
		}
	}
	if !strings.Contains(shown, "gatepass") {
		w.t.Error("the log and the Events are empty: this test sees nothing")
	}
}

func requestOf(app *v1.App) (r ctrl.Request) {
	r.Namespace, r.Name = app.Namespace, app.Name
	return r
}

func (w *appWorld) asked() int {
	return w.gh.Count(func(fakegithub.Request) bool { return true })
}

// event waits for an Event about an App.
func (w *appWorld) event(app, kind, reason string) {
	w.t.Helper()
	kubernetestest.Wait(w.t, 10*time.Second, "an Event "+reason+" about "+app, func() (bool, any) {
		var list eventsv1.EventList
		if err := w.c.List(w.t.Context(), &list, client.InNamespace(w.namespace)); err != nil {
			return false, err
		}
		for _, e := range list.Items {
			if e.Regarding.Name == app && e.Type == kind && e.Reason == reason && e.Note != "" {
				return true, nil
			}
		}
		return false, list.Items
	})
}
