// Package webhook refuses Tokens, ClusterTokens and Apps that no TenantPolicy allows
// when they are written, instead of minutes later in a condition.
//
// It is a convenience, not a security boundary: the controllers check again with
// package tenant before every mint. So by default the API server accepts writes while
// the webhook is unavailable (failurePolicy Ignore).
//
// It manages its own certificates. All replicas share an authority in a Secret, and
// each replica makes a serving certificate from it in memory. The operator writes its
// own ValidatingWebhookConfiguration, with the authorities that the API server must
// trust. An authority is replaced long before it expires; for a while both are trusted.
package webhook

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/gatepass/gatepass/internal/usererr"
)

// Name is the name of the ValidatingWebhookConfiguration.
const Name = "gatepass-operator"

// SecretName is the name of the Secret that holds the authority, in the operator's
// namespace.
const SecretName = "gatepass-operator-webhook"

// Manager is the field manager of the configuration.
const Manager = client.FieldOwner("gatepass-operator-webhook")

// path is the URL path that the API server calls.
const path = "/validate"

// Options configure a webhook. Client, Reader, Namespace, BindAddress and one of
// Service and URL are required.
type Options struct {
	// Client reads and writes the Secret and the configuration. It must not cache.
	Client client.Client

	// Reader reads policies, namespaces and Apps. Use the manager's cache.
	Reader client.Reader

	// Namespace is the operator's namespace.
	Namespace string

	// BindAddress is the address to listen on: HOST:PORT or :PORT.
	BindAddress string

	// Service is the name of the Service in Namespace through which the API server
	// reaches BindAddress. Its port is 443.
	Service string

	// URL is the address for an API server that cannot reach Services:
	// https://HOST:PORT.
	URL string

	// WatchNamespaces are the only namespaces whose objects are sent to the webhook;
	// empty means all. ClusterTokens have no namespace and are always sent.
	WatchNamespaces []string

	// Fail makes the API server refuse writes while it cannot reach the webhook. By
	// default it accepts them.
	Fail bool

	// ClusterRole names a role that is deleted when the operator is uninstalled; the
	// configuration is deleted with it. If it is empty, or the role does not exist,
	// nothing deletes the configuration.
	ClusterRole string

	// GitHubURL is the operator's GitHub; "" means https://github.com.
	GitHubURL string

	Log logr.Logger
}

// A Webhook answers the API server's admission reviews, and maintains its certificate
// and its configuration. Create it with [New].
type Webhook struct {
	options Options
	host    string // where the server listens
	port    int
	timing  timing
	now     func() time.Time

	known  authorities // found by the latest look; only Start uses it
	logged string      // the latest logged problem; only Start uses it

	mu      sync.Mutex // guards the rest
	serving *tls.Certificate
	trusted []byte // authorities in PEM, as last written to the API server's configuration
	problem error  // why the webhook is not ready
}

// New returns a webhook that serves once it is started.
func New(o Options) (*Webhook, error) {
	if o.Client == nil || o.Reader == nil || o.Namespace == "" || (o.Service == "") == (o.URL == "") {
		return nil, errors.New("start the webhook: Client, Reader, Namespace and one of Service and URL are needed")
	}
	host, text, err := net.SplitHostPort(o.BindAddress)
	port, err2 := strconv.Atoi(text)
	if err != nil || err2 != nil || port < 1 || port > 65535 {
		return nil, usererr.New("start the webhook", fmt.Sprintf("%q is not an address to listen on", o.BindAddress), "write --webhook-bind-address as :PORT")
	}
	w := &Webhook{options: o, host: host, port: port, timing: defaultTiming, now: time.Now}
	w.problem = errors.New("the webhook has not answered its own call yet")
	if _, err := w.name(); err != nil {
		return nil, err
	}
	return w, nil
}

// NeedLeaderElection returns false: every replica serves.
func (w *Webhook) NeedLeaderElection() bool { return false }

// Ready returns nil once the webhook answered a call that was verified with the
// authorities that the API server trusts. It is meant for /readyz.
func (w *Webhook) Ready(*http.Request) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.problem
}

// Start serves until some seconds after the context ends: the API server goes on
// calling until it learns that the pod is ending. Start returns an error only if it
// cannot listen. It logs a failed read or write once, and retries it.
func (w *Webhook) Start(ctx context.Context) error {
	server := w.server()
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	context.AfterFunc(ctx, func() { time.AfterFunc(w.timing.drainTime, stop) })
	var failed error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		failed = server.Start(serving)
	}()
	for {
		if ctx.Err() == nil {
			w.check(ctx)
		}
		wait := w.timing.checkEvery
		if w.Ready(nil) != nil {
			wait = min(wait, time.Second)
		}
		select {
		case <-ended:
			return failed
		case <-time.After(wait):
		}
	}
}

func (w *Webhook) server() webhook.Server {
	server := webhook.NewServer(webhook.Options{
		Host: w.host, Port: w.port,
		TLSOpts: []func(*tls.Config){func(c *tls.Config) {
			c.MinVersion = tls.VersionTLS13
			// HTTP/2 would let one connection open many streams, and the API server
			// gains nothing from it here.
			c.NextProtos = []string{"http/1.1"}
			c.GetCertificate = w.certificate
		}},
	})
	server.Register(path, &admission.Webhook{Handler: w.validator()})
	return server
}

// certificate implements GetCertificate of tls.Config.
func (w *Webhook) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.serving == nil {
		return nil, errors.New("the webhook has no certificate yet")
	}
	return w.serving, nil
}

// check updates the certificate and the configuration, and calls the webhook itself. It
// logs a problem if it is new. A webhook that worked stays ready while the API server
// is unreachable, because it can still answer from its cache.
func (w *Webhook) check(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	failed := w.refresh(limited)
	called := w.selfTest(limited)
	if ctx.Err() != nil {
		return
	}
	wasReady := w.Ready(nil) == nil
	isReady := called == nil && (failed == nil || wasReady)
	problem := usererr.Join(failed, called)
	w.mu.Lock()
	w.problem = problem
	if isReady {
		w.problem = nil
	}
	w.mu.Unlock()

	w.report(problem)
	if isReady && !wasReady {
		w.options.Log.Info("the webhook is ready; if the API server cannot call it (context deadline exceeded), check firewalls and network policies between them",
			"address", w.options.BindAddress, "configuration", Name)
	}
}

// report logs a problem that differs from the previous one.
func (w *Webhook) report(problem error) {
	text := ""
	if problem != nil {
		text = problem.Error()
	}
	if text != "" && text != w.logged {
		w.options.Log.Error(problem, "the webhook has a problem")
	}
	w.logged = text
}

// lookTimeout bounds one look.
const lookTimeout = 10 * time.Second
