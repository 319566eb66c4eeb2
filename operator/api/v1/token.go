package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Access is what a token may do and how it is kept fresh: the part of the spec that
// Token and ClusterToken share.
//
// +kubebuilder:validation:XValidation:rule="(has(self.allRepositories) && self.allRepositories ? 1 : 0) + (has(self.repositories) && size(self.repositories) > 0 ? 1 : 0) + (has(self.repositoryIDs) && size(self.repositoryIDs) > 0 ? 1 : 0) == 1",message="set exactly one of repositories, repositoryIDs and allRepositories: true (GitHub reads an absent list as every repository, so every repository has to be said)"
// +kubebuilder:validation:XValidation:rule="(has(self.allPermissions) && self.allPermissions) != (has(self.permissions) && size(self.permissions) > 0)",message="set exactly one of permissions and allPermissions: true (GitHub reads an absent map as every permission, so every permission has to be said)"
// +kubebuilder:validation:XValidation:rule="!(has(self.owner) && has(self.installationID))",message="set owner or installationID, not both"
type Access struct {
	// InstallationID is the installation of the GitHub App. Without it and without
	// owner, the one of the App's own configuration is used.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:example:=123456789
	InstallationID int64 `json:"installationID,omitempty"`

	// Owner is the user or organization that the App is installed on, instead of
	// installationID.
	// +optional
	// +kubebuilder:validation:MaxLength=100
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9][A-Za-z0-9_-]*$')",message="owner is the name of one user or organization: acme"
	// +kubebuilder:example:=acme
	Owner string `json:"owner,omitempty"`

	// Permissions are GitHub's permission names and levels, at most those of the
	// installation.
	// +optional
	// +kubebuilder:validation:MaxProperties=200
	// +kubebuilder:validation:XValidation:rule="self.all(name, name.matches('^[a-z][a-z0-9_]{0,99}$'))",message="a permission is named as GitHub's API does, in lower case with underscores: pull_requests"
	// +kubebuilder:example:={"metadata": "read", "contents": "read"}
	Permissions map[string]PermissionLevel `json:"permissions,omitempty"`

	// AllPermissions asks for every permission of the installation.
	// +optional
	AllPermissions bool `json:"allPermissions,omitempty"`

	// Repositories are names without the owner.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=500
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=100
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^[A-Za-z0-9_.-]+$') && !(self in ['.', '..'])",message="a repository is named without its owner: write api, and owner: acme"
	Repositories []string `json:"repositories,omitempty"`

	// RepositoryIDs are GitHub's ids of repositories.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=500
	// +kubebuilder:validation:items:Minimum=1
	RepositoryIDs []int64 `json:"repositoryIDs,omitempty"`

	// AllRepositories asks for every repository of the installation.
	// +optional
	AllRepositories bool `json:"allRepositories,omitempty"`

	// RefreshInterval is how long a token is used before it is replaced. A token is
	// always replaced before its real end, however long this is.
	// +optional
	// +kubebuilder:validation:Format=duration
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1m')",message="refreshInterval is at least 1m"
	// +kubebuilder:default:="30m"
	// +kubebuilder:example:="45m"
	RefreshInterval metav1.Duration `json:"refreshInterval,omitzero"`

	// RetryInterval is how long the operator waits after an error before it asks
	// GitHub again. What GitHub asks for is kept where it is longer.
	// +optional
	// +kubebuilder:validation:Format=duration
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('10s')",message="retryInterval is at least 10s"
	// +kubebuilder:default:="5m"
	// +kubebuilder:example:="1m"
	RetryInterval metav1.Duration `json:"retryInterval,omitzero"`

	// MinTTL is the life that the token in the Secret always has left: it is replaced
	// before less than this remains.
	// +optional
	// +kubebuilder:validation:Format=duration
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1m') && duration(self) <= duration('50m')",message="minTTL is between 1m and 50m: a token lives for an hour"
	// +kubebuilder:default:="10m"
	MinTTL metav1.Duration `json:"minTTL,omitzero"`

	// RevokeSuperseded revokes a token some time after another one has replaced it.
	// Without it the replaced token runs out by itself.
	// +optional
	RevokeSuperseded *RevokeSuperseded `json:"revokeSuperseded,omitempty"`

	// Suspend revokes the token, removes the Secret and asks for no new one.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
}

