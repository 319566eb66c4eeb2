package operator

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	v1 "github.com/gatepass/gatepass/operator/api/v1"
	"github.com/gatepass/gatepass/operator/apps"
	"github.com/gatepass/gatepass/operator/ledger"
	"github.com/gatepass/gatepass/operator/tenant"
	"github.com/gatepass/gatepass/operator/webhook"
)

// workers is how many objects are reconciled at the same time. A worker waits only for
// answers of GitHub and the API server.
const workers = 16

// The first and the longest wait of an object after an error of the API server. After
// an outage of an hour, everything is reconciled within seconds.
const (
	firstBackoff = 50 * time.Millisecond
	lastBackoff  = 15 * time.Second
)

// Run runs the operator until ctx ends. It returns an error if it cannot start, or if
// it loses its lease: another replica works then.
func Run(ctx context.Context, o Options, getenv func(string) string, log *slog.Logger) error {
	log = slog.New(noBodies{log.Handler()})
	logger := logr.FromSlogHandler(log.Handler())
	ctrl.SetLogger(logger)
	klog.SetSlogLogger(log)
	config, err := restConfig(o.Kubeconfig)
	if err != nil {
		return fmt.Errorf("find the cluster: %w", err)
	}
	own, err := apps.OpenConfig(o.Config, getenv)
	if err != nil {
		return err
	}
	mgr, err := manager.New(config, o.manager(logger))
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	r, err := compose(ctx, mgr, o, own)
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	if err := errors.Join(
		r.appReconciler().SetupWithManager(mgr),
		o.admission(mgr),
		mgr.Add(r.work(mgr)),
		mgr.Add(r.reload(own, log)),
		mgr.AddHealthzCheck("ping", func(*http.Request) error { return nil }),
		mgr.AddReadyzCheck("cache", inSync(mgr.GetCache())),
	); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	return mgr.Start(ctx)
}

// noBodies drops records below debug level, whatever the handler accepts: client-go
// logs the bodies of requests there, which include Secrets.
type noBodies struct{ slog.Handler }

// Enabled implements slog.Handler.
func (n noBodies) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelDebug && n.Handler.Enabled(ctx, level)
}

// WithAttrs implements slog.Handler.
func (n noBodies) WithAttrs(attrs []slog.Attr) slog.Handler {
	return noBodies{n.Handler.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (n noBodies) WithGroup(name string) slog.Handler { return noBodies{n.Handler.WithGroup(name)} }

// restConfig finds the cluster. It sets no limit on requests: the API server's priority
// and fairness divides its capacity among its clients.
func restConfig(kubeconfig string) (*rest.Config, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = kubeconfig
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).ClientConfig()
	if err != nil {
		return nil, err
	}
	config.QPS = -1
	config.UserAgent = "gatepass-operator"
	return config, nil
}

func (o Options) manager(logger logr.Logger) manager.Options {
	m := manager.Options{
		Scheme: Scheme(), Logger: logger,
		Cache: o.cache(),
		// Secrets are read from the API server: the cache has only the metadata of
		// ours.
		Client:         client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}}}},
		LeaderElection: o.LeaderElect, LeaderElectionID: "gatepass-operator", LeaderElectionNamespace: o.Namespace,
		LeaderElectionReleaseOnCancel: true,
		HealthProbeBindAddress:        o.ProbeAddress,
		Metrics:                       metricsserver.Options{BindAddress: o.MetricsAddress, SecureServing: o.MetricsSecure},
	}
	if o.MetricsSecure {
		m.Metrics.FilterProvider = filters.WithAuthenticationAndAuthorization
		m.Metrics.TLSOpts = []func(*tls.Config){func(c *tls.Config) { c.MinVersion = tls.VersionTLS12 }}
	}
	return m
}

// cache holds the metadata of Secrets that belong to Tokens, and of no other Secrets.
func (o Options) cache() cache.Options {
	ours, _ := labels.NewRequirement(v1.LabelOwnerKind, selection.Exists, nil)
	c := cache.Options{
		DefaultTransform: slim,
		ByObject:         map[client.Object]cache.ByObject{&corev1.Secret{}: {Label: labels.NewSelector().Add(*ours)}},
	}
	if len(o.WatchNamespaces) > 0 {
		c.DefaultNamespaces = map[string]cache.Config{}
		apps := map[string]cache.Config{o.Namespace: {}} // ClusterTokens use the Apps of the operator's namespace
		for _, name := range o.WatchNamespaces {
			c.DefaultNamespaces[name], apps[name] = cache.Config{}, cache.Config{}
		}
		c.ByObject[&v1.App{}] = cache.ByObject{Namespaces: apps}
	}
	return c
}

