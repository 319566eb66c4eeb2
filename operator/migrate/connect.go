package migrate

import (
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/gatepass/gatepass/internal/redact"
	"github.com/gatepass/gatepass/internal/usererr"
)

// Connect returns a client for the cluster of a kubeconfig. An empty path means
// KUBECONFIG, and then ~/.kube/config. Secrets pass through it, so that a server whose
// certificate is not checked is an error.
func Connect(kubeconfig string) (dynamic.Interface, error) {
	const what = "reach the cluster"
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = kubeconfig
	rules.MigrationRules = nil // reading writes nothing
	rules.Warner = func(error) {}
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{}).ClientConfig()
	switch {
	case clientcmd.IsEmptyConfig(err):
		return nil, usererr.New(what, "there is no kubeconfig", "set --kubeconfig or KUBECONFIG")
	case err != nil:
		return nil, usererr.New(what, "the kubeconfig cannot be used: "+redact.Text(err.Error(), 500), "correct it")
	case config.Insecure:
		return nil, usererr.New(what, "the kubeconfig has insecure-skip-tls-verify, by which Secrets could go to anybody", "name the authority of the cluster with certificate-authority")
	}
	config.Timeout = 30 * time.Second
	config.QPS = -1 // the API server has limits of its own
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, usererr.New(what, "the credentials cannot be used: "+redact.Text(err.Error(), 500), "correct the kubeconfig")
	}
	return client, nil
}
