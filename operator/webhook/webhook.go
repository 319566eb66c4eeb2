// Package webhook refuses Tokens, ClusterTokens and Apps that no TenantPolicy allows,
// when they are written and not minutes later in a condition.
//
// It is a help and no fence: the controllers ask package tenant again before every
// mint. So the API server goes on without it by default (failurePolicy Ignore).
//
// Its certificate is its own business. An authority is kept in a Secret that all
// replicas share, and each replica makes a serving certificate from it in memory. The
// operator writes its own ValidatingWebhookConfiguration, with the authorities that the
// API server is to trust. An authority is replaced long before its end; for a while both
// are trusted.
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

// SecretName is the name of the Secret with the authority, in the operator's namespace.
const SecretName = "gatepass-operator-webhook"

// Manager is the field manager of the configuration.
const Manager = client.FieldOwner("gatepass-operator-webhook")

// path is where the API server asks.
const path = "/validate"

// Options say how to run a webhook. Client, Reader, Namespace, BindAddress and one of
// Service and URL are needed.
type Options struct {
	// Client reads and writes the Secret and the configuration. It must not cache.
	Client client.Client

	// Reader reads policies, namespaces and Apps: the manager's cache.
	Reader client.Reader

	// Namespace is the operator's own.
	Namespace string

	// BindAddress is where to listen: HOST:PORT or :PORT.
	BindAddress string

	// Service is the name of the Service, in Namespace, by which the API server reaches
	// BindAddress. Its port is 443.
	Service string

	// URL is the address for an API server that reaches no Service: https://HOST:PORT.
	URL string

	// WatchNamespaces are the only ones whose objects the API server asks about; empty is
	// all. ClusterTokens are in none.
	WatchNamespaces []string

	// Fail has the API server refuse what it could not ask about. By default it goes on.
	Fail bool

	// ClusterRole is one that is deleted when the operator is uninstalled. The
	// configuration is deleted with it. Without it, and where the role does not exist,
	// nothing deletes the configuration.
	ClusterRole string

	// GitHubURL is the operator's GitHub; "" is https://github.com.
	GitHubURL string

	Log logr.Logger
}

// A Webhook serves the API server's questions, and keeps its certificate and its
// configuration. Use [New].
type Webhook struct {
	options Options
	host    string // where it listens
	port    int
	pace    pace
	now     func() time.Time

	known  authorities // of the latest look; Start's own
	logged string      // the latest problem; Start's own

	mu      sync.Mutex // guards the rest
	serving *tls.Certificate
	trusted []byte // authorities in PEM, as the API server's configuration last had them
	problem error  // why it is not ready
}

// New returns a webhook that serves when it is started.
func New(o Options) (*Webhook, error) {
	if o.Client == nil || o.Reader == nil || o.Namespace == "" || (o.Service == "") == (o.URL == "") {
		return nil, errors.New("start the webhook: Client, Reader, Namespace and one of Service and URL are needed")
	}
	host, text, err := net.SplitHostPort(o.BindAddress)
	port, err2 := strconv.Atoi(text)
	if err != nil || err2 != nil || port < 1 || port > 65535 {
		return nil, usererr.New("start the webhook", fmt.Sprintf("%q is no address to listen at", o.BindAddress), "give --webhook-bind-address as :PORT")
	}
	w := &Webhook{options: o, host: host, port: port, pace: calm, now: time.Now}
	w.problem = errors.New("the webhook has not answered its own call yet")
	if _, err := w.name(); err != nil {
		return nil, err
	}
	return w, nil
}

// NeedLeaderElection returns false: every replica serves.
func (w *Webhook) NeedLeaderElection() bool { return false }

// Ready returns nil once the webhook answered a call that trusts what the API server
// was told to trust. It is for /readyz.
func (w *Webhook) Ready(*http.Request) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.problem
}

// Start serves until some seconds after the context ends: the API server goes on calling
// until it knows that the pod is going. Start returns an error only when it cannot
// listen. What it cannot read or write it logs, once, and tries again.
func (w *Webhook) Start(ctx context.Context) error {
	server := w.server()
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	context.AfterFunc(ctx, func() { time.AfterFunc(w.pace.linger, stop) })
	var failed error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		failed = server.Start(serving)
	}()
	for {
		if ctx.Err() == nil {
			w.look(ctx)
		}
		wait := w.pace.look
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
			// HTTP/2 lets one connection open many streams, and the API server gains
			// nothing by it here.
			c.NextProtos = []string{"http/1.1"}
			c.GetCertificate = w.certificate
		}},
	})
	server.Register(path, &admission.Webhook{Handler: w.judge()})
	return server
}

// certificate is for tls.Config.
func (w *Webhook) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.serving == nil {
		return nil, errors.New("the webhook has no certificate yet")
	}
	return w.serving, nil
}

// look brings certificate and configuration up to date and calls itself. It logs a
// problem when it is a new one. A webhook that worked stays ready while the API server
// is away, for it goes on answering with what it has.
func (w *Webhook) look(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	failed := w.refresh(limited)
	called := w.callItself(limited)
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
		w.options.Log.Info("the webhook is ready; if the API server says that it cannot call it (context deadline exceeded), a firewall or a network policy is between them",
			"address", w.options.BindAddress, "configuration", Name)
	}
}

// report logs a problem that is not the one of before.
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