// compose creates the Reconciler.
func compose(ctx context.Context, mgr manager.Manager, o Options, own *apps.ConfigFile) (*Reconciler, error) {
	if o.Metrics == nil {
		o.Metrics = metrics.Registry
	}
	r := &Reconciler{
		Client: mgr.GetClient(), Cache: mgr.GetCache(), Secrets: mgr.GetAPIReader(),
		Events:  mgr.GetEventRecorder("gatepass-operator"),
		Apps:    &apps.Registry{Apps: mgr.GetClient(), Secrets: mgr.GetAPIReader(), GitHub: o.GitHub, Own: own, Client: o.HTTP},
		Metrics: NewMetrics(o.Metrics), Namespace: o.Namespace, WatchNamespaces: o.WatchNamespaces,
		triggers: &triggers{client: mgr.GetClient(), cache: mgr.GetCache(), namespace: o.Namespace},
	}
	r.Pacer = apps.NewPacer(o.MintsPerMinute, r.triggers.wake)
	r.Apps.Permit = r.appReconciler().Permit
	return r, index(ctx, mgr.GetCache())
}

// appReconciler returns the reconciler of Apps that shares this one's dependencies.
func (r *Reconciler) appReconciler() *AppReconciler {
	return &AppReconciler{
		Client: r.Client, Events: r.Events, Apps: r.Apps, Watches: r.watches,
		Policies: func(ctx context.Context) (*tenant.Policies, error) {
			policies, _, err := r.policies(ctx)
			return policies, err
		},
	}
}

// admission adds the webhook, or removes the configuration that an earlier run left.
// The removal waits for the lease: until then a replica with the webhook may still run.
func (o Options) admission(mgr manager.Manager) error {
	direct, err := client.New(mgr.GetConfig(), client.Options{Scheme: mgr.GetScheme()})
	if err != nil {
		return err
	}
	if o.WebhookAddress == "" {
		return mgr.Add(manager.RunnableFunc(func(ctx context.Context) error { return webhook.Remove(ctx, direct) }))
	}
	w, err := webhook.New(webhook.Options{
		Client: direct, Reader: mgr.GetClient(), Namespace: o.Namespace,
		BindAddress: o.WebhookAddress, Service: o.WebhookService, URL: o.WebhookURL, WatchNamespaces: o.WatchNamespaces,
		Fail: o.WebhookFailurePolicy == "Fail", ClusterRole: "gatepass-operator", GitHubURL: o.GitHub, Log: mgr.GetLogger(),
	})
	if err != nil {
		return err
	}
	return errors.Join(mgr.Add(w), mgr.AddReadyzCheck("webhook", w.Ready))
}

// work reconciles while this replica leads. It reads the records when it begins to
// lead, because another replica wrote them before.
func (r *Reconciler) work(mgr manager.Manager) manager.RunnableFunc {
	return func(ctx context.Context) error {
		c, err := controller.NewTypedUnmanaged("token", controller.TypedOptions[apps.Key]{
			Reconciler: r, MaxConcurrentReconciles: workers, Logger: mgr.GetLogger(), SkipNameValidation: new(true),
			RateLimiter: workqueue.NewTypedItemExponentialFailureRateLimiter[apps.Key](firstBackoff, lastBackoff),
		})
		if err != nil {
			return err
		}
		records, err := openLedger(ctx, r.Client, r.Namespace, mgr.GetLogger())
		if err != nil {
			return err
		}
		r.Ledger = records
		if err := r.triggers.watch(c, records); err != nil {
			return err
		}
		return c.Start(ctx)
	}
}

// openLedger reads the records, and retries while the API server does not answer.
func openLedger(ctx context.Context, c client.Client, namespace string, log logr.Logger) (*ledger.Ledger, error) {
	for wait := time.Second; ; wait = min(2*wait, 30*time.Second) {
		records, err := ledger.Open(ctx, c, namespace)
		if err == nil {
			for _, broken := range records.Broken {
				log.Error(broken, "a record of live tokens cannot be read")
			}
			return records, nil
		}
		log.Error(err, "the records of live tokens cannot be read yet")
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(wait):
		}
	}
}

// configCheckEvery is the interval between checks of the configuration.
const configCheckEvery = 5 * time.Second

// reload reconciles the objects that use the operator's own App when its configuration
// changes.
func (r *Reconciler) reload(own *apps.ConfigFile, log *slog.Logger) manager.RunnableFunc {
	return func(ctx context.Context) error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(configCheckEvery):
			}
			switch changed, err := own.Reload(); {
			case err != nil:
				log.Error("the configuration is rejected; the last good one stays in use", "error", err.Error())
			case changed:
				log.Info("the configuration has changed")
				if err := r.triggers.wakeDefault(ctx); err != nil {
					log.Error("reconcile after a change of the configuration", "error", err.Error())
				}
			}
		}
	}
}

// inSync returns a check that succeeds when the cache has synchronized.
func inSync(c cache.Cache) func(*http.Request) error {
	return func(request *http.Request) error {
		ctx, cancel := context.WithTimeout(request.Context(), time.Second)
		defer cancel()
		if !c.WaitForCacheSync(ctx) {
			return errors.New("the cache has not read everything yet")
		}
		return nil
	}
}