// PermissionLevel is one of GitHub's.
// +kubebuilder:validation:Enum=read;write;admin
type PermissionLevel string

// RevokeSuperseded says when a replaced token is revoked.
type RevokeSuperseded struct {
	// After is how long readers of the Secret have to read it again.
	// +kubebuilder:validation:Format=duration
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('5m')",message="revokeSuperseded.after is at least 5m: readers need time to read the new token"
	After metav1.Duration `json:"after"`
}

// SecretShape says what the Secret looks like.
//
// +kubebuilder:validation:XValidation:rule="!has(self.preset) || !(has(self.type) || has(self.template) || (has(self.basicAuth) && self.basicAuth))",message="preset decides type and data: remove type, template and basicAuth, or the preset; extraData adds keys to a preset"
// +kubebuilder:validation:XValidation:rule="!has(self.template) || !(has(self.basicAuth) && self.basicAuth)",message="template decides the data: remove basicAuth, or write username and password in the template"
// +kubebuilder:validation:XValidation:rule="!(has(self.basicAuth) && self.basicAuth) || !has(self.type) || self.type == 'kubernetes.io/basic-auth'",message="basicAuth makes a Secret of type kubernetes.io/basic-auth: remove type"
// +kubebuilder:validation:XValidation:rule="!has(self.preset) || !(self.preset in ['argocd-repository', 'argocd-repo-creds']) || (has(self.extraData) && 'url' in self.extraData)",message="Argo CD ignores repository credentials without a URL: set extraData.url"
// +kubebuilder:validation:XValidation:rule="!has(self.preset) || self.preset != 'kargo' || (has(self.extraData) && 'repoURL' in self.extraData)",message="Kargo ignores credentials without a URL: set extraData.repoURL"
// +kubebuilder:validation:XValidation:rule="!has(self.type) || self.type != 'kubernetes.io/dockerconfigjson' || (has(self.template) && '.dockerconfigjson' in self.template)",message="a Secret of type kubernetes.io/dockerconfigjson needs template['.dockerconfigjson']"
// +kubebuilder:validation:XValidation:rule="!has(self.type) || !self.type.matches('^([^/]*[.])?kubernetes[.]io/') || self.type in ['kubernetes.io/basic-auth', 'kubernetes.io/dockerconfigjson', 'kubernetes.io/dockercfg', 'kubernetes.io/ssh-auth', 'kubernetes.io/tls']",message="this type of Secret gives power in the cluster and cannot be written: use Opaque, or a type of your own"
type SecretShape struct {
	// Name of the Secret; default is the name of the object.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",message="the name of a Secret has small letters, digits, dashes and dots, and begins and ends with a letter or digit"
	Name string `json:"name,omitempty"`

	// Labels that the Secret has beside the operator's own.
	// +optional
	// +kubebuilder:validation:MaxProperties=50
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.startsWith('gatepass.dev/') && !k.startsWith('app.kubernetes.io/'))",message="labels below gatepass.dev/ and app.kubernetes.io/ are the operator's own"
	Labels map[string]string `json:"labels,omitempty"`

	// Annotations that the Secret has beside the operator's own. A value may be a
	// template as in template, without the token.
	// +optional
	// +kubebuilder:validation:MaxProperties=50
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.startsWith('gatepass.dev/'))",message="annotations below gatepass.dev/ are the operator's own"
	Annotations map[string]string `json:"annotations,omitempty"`

	// BasicAuth makes a Secret with username and password, of type
	// kubernetes.io/basic-auth, instead of one with token.
	// +optional
	BasicAuth bool `json:"basicAuth,omitempty"`

	// Type of the Secret; default is gatepass.dev/token. Opaque,
	// kubernetes.io/basic-auth and kubernetes.io/dockerconfigjson need no policy.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Type string `json:"type,omitempty"`

	// Template maps each key of the Secret to a Go template over .Token, .Username,
	// .ExpiresAt, .Repositories and .Permissions, with the functions b64enc, toJson,
	// urlquery and default.
	// +optional
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=50
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.matches('^[-._a-zA-Z0-9]{1,253}$'))",message="a key of a Secret has letters, digits, dots, dashes and underscores"
	Template map[string]TemplateText `json:"template,omitempty"`

	// ExtraData adds keys to the Secret. Values are templates as in template.
	// +optional
	// +kubebuilder:validation:MaxProperties=50
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.matches('^[-._a-zA-Z0-9]{1,253}$'))",message="a key of a Secret has letters, digits, dots, dashes and underscores"
	ExtraData map[string]TemplateText `json:"extraData,omitempty"`

	// Preset makes what a consumer reads: keys, type, labels and annotations.
	// +optional
	Preset Preset `json:"preset,omitempty"`
}

