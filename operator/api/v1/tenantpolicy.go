package v1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// TenantPolicySpec says what the namespaces that it selects may ask for. An absent
// list gives nothing. Where any policy selects a namespace, all that is asked there
// has to be inside one of them; two do not add up.
type TenantPolicySpec struct {
	// Namespaces that the policy is for.
	Namespaces NamespaceSelection `json:"namespaces"`

	// Apps that may be used: default is the operator's own configuration, else
	// NAMESPACE/NAME or NAMESPACE/*.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=100
	// +kubebuilder:validation:items:MaxLength=320
	// +kubebuilder:validation:items:Pattern=`^(default|[a-z0-9]([-a-z0-9]*[a-z0-9])?/(\*|[a-z0-9]([-a-z0-9.]*[a-z0-9])?))$`
	Apps []string `json:"apps,omitempty"`

	// Owners are the users and organizations whose repositories may be asked for.
	// "*" is any.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=500
	// +kubebuilder:validation:items:MaxLength=100
	// +kubebuilder:validation:items:Pattern=`^(\*|[A-Za-z0-9][A-Za-z0-9_-]*)$`
	Owners []string `json:"owners,omitempty"`

	// Repositories that may be asked for: owner/name, owner/* or "*". Upper and lower
	// case are the same.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=1000
	// +kubebuilder:validation:items:MaxLength=201
	// +kubebuilder:validation:items:Pattern=`^(\*|[A-Za-z0-9][A-Za-z0-9_-]*/(\*|[A-Za-z0-9_.-]+))$`
	Repositories []string `json:"repositories,omitempty"`

	// Permissions are the most that may be asked for. A token with allPermissions is
	// never inside.
	// +optional
	// +kubebuilder:validation:MaxProperties=200
	// +kubebuilder:validation:XValidation:rule="self.all(name, name.matches('^[a-z][a-z0-9_]{0,99}$'))",message="a permission is named as GitHub's API does, in lower case with underscores: pull_requests"
	Permissions map[string]PermissionLevel `json:"permissions,omitempty"`

	// Keys are the signing keys that Apps there may name with the operator's cloud
	// identity, as PROVIDER:KEY, letter for letter: aws:alias/gatepass,
	// vault:transit/sign/app.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=100
	// +kubebuilder:validation:items:MaxLength=2054
	// +kubebuilder:validation:items:Pattern=`^(aws|gcp|azure|vault):.+$`
	Keys []string `json:"keys,omitempty"`

	// SecretTypes are types of Secrets that may be written beside those that need no
	// policy.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=50
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.all(t, !(t in ['kubernetes.io/service-account-token', 'bootstrap.kubernetes.io/token']))",message="these types of Secrets give power in the cluster and cannot be allowed"
	SecretTypes []string `json:"secretTypes,omitempty"`

	// TargetNamespaces are the namespaces that a ClusterToken may write to. A
	// ClusterToken is judged by the policies that list its target here.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=500
	// +kubebuilder:validation:items:MaxLength=63
	TargetNamespaces []string `json:"targetNamespaces,omitempty"`
}

// NamespaceSelection is a list of names, a selector of labels, or both: a namespace
// is selected by either. An empty selection selects nothing.
type NamespaceSelection struct {
	// Names of namespaces.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=500
	// +kubebuilder:validation:items:MaxLength=63
	Names []string `json:"names,omitempty"`

	// Selector matches labels of namespaces. An empty selector ({}) matches all.
	// +optional
	Selector *metav1.LabelSelector `json:"selector,omitempty"`
}

// TenantPolicy says what namespaces may ask for.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=tenantpolicies,scope=Cluster,shortName=gpol,categories=gatepass
// +kubebuilder:printcolumn:name="Apps",type=string,JSONPath=`.spec.apps`
// +kubebuilder:printcolumn:name="Owners",type=string,JSONPath=`.spec.owners`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type TenantPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec TenantPolicySpec `json:"spec"`
}

// TenantPolicyList is a list of TenantPolicies.
//
// +kubebuilder:object:root=true
type TenantPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []TenantPolicy `json:"items"`
}
