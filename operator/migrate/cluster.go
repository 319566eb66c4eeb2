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

// AnnotationFrom is an annotation on an object that [Move.Run] made. It holds, in JSON,
// the object of github-token-manager that it was made from.
const AnnotationFrom = v1.Group + "/migrated-from"

// fieldManager is the name under which the API server records the fields that this
// package writes.
const fieldManager = "gatepass-migrate"

// A Move moves one cluster to gatepass-operator, or back.
//
// The two operators never write the same Secret. Each writes only Secrets whose
// controller is one of its own objects. One write changes both the controller and the
// labels of a Secret.
type Move struct {
	Client dynamic.Interface
	Out    io.Writer // receives what was done, for people, one line for each object
	DryRun bool      // the API server checks every write, and nothing is changed

	// Look is how long Run waits for gatepass-operator to say whether the new objects
	// are permitted, and then for their tokens. If it says nothing, it counts as not
	// running. Zero means ten seconds.
	Look time.Duration
	// Wait is how long Undo waits for github-token-manager to write new tokens. Zero
	// means five minutes.
	Wait time.Duration
}

// A kind is a kind that both API groups have.
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

// An object is an object of github-token-manager, with its new counterpart.
type object struct {
	kind    kind
	old     *unstructured.Unstructured
	wanted  *unstructured.Unstructured // the object to create
	new     *unstructured.Unstructured // the existing new object; nil until it is created
	problem error                      // why it is not moved
}

// String names the object for people.
func (o *object) String() string { return title(o.kind, o.old) }

func title(k kind, u *unstructured.Unstructured) string {
	if u.GetNamespace() == "" {
		return k.name + " " + u.GetName()
	}
	return k.name + " " + u.GetNamespace() + "/" + u.GetName()
}

// resource returns the API of one resource in a namespace.
func (m *Move) resource(resource schema.GroupVersionResource, namespace string) dynamic.ResourceInterface {
	if namespace == "" {
		return m.Client.Resource(resource)
	}
	return m.Client.Resource(resource).Namespace(namespace)
}

// dryRun returns the dry-run option of a write: empty unless DryRun is set.
func (m *Move) dryRun() []string {
	if m.DryRun {
		return []string{metav1.DryRunAll}
	}
	return nil
}

func (m *Move) print(format string, args ...any) {
	fmt.Fprintln(m.Out, usererr.Escape(fmt.Sprintf(format, args...)))
}

// printProblem prints why an object is not moved.
func (m *Move) printProblem(o *object) {
	m.print("%s: %s", o, strings.TrimPrefix(o.problem.Error(), o.String()+": "))
}

// list returns all objects of a resource in the cluster. If the API server does not
// serve the resource, it returns none and isServed is false.
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

// pause waits. It returns the error of ctx if ctx ends first.
func pause(ctx context.Context, wait time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(wait):
		return nil
	}
}

// Connect returns a client for the cluster of a kubeconfig. An empty path means
// KUBECONFIG, and then ~/.kube/config. Because Secrets pass through the client, it
// returns an error if the kubeconfig turns off the check of the server's certificate.
func Connect(kubeconfig string) (dynamic.Interface, error) {
	const what = "reach the cluster"
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = kubeconfig
	rules.MigrationRules = nil // reading must not write files
	rules.Warner = func(error) {}
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{}).ClientConfig()
	switch {
	case clientcmd.IsEmptyConfig(err):
		return nil, usererr.New(what, "there is no kubeconfig", "set --kubeconfig or KUBECONFIG")
	case err != nil:
		return nil, usererr.New(what, "the kubeconfig cannot be used: "+redact.Text(err.Error(), 500), "correct it")
	case config.Insecure:
		return nil, usererr.New(what, "the kubeconfig has insecure-skip-tls-verify, which would send Secrets to any server", "set certificate-authority to the authority of the cluster")
	}
	config.Timeout = 30 * time.Second
	config.QPS = -1 // no limit here: the API server has its own
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, usererr.New(what, "the credentials cannot be used: "+redact.Text(err.Error(), 500), "correct the kubeconfig")
	}
	return client, nil
}
