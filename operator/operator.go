// Package operator watches Tokens and ClusterTokens and keeps a Secret with a fresh
// GitHub token for each.
//
// A reconcile reads its input (the object, the Secret, the record of live
// tokens, the policies, the App), asks [plan] what to do, and does it step by step.
// It never waits: what has to wait is put back into the queue with a time.
package operator

import (
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/gatepass/gatepass/operator/api/v1"
)

// Manager is the field manager of all that the operator applies.
const Manager = client.FieldOwner("gatepass-operator")

// Scheme returns a scheme with the kinds of Kubernetes and of gatepass.
func Scheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1.AddToScheme(scheme))
	return scheme
}