// TemplateText is a Go template.
// +kubebuilder:validation:MaxLength=16384
type TemplateText string

// Preset names a consumer.
// +kubebuilder:validation:Enum=flux;argocd-repository;argocd-repo-creds;argocd-scm-creds;tekton;kargo;crossplane-github;terraform-git-credentials
type Preset string

// The presets.
const (
	PresetFlux                    Preset = "flux"
	PresetArgoCDRepository        Preset = "argocd-repository"
	PresetArgoCDRepoCreds         Preset = "argocd-repo-creds"
	PresetArgoCDSCMCreds          Preset = "argocd-scm-creds"
	PresetTekton                  Preset = "tekton"
	PresetKargo                   Preset = "kargo"
	PresetCrossplaneGitHub        Preset = "crossplane-github"
	PresetTerraformGitCredentials Preset = "terraform-git-credentials"
)

// TokenSpec asks for a token.
type TokenSpec struct {
	Access `json:",inline"`

	// AppRef names an App in the same namespace. Without it the operator's own
	// configuration is used.
	// +optional
	AppRef *LocalAppReference `json:"appRef,omitempty"`

	// Secret says how the token is delivered.
	// +optional
	Secret SecretShape `json:"secret,omitempty"`
}

// LocalAppReference names an App in the namespace of what refers to it.
type LocalAppReference struct {
	// Name of the App.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// TokenStatus is what the operator found and did.
type TokenStatus struct {
	// ObservedGeneration is the spec that this status is about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// ManagedSecret is the Secret that holds the token.
	// +optional
	ManagedSecret *ManagedSecret `json:"managedSecret,omitempty"`

	// InstallationAccessToken is about the token in the Secret.
	// +optional
	InstallationAccessToken *InstallationAccessToken `json:"installationAccessToken,omitempty"`

	// Repositories are those that GitHub granted, as owner/name; owner/* is all of
	// the installation.
	// +optional
	// +listType=atomic
	Repositories []string `json:"repositories,omitempty"`

	// Permissions are those that GitHub granted.
	// +optional
	Permissions map[string]string `json:"permissions,omitempty"`

	// NextRefresh is when the token will be replaced.
	// +optional
	NextRefresh *metav1.Time `json:"nextRefresh,omitempty"`

	// Conditions are Ready and Permitted, and Reconciling or Stalled while true.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// ManagedSecret names a Secret.
type ManagedSecret struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

// InstallationAccessToken says when a token was made and when it ends.
type InstallationAccessToken struct {
	UpdatedAt metav1.Time `json:"updatedAt"`
	ExpiresAt metav1.Time `json:"expiresAt"`
}

// Token asks for a GitHub token in a Secret of its own namespace.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=tokens,shortName=gtok,categories=gatepass
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`,priority=1
// +kubebuilder:printcolumn:name="Expires",type=string,JSONPath=`.status.installationAccessToken.expiresAt`
// +kubebuilder:printcolumn:name="Repositories",type=string,JSONPath=`.status.repositories`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Token struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec TokenSpec `json:"spec"`

	// Status says -1 until the operator has looked: an object that was just made must
	// not be taken for one that is in order.
	// +kubebuilder:default:={"observedGeneration":-1}
	Status TokenStatus `json:"status,omitempty"`
}

// TokenList is a list of Tokens.
//
// +kubebuilder:object:root=true
type TokenList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Token `json:"items"`
}
