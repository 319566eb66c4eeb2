package operator

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatepass/gatepass/internal/usererr"
)

// Options are the options of the command line.
type Options struct {
	Kubeconfig string
	Config     string // configuration of the operator's own App; "" means the default paths
	Namespace  string // the operator's namespace, where its records are
	GitHub     string // web address

	MetricsAddress string // "0" is none
	MetricsSecure  bool   // serve TLS, and require a token that may read /metrics
	ProbeAddress   string

	WebhookAddress       string // "" means no webhook
	WebhookService       string // name of the Service in Namespace that leads to the webhook
	WebhookURL           string // instead of the Service, for an API server that cannot reach Services
	WebhookFailurePolicy string // Ignore or Fail

	LeaderElect     bool
	MintsPerMinute  int      // for each App; 0 means no limit
	WatchNamespaces []string // the only namespaces whose Tokens are reconciled; empty means all

	HTTP    *http.Client          // for requests to GitHub; nil means mint's own
	Metrics prometheus.Registerer // nil means the one of controller-runtime, which MetricsAddress serves
}

// ParseOptions parses the command line.
func ParseOptions(args []string, getenv func(string) string) (Options, error) {
	var o Options
	var watched string
	f := o.flags(&watched, getenv)
	if err := f.Parse(args); err != nil {
		return o, err
	}
	for name := range strings.SplitSeq(watched, ",") {
		if name = strings.TrimSpace(name); name != "" {
			o.WatchNamespaces = append(o.WatchNamespaces, name)
		}
	}
	return o, o.check(f.Args())
}

// WriteUsage writes the text of --help.
func WriteUsage(w io.Writer) {
	var o Options
	var watched string
	f := o.flags(&watched, func(string) string { return "" })
	fmt.Fprint(w, `usage: gatepass-operator [options]

Keeps GitHub tokens in Secrets, as the Tokens, ClusterTokens and Apps of a
cluster say. It needs open ports only for its webhook and its probes.

`)
	f.VisitAll(func(option *flag.Flag) {
		value, usage := flag.UnquoteUsage(option)
		if option.DefValue != "" && option.DefValue != "false" {
			usage += " (default: " + option.DefValue + ")"
		}
		fmt.Fprintf(w, "  --%s\n        %s\n", strings.TrimSpace(option.Name+" "+strings.ToUpper(value)), usage)
	})
}

// flags returns a flag set that writes into o and watched. It prints nothing.
func (o *Options) flags(watched *string, getenv func(string) string) *flag.FlagSet {
	f := flag.NewFlagSet("gatepass-operator", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.Usage = func() {}
	f.StringVar(&o.Kubeconfig, "kubeconfig", "", "the cluster to use; default: KUBECONFIG, else the cluster in which the operator runs")
	f.StringVar(&o.Config, "config", "", "`FILE` with the operator's own GitHub App; default: /config/gatepass.yaml, else /config/gtm.yaml, else none")
	f.StringVar(&o.Namespace, "namespace", getenv("POD_NAMESPACE"), "the operator's own namespace, where it keeps its records (POD_NAMESPACE)")
	f.StringVar(&o.GitHub, "github-url", getenv("GATEPASS_GITHUB_URL"), "the GitHub to use (GATEPASS_GITHUB_URL); default: https://github.com")
	f.StringVar(&o.MetricsAddress, "metrics-bind-address", "0", "where to serve metrics, such as :8443; 0 serves none")
	f.BoolVar(&o.MetricsSecure, "metrics-secure", true, "serve metrics over https, to accounts that may get /metrics")
	f.StringVar(&o.ProbeAddress, "health-probe-bind-address", ":8081", "where to serve /healthz and /readyz")
	f.StringVar(&o.WebhookAddress, "webhook-bind-address", "", "where to serve the admission webhook, such as :10250; empty serves none")
	f.StringVar(&o.WebhookService, "webhook-service", "gatepass-operator-webhook", "the webhook's Service in the operator's namespace")
	f.StringVar(&o.WebhookURL, "webhook-url", "", "`URL` by which an API server outside of the cluster's network reaches the webhook, instead of the Service")
	f.StringVar(&o.WebhookFailurePolicy, "webhook-failure-policy", "Ignore", "what the API server does while the webhook cannot be reached: Ignore or Fail")
	f.BoolVar(&o.LeaderElect, "leader-elect", false, "run with other replicas: one works, the others wait")
	f.IntVar(&o.MintsPerMinute, "mints-per-minute", 150, "how many tokens one App mints in a minute; 0 means no limit")
	f.StringVar(watched, "watch-namespaces", "", "the only namespaces to watch, separated by commas; default: all")
	return f
}

func (o *Options) check(rest []string) error {
	switch {
	case len(rest) > 0:
		return usererr.New("read the command line", "unexpected argument "+rest[0], "see gatepass-operator -h")
	case o.Namespace == "":
		return usererr.New("read the command line", "the operator does not know its own namespace", "set POD_NAMESPACE or --namespace")
	case o.WebhookFailurePolicy != "Ignore" && o.WebhookFailurePolicy != "Fail":
		return usererr.New("read the command line", "--webhook-failure-policy must be Ignore or Fail", "")
	case o.MintsPerMinute < 0:
		return usererr.New("read the command line", "--mints-per-minute must not be negative", "write 0 for no limit")
	}
	if o.GitHub == "" {
		o.GitHub = "https://github.com"
	}
	return nil
}
