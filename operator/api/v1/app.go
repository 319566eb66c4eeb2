package v1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// AppSpec names a GitHub App and the key that signs for it.
//
// +kubebuilder:validation:XValidation:rule="!(has(self.appID) && has(self.clientID))",message="set appID or clientID, not both"
// +kubebuilder:validation:XValidation:rule="has(self.appID) || has(self.clientID) || self.provider == 'secret'",message="set clientID (or appID) of the GitHub App; only provider: secret can read it from the Secret (githubAppID)"
// +kubebuilder:validation:XValidation:rule="(self.provider == 'secret') == has(self.keyRef)",message="provider: secret needs keyRef, and no other provider takes one"
// +kubebuilder:validation:XValidation:rule="(self.provider == 'secret') != has(self.key)",message="provider aws, gcp, azure and vault need key, and provider: secret takes none"
type AppSpec struct {
	// AppID is the number of the GitHub App.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:example:=12345
	AppID int64 `json:"appID,omitempty"`

	// ClientID of the GitHub App, instead of appID.
	// +optional
	// +kubebuilder:validation:MaxLength=100
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9._-]+$')",message="clientID is as the App's page at GitHub shows it: Iv23liAbCdEf"
	ClientID string `json:"clientID,omitempty"`

	// InstallationID is used where a token names neither an installation nor an owner.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:example:=123456789
	InstallationID int64 `json:"installationID,omitempty"`

	// Provider is where the private key is: in a Secret of the same namespace, in AWS
	// KMS, Google Cloud KMS, Azure Key Vault or Vault's transit engine. All but the
	// first sign with the operator's own cloud identity, and need a TenantPolicy that
	// lists the key.
	// +kubebuilder:validation:Enum=secret;aws;gcp;azure;vault
	Provider Provider `json:"provider"`

	// Key names the key: an alias, id or ARN (aws), a resource name (gcp), a URL
	// (azure) or the path of the transit key (vault).
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	Key string `json:"key,omitempty"`

	// KeyRef names the Secret with the private key.
	// +optional
	KeyRef *KeyReference `json:"keyRef,omitempty"`

	// ValidateKey proves the key to GitHub whenever it changes, and says in the
	// condition KeyValid what came of it.
	// +optional
	// +kubebuilder:default:=false
	ValidateKey bool `json:"validateKey,omitempty"`

	// GitHubURL is the GitHub that the App is registered at; default is the operator's.
	// Another one needs provider: secret.
	// +optional
	// +kubebuilder:validation:MaxLength=300
	// +kubebuilder:validation:XValidation:rule="self.matches('^https://[A-Za-z0-9.-]+(:[0-9]+)?/?$')",message="githubURL is https://HOST, without a path: https://github.example.com"
	GitHubURL string `json:"githubURL,omitempty"`
}

// Provider is where a private key is.
type Provider string

// The providers.
const (
	ProviderSecret Provider = "secret"
	ProviderAWS    Provider = "aws"
	ProviderGCP    Provider = "gcp"
	ProviderAzure  Provider = "azure"
	ProviderVault  Provider = "vault"
)

// KeyReference names a Secret in the App's namespace, and a key of its data.
//
// A Secret as "flux create secret githubapp" makes it serves as it is: the App's id,
// its installation and its private key are read from githubAppID,
// githubAppInstallationID and githubAppPrivateKey.
type KeyReference struct {
	// Name of the Secret.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// Key of the Secret's data that holds the private key in PEM form. Default is
	// private-key.pem and, where there is none, githubAppPrivateKey.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Key string `json:"key,omitempty"`
}

// AppStatus is what the operator found.
type AppStatus struct {
	// ObservedGeneration is the spec that this status is about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// Slug is the App's name in GitHub's addresses, where the key was validated.
	// +optional
	Slug string `json:"slug,omitempty"`

	// Conditions are Ready and, with validateKey, KeyValid.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// App is a GitHub App that Tokens and ClusterTokens can name.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=apps,shortName=gapp,categories=gatepass
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`,priority=1
// +kubebuilder:printcolumn:name="App ID",type=integer,JSONPath=`.spec.appID`
// +kubebuilder:printcolumn:name="Client ID",type=string,JSONPath=`.spec.clientID`,priority=1
// +kubebuilder:printcolumn:name="Provider",type=string,JSONPath=`.spec.provider`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type App struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec AppSpec `json:"spec"`

	// Status says -1 until the operator has looked: an object that was just made must
	// not be taken for one that is in order.
	// +kubebuilder:default:={"observedGeneration":-1}
	Status AppStatus `json:"status,omitempty"`
}

// AppList is a list of Apps.
//
// +kubebuilder:object:root=true
type AppList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []App `json:"items"`
}
