package operator

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gatepass/gatepass/credential"
	v1 "github.com/gatepass/gatepass/operator/api/v1"
	"github.com/gatepass/gatepass/test/fakegithub"
	"github.com/gatepass/gatepass/test/kubernetestest"
	"github.com/gatepass/gatepass/test/testkey"
)

var key = testkey.RSA(2048, 0)

// A world is a cluster and the double of GitHub, with an App that is installed on acme.
type world struct {
	*kubernetestest.Cluster
	t            *testing.T
	gh           *fakegithub.Server
	app          fakegithub.App
	installation int64
	c            client.Client // of the user who may do everything
	home         string        // the operator's namespace
	options      Options
	log          *lockedBuffer
}

type lockedBuffer struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// tail is the end of the log, for a failure.
func (b *lockedBuffer) tail() string {
	text := b.String()
	return text[max(0, len(text)-3000):]
}

// newWorld starts a cluster and a double; the operator is started by run. It runs as the
// service account of the roles in deploy/rbac.
func newWorld(t *testing.T, o kubernetestest.Options) *world {
	t.Helper()
	return newWorldAt(t, o, fakegithub.Options{})
}

// newWorldAt has a double with options of its own.
func newWorldAt(t *testing.T, o kubernetestest.Options, github fakegithub.Options) *world {
	t.Helper()
	o.Parallel = true // each test names its kubeconfig
	w := &world{Cluster: kubernetestest.Start(t, o), t: t, home: "gatepass", log: &lockedBuffer{}}
	github.RESTOnly, github.Root = true, t.TempDir()
	gh, err := fakegithub.New(github)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { gh.Close() })
	w.gh = gh
	w.app, err = gh.AddApp(fakegithub.App{Slug: "gatepass", Keys: []*rsa.PublicKey{&key.PublicKey}, Permissions: map[string]string{"contents": "write", "issues": "write", "metadata": "read"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"widgets", "gadgets"} {
		if _, err := gh.AddRepository(fakegithub.Repository{Owner: "acme", Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	in, err := gh.AddInstallation(fakegithub.Installation{AppID: w.app.ID, Account: "acme", RepositorySelection: "all"})
	if err != nil {
		t.Fatal(err)
	}
	w.installation = in.ID
	w.c, err = client.New(w.RESTConfig(), client.Options{Scheme: Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	w.install()
	return w
}

// install puts CRDs and roles into the cluster, as the chart does, and a policy that
// allows namespaces with the label tenant everything of acme.
func (w *world) install() {
	w.t.Helper()
	w.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.home}})
	w.Apply("../deploy/crds", "../deploy/rbac")
	w.Grant("gatepass-operator", kubernetestest.Fields{"kind": "ServiceAccount", "name": "gatepass-operator", "namespace": w.home})
	w.ApplyText([]byte(fmt.Sprintf(`
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: gatepass-operator, namespace: %[1]s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: gatepass-operator}
subjects: [{kind: ServiceAccount, name: gatepass-operator, namespace: %[1]s}]
`, w.home)))
	w.create(&v1.TenantPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "all"},
		Spec: v1.TenantPolicySpec{
			Namespaces: v1.NamespaceSelection{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"tenant": "yes"}}},
			Apps:       []string{"default"}, Owners: []string{"acme"}, Repositories: []string{"acme/*"},
			Permissions: map[string]v1.PermissionLevel{"contents": "write", "issues": "write", "metadata": "read"},
		},
	})
	dir := w.t.TempDir()
	w.write(filepath.Join(dir, "private.key"), pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
	config := filepath.Join(dir, "gatepass.yaml")
	w.write(config, []byte(fmt.Sprintf("app_id: %d\ninstallation_id: %d\nprovider: file\nkey: %s\n", w.app.ID, w.installation, filepath.Join(dir, "private.key"))))
	w.options = Options{
		Kubeconfig: w.KubeconfigAs(w.home, "gatepass-operator"), Config: config, Namespace: w.home, GitHub: w.gh.URL(),
		MetricsAddress: "0", ProbeAddress: "0", WebhookFailurePolicy: "Ignore", HTTP: w.gh.Client(),
	}
}

