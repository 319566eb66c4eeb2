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
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^(default|[a-z0-9]([-a-z0-9]*[a-z0-9])?/([*]|[a-z0-9]([-a-z0-9.]*[a-z0-9])?))$')",message="an App is default (the operator's own), NAMESPACE/NAME or NAMESPACE/*"
	Apps []string `json:"apps,omitempty"`

	// Owners are the users and organizations whose repositories may be asked for.
	// "*" is any.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=500
	// +kubebuilder:validation:items:MaxLength=100
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^([*]|[A-Za-z0-9][A-Za-z0-9_-]*)$')",message="an owner is the name of one user or organization, or * for any"
	Owners []string `json:"owners,omitempty"`

	// Repositories that may be asked for: owner/name, owner/* or "*". Upper and lower
	// case are the same.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=1000
	// +kubebuilder:validation:items:MaxLength=201
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^([*]|[A-Za-z0-9][A-Za-z0-9_-]*/([*]|[A-Za-z0-9_.-]+))$')",message="a repository is owner/name, owner/* or *: no other pattern is known"
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
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^(aws|gcp|azure|vault):.+$')",message="a key is PROVIDER:KEY as the App names it: aws:alias/gatepass"
	Keys []string `json:"keys,omitempty"`

	// SecretTypes are types of Secrets that may be written beside those that need no
	// policy.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=50
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.all(t, !t.matches('^([^/]*[.])?kubernetes[.]io/') || t in ['kubernetes.io/basic-auth', 'kubernetes.io/dockerconfigjson', 'kubernetes.io/dockercfg', 'kubernetes.io/ssh-auth', 'kubernetes.io/tls'])",message="this type of Secret gives power in the cluster and cannot be allowed"
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
	// +kubebuilder:validation:XValidation:rule="!has(self.matchExpressions) || self.matchExpressions.all(e, e.operator in ['In', 'NotIn'] ? has(e.values) && size(e.values) > 0 : e.operator in ['Exists', 'DoesNotExist'] && !(has(e.values) && size(e.values) > 0))",message="a matchExpression is In or NotIn with values, or Exists or DoesNotExist without"
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
