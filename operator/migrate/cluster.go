package migrate

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/gatepass/gatepass/internal/redact"
	"github.com/gatepass/gatepass/internal/usererr"
	v1 "github.com/gatepass/gatepass/operator/api/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"
)

// AnnotationFrom, on an object that [Move.Run] made, holds the object of
// github-token-manager that it was made from, in JSON.
const AnnotationFrom = v1.Group + "/migrated-from"

// fieldManager is who the API server says has written a field.
const fieldManager = "gatepass-migrate"

// A Move takes one cluster over, or gives it back.
//
// The two operators never write the same Secret: each writes only Secrets whose
// controller is one of its own objects, and a Secret changes its controller in one
// write, together with its labels.
type Move struct {
	Client dynamic.Interface
	Out    io.Writer // what was done, for people, a line for each object
	DryRun bool      // have the API server check everything, and change nothing

	// Look is how long gatepass-operator has to say whether new objects are permitted,
	// before it is taken for not running, and then to make their tokens; zero is ten
	// seconds.
	Look time.Duration
	// Wait is how long Undo waits for github-token-manager to write new tokens; zero is
	// five minutes.
	Wait time.Duration
}

// A kind is one of both groups.
type kind struct {
	name     string
	resource string
}

var (
	kindApp          = kind{"App", "apps"}
	kindToken        = kind{"Token", "tokens"}
	kindClusterToken = kind{"ClusterToken", "clustertokens"}
	kinds            = []kind{kindApp, kindToken, kindClusterToken}
)

func (k kind) old() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: oldGroup, Version: "v1", Resource: k.resource}
}

func (k kind) new() schema.GroupVersionResource {
	return v1.GroupVersion.WithResource(k.resource)
}

var (
	secrets     = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
	namespaces  = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	deployments = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	policies    = v1.GroupVersion.WithResource("tenantpolicies")
)

// An object is one of github-token-manager, and what becomes of it.
type object struct {
	kind    kind
	old     *unstructured.Unstructured
	wanted  *unstructured.Unstructured // what is to be made
	new     *unstructured.Unstructured // what is there; nil until it is made
	problem error                      // why it is left alone
}

// String names the object for people.
func (o *object) String() string { return title(o.kind, o.old) }

func title(k kind, u *unstructured.Unstructured) string {
	if u.GetNamespace() == "" {
		return k.name + " " + u.GetName()
	}
	return k.name + " " + u.GetNamespace() + "/" + u.GetName()
}

// in returns the API of one resource in the namespace of an object.
func (m *Move) in(resource schema.GroupVersionResource, namespace string) dynamic.ResourceInterface {
	if namespace == "" {
		return m.Client.Resource(resource)
	}
	return m.Client.Resource(resource).Namespace(namespace)
}

// dry is the option of a write that makes a dry run of it.
func (m *Move) dry() []string {
	if m.DryRun {
		return []string{metav1.DryRunAll}
	}
	return nil
}

func (m *Move) say(format string, args ...any) {
	fmt.Fprintln(m.Out, usererr.Escape(fmt.Sprintf(format, args...)))
}

// sayProblem says why an object is not moved.
func (m *Move) sayProblem(o *object) {
	m.say("%s: %s", o, strings.TrimPrefix(o.problem.Error(), o.String()+": "))
}

// list returns all objects of a resource in the cluster. Where the API server does not
// serve it, there are none and isServed is false.
func (m *Move) list(ctx context.Context, resource schema.GroupVersionResource, selector string) (items []unstructured.Unstructured, isServed bool, err error) {
	options := metav1.ListOptions{Limit: 500, LabelSelector: selector}
	for {
		page, err := m.Client.Resource(resource).List(ctx, options)
		if apierrors.IsNotFound(err) {
			return nil, false, nil
		}
		if err != nil {
			return nil, false, usererr.Wrap("list "+resource.GroupResource().String(), err, "")
		}
		items = append(items, page.Items...)
		if options.Continue = page.GetContinue(); options.Continue == "" {
			return items, true, nil
		}
	}
}

// pause waits, or returns the error of a context that ended.
func pause(ctx context.Context, wait time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(wait):
		return nil
	}
}

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
		return nil, usererr.New(what, "the kubeconfig has insecure-skip-tls-verify, which would send Secrets to any server", "name the authority of the cluster with certificate-authority")
	}
	config.Timeout = 30 * time.Second
	config.QPS = -1 // the API server has limits of its own
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, usererr.New(what, "the credentials cannot be used: "+redact.Text(err.Error(), 500), "correct the kubeconfig")
	}
	return client, nil
}