func (w *world) write(path string, text []byte) {
	w.t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// run starts an operator and returns what stops it. Its log never shows a token.
func (w *world) run() (stop func()) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	options := w.options
	options.Metrics = prometheus.NewRegistry()
	go func() {
		done <- Run(ctx, options, func(string) string { return "" }, slog.New(slog.NewJSONHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug - 10})))
	}()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			select {
			case err := <-done:
				if err != nil {
					w.t.Errorf("the operator ended: %v", err)
				}
			case <-time.After(40 * time.Second):
				w.t.Error("the operator does not end")
			}
			if strings.Contains(w.log.String(), "ghs_") {
				w.t.Error("the log shows a token")
			}
		})
	}
	w.t.Cleanup(stop)
	return stop
}

func (w *world) create(o client.Object) {
	w.t.Helper()
	if err := w.c.Create(w.t.Context(), o); err != nil {
		w.t.Fatal(err)
	}
}

// tenant makes a namespace that the policy selects.
func (w *world) tenant() string {
	w.t.Helper()
	name := "t" + fmt.Sprint(time.Now().UnixNano())
	w.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"tenant": "yes"}}})
	return name
}

// token is one for acme/widgets, to be created.
func token(namespace, name string, change ...func(*v1.Token)) *v1.Token {
	t := &v1.Token{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: v1.TokenSpec{Access: v1.Access{
			Repositories: []string{"widgets"}, Permissions: map[string]v1.PermissionLevel{"contents": "read"},
		}},
	}
	for _, c := range change {
		c(t)
	}
	return t
}

const patience = 2 * time.Minute // at a load of 20

// until waits for a Token to be as it should.
func (w *world) until(t *v1.Token, what string, is func(*v1.Token) bool) *v1.Token {
	w.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		got := &v1.Token{}
		err := w.c.Get(w.t.Context(), client.ObjectKeyFromObject(t), got)
		if err == nil && is(got) {
			return got
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("Token %s is not %s after %v: %v\nstatus: %+v\nlog: %s", t.Name, what, patience, err, got.Status, w.log.tail())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func isReady(t *v1.Token) bool {
	return meta.IsStatusConditionTrue(t.Status.Conditions, v1.ConditionReady) && t.Status.ObservedGeneration == t.Generation
}

func hasReason(reason string) func(*v1.Token) bool {
	return func(t *v1.Token) bool {
		c := meta.FindStatusCondition(t.Status.Conditions, v1.ConditionReady)
		return c != nil && c.Reason == reason && c.ObservedGeneration == t.Generation
	}
}

// ready creates a Token and waits until its Secret holds a token.
func (w *world) ready(t *v1.Token) *v1.Token {
	w.t.Helper()
	w.create(t)
	return w.until(t, "ready", isReady)
}

func (w *world) secret(namespace, name string) *corev1.Secret {
	w.t.Helper()
	s := &corev1.Secret{}
	if err := w.c.Get(w.t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, s); err != nil {
		return nil
	}
	return s
}

// wait waits for a condition.
func (w *world) wait(within time.Duration, what string, is func() bool) {
	w.t.Helper()
	kubernetestest.Wait(w.t, within, what, func() (bool, any) { return is(), nil })
}

func (w *world) mints() int { return w.gh.Count(isMint) }

func isMint(r fakegithub.Request) bool {
	return r.Method == "POST" && strings.HasSuffix(r.Path, "/access_tokens") && r.Status == 201
}

// lives reports that GitHub knows a token.
func (w *world) lives(text string) bool {
	hash := credential.NewToken(text, time.Now()).Hash()
	for _, t := range w.gh.Tokens() {
		if t.Hash == hash {
			return true
		}
	}
	return false
}

func (w *world) update(t *v1.Token, change func(*v1.Token)) {
	w.t.Helper()
	before := t.DeepCopy()
	change(t)
	if err := w.c.Patch(w.t.Context(), t, client.MergeFrom(before)); err != nil {
		w.t.Fatal(err)
	}
}
