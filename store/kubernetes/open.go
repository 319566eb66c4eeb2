package kubernetes

import (
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/gatepass/gatepass/internal/redact"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/store"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

const form = "write kubernetes://NAMESPACE[/PREFIX][?context=NAME][&kubeconfig=FILE]"

// maxPrefix bounds a prefix, in bytes.
const maxPrefix = 200

// isNamespace is a DNS-1123 label
// (https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-label-names).
var isNamespace = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

// OpenStore returns the store of a URL:
//
//	kubernetes://NAMESPACE[/PREFIX][?context=…][&kubeconfig=…]
//
// Stores with other prefixes may share the namespace. The first call reads the
// configuration and contacts the cluster.
func OpenStore(u *url.URL) (*Store, error) {
	what := "store kubernetes://" + u.Host + u.Path
	prefix := strings.TrimSuffix(strings.TrimPrefix(u.Path, "/"), "/")
	switch {
	case u.Scheme != "kubernetes":
		return nil, usererr.New("store", "its scheme is not kubernetes", form)
	case u.User != nil || u.Opaque != "" || u.Fragment != "":
		return nil, usererr.New("store kubernetes://"+u.Host, "a store's URL must not have a user, password or fragment", form)
	case u.Host == "":
		return nil, usererr.New(what, "it must name a namespace", form)
	case u.Port() != "":
		return nil, usererr.New(what, "the part after kubernetes:// must be the namespace, not the address", form)
	case !isNamespace.MatchString(u.Host):
		return nil, usererr.New(what, u.Host+" is not a name of a namespace", form)
	}
	if _, err := store.ParseName(prefix); prefix != "" && (err != nil || len(prefix) > maxPrefix) {
		return nil, usererr.New(what, "the prefix is too long, or a part of it has characters other than letters, digits, dots, hyphens and underscores", form)
	}
	from, err := parseQuery(what, u.RawQuery)
	if err != nil {
		return nil, err
	}
	return &Store{place: place{u.Host, prefix}, from: from, page: defaultPage}, nil
}

func parseQuery(what, raw string) (origin, error) {
	query, err := url.ParseQuery(raw)
	if err != nil {
		return origin{}, usererr.New(what, "the query is malformed", form)
	}
	for key, values := range query {
		switch {
		case !slices.Contains([]string{"context", "kubeconfig"}, key):
			return origin{}, usererr.New(what, "unknown key "+key, form)
		case len(values) != 1 || values[0] == "":
			return origin{}, usererr.New(what, key+" is given twice or is empty", form)
		}
	}
	return origin{context: query.Get("context"), kubeconfig: query.Get("kubeconfig"), account: accountFolder}, nil
}

// accountFolder is the folder of a pod's service account
// (https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/).
const accountFolder = "/var/run/secrets/kubernetes.io/serviceaccount"

// An origin says how to reach the API server: by a kubeconfig, or in a pod by the
// service account. The kubeconfig is used if KUBECONFIG is set or the URL names a
// context or a kubeconfig.
type origin struct {
	context, kubeconfig string // "" means the current context, and KUBECONFIG or ~/.kube/config
	account             string // folder of the pod's service account
}

// connect reads the configuration as it is now.
func (o origin) connect(what string) (*link, error) {
	config, err := o.config(what)
	if err != nil {
		return nil, err
	}
	const do = "write server: https://HOST[:PORT] for the cluster in the kubeconfig"
	base, err := url.Parse(config.Host)
	switch {
	case err != nil || base.Host == "":
		return nil, usererr.New(what, "the address of the API server is malformed", do)
	case base.Scheme != "https":
		return nil, usererr.New(what, "the API server's address does not begin with https://", do)
	case config.Insecure:
		return nil, usererr.New(what, "the kubeconfig has insecure-skip-tls-verify, which would send secrets to any server", "set certificate-authority to the authority of the cluster")
	}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, usererr.New(what, "the credentials of the cluster cannot be used: "+redact.Text(err.Error(), maxShown), "correct "+o.source())
	}
	return newLink(base, client, o.source()), nil
}

func (o origin) config(what string) (*rest.Config, error) {
	if o.isPod() {
		return o.podConfig(), nil
	}
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = o.kubeconfig
	rules.MigrationRules = nil // reading must not write files
	rules.WarnIfAllMissing = false
	rules.Warner = func(error) {}
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: o.context}).ClientConfig()
	switch {
	case clientcmd.IsEmptyConfig(err):
		return nil, usererr.New(what, "there is no kubeconfig, and this is not a pod with a service account", "set KUBECONFIG, or name one with kubeconfig=FILE in the store's URL")
	case err != nil:
		return nil, usererr.New(what, "the kubeconfig cannot be used: "+redact.Text(err.Error(), maxShown), "correct "+o.source())
	}
	return config, nil
}

// isPod reports whether to use the service account, and whether it exists.
func (o origin) isPod() bool {
	if o.context != "" || o.kubeconfig != "" || os.Getenv("KUBECONFIG") != "" || os.Getenv("KUBERNETES_SERVICE_HOST") == "" {
		return false
	}
	_, err := os.Stat(filepath.Join(o.account, "token"))
	return err == nil
}

// podConfig returns [rest.InClusterConfig], with an account folder that tests can
// replace. The token's file is reread every minute.
func (o origin) podConfig() *rest.Config {
	host := net.JoinHostPort(os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT"))
	return &rest.Config{
		Host:            "https://" + host,
		BearerTokenFile: filepath.Join(o.account, "token"),
		TLSClientConfig: rest.TLSClientConfig{CAFile: filepath.Join(o.account, "ca.crt")},
	}
}

// source returns the origin of the credentials, for messages.
func (o origin) source() string {
	switch {
	case o.isPod():
		return "the service account of this pod"
	case o.context != "":
		return "the context " + o.context + " of the kubeconfig"
	case o.kubeconfig != "":
		return "the kubeconfig " + o.kubeconfig
	}
	return "the kubeconfig"
}
