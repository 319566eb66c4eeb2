// Package operator watches Tokens and ClusterTokens and maintains a Secret with a fresh
// GitHub token for each.
//
// A reconcile reads its input (the object, the Secret, the record of live tokens, the
// policies, the App), asks [plan] what to do, and does it step by step. It never waits:
// an object that has to wait is queued again with a delay.
package operator

import (
	v1 "github.com/gatepass/gatepass/operator/api/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Manager is the field manager of everything that the operator applies.
const Manager = client.FieldOwner("gatepass-operator")

// Scheme returns a scheme with the kinds of Kubernetes and of gatepass.
func Scheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1.AddToScheme(scheme))
	return scheme
}

// The operator's permissions. make generate writes deploy/rbac/role.yaml from these
// lines; a test compares the chart's roles with it.
//
// Its own objects: it never changes a spec. Owner references that block deletion need
// the right to update finalizers where OwnerReferencesPermissionEnforcement is on.
// +kubebuilder:rbac:groups=gatepass.dev,resources=tokens;clustertokens;apps;tenantpolicies,verbs=get;list;watch
// +kubebuilder:rbac:groups=gatepass.dev,resources=tokens/status;clustertokens/status;apps/status,verbs=get;patch;update
// +kubebuilder:rbac:groups=gatepass.dev,resources=tokens/finalizers;clustertokens/finalizers,verbs=update
//
// The Secrets that it writes, and those with the keys of Apps.
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;list;watch;create;patch;update;delete
//
// Labels of namespaces, for policies; and whether one is being deleted.
// +kubebuilder:rbac:groups="",resources=namespaces,verbs=get;list;watch
//
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch
//
// Its webhook's configuration, which is deleted with the role below.
// +kubebuilder:rbac:groups=admissionregistration.k8s.io,resources=validatingwebhookconfigurations,verbs=create
// +kubebuilder:rbac:groups=admissionregistration.k8s.io,resources=validatingwebhookconfigurations,resourceNames=gatepass-operator,verbs=get;patch;update;delete
// +kubebuilder:rbac:groups=rbac.authorization.k8s.io,resources=clusterroles,resourceNames=gatepass-operator,verbs=get
//
// Who may read the metrics.
// +kubebuilder:rbac:groups=authentication.k8s.io,resources=tokenreviews,verbs=create
// +kubebuilder:rbac:groups=authorization.k8s.io,resources=subjectaccessreviews,verbs=create
//
// Leader election, and the events about who leads, which client-go sends in the old form.
// +kubebuilder:rbac:groups=coordination.k8s.io,resources=leases,namespace=gatepass,verbs=get;create;update;patch
// +kubebuilder:rbac:groups="",resources=events,namespace=gatepass,verbs=create;patch
