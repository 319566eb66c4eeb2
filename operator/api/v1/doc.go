// Package v1 has the kinds of the group gatepass.dev: Token and ClusterToken ask for
// a GitHub token in a Secret, App names a GitHub App and its key, and TenantPolicy
// says what a namespace may ask for.
//
// GitHub reads an absent list of repositories or permissions as everything that the
// installation has. Here everything has to be said: allRepositories, allPermissions.
//
// make generate writes the CustomResourceDefinitions in deploy/crds from this package.
//
// +kubebuilder:object:generate=true
// +groupName=gatepass.dev
package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Group is the API group of all kinds here.
const Group = "gatepass.dev"

// GroupVersion is what manifests write as apiVersion.
var GroupVersion = schema.GroupVersion{Group: Group, Version: "v1"}

// AddToScheme adds all kinds to a scheme.
func AddToScheme(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion,
		&Token{}, &TokenList{}, &ClusterToken{}, &ClusterTokenList{},
		&App{}, &AppList{}, &TenantPolicy{}, &TenantPolicyList{})
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
