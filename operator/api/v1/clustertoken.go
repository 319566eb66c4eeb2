package v1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// ClusterTokenSpec asks for a token in any namespace.
type ClusterTokenSpec struct {
	Access `json:",inline"`

	// AppRef names an App. Without it the operator's own configuration is used.
	// +optional
	AppRef *AppReference `json:"appRef,omitempty"`

	// Secret says where and how the token is delivered.
	Secret ClusterSecretShape `json:"secret"`
}

// ClusterSecretShape says where the Secret is and what it looks like.
type ClusterSecretShape struct {
	SecretShape `json:",inline"`

	// Namespace of the Secret.
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="secret.namespace is the name of one namespace: flux-system"
	// +kubebuilder:example:="default"
	Namespace string `json:"namespace"`
}

// AppReference names an App.
type AppReference struct {
	// Name of the App.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// Namespace of the App; default is the operator's own.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace,omitempty"`
}

// ClusterToken asks for a GitHub token in a Secret of the namespace that it names.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=clustertokens,scope=Cluster,shortName=gctok,categories=gatepass
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`,priority=1
// +kubebuilder:printcolumn:name="Namespace",type=string,JSONPath=`.spec.secret.namespace`
// +kubebuilder:printcolumn:name="Expires",type=string,JSONPath=`.status.installationAccessToken.expiresAt`
// +kubebuilder:printcolumn:name="Repositories",type=string,JSONPath=`.status.repositories`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type ClusterToken struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec ClusterTokenSpec `json:"spec"`

	// Status says -1 until the operator has looked: an object that was just made must
	// not be taken for one that is in order.
	// +kubebuilder:default:={"observedGeneration":-1}
	Status TokenStatus `json:"status,omitempty"`
}

// ClusterTokenList is a list of ClusterTokens.
//
// +kubebuilder:object:root=true
type ClusterTokenList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ClusterToken `json:"items"`
}
