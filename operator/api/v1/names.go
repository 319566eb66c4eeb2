package v1

// Labels and annotations of the Secrets that the operator writes.
const (
	// LabelOwnerKind and LabelOwnerName say which object a Secret belongs to. The
	// operator watches the Secrets that have the first one.
	LabelOwnerKind = Group + "/owner-kind"
	LabelOwnerName = Group + "/owner-name"

	// AnnotationExpires says when the token ends (RFC 3339).
	AnnotationExpires = Group + "/expires-at"

	// AnnotationAdopt lets a Token (NAMESPACE/NAME) or a ClusterToken (/NAME) take
	// over a Secret that the operator did not make. The Secret's owner sets it.
	AnnotationAdopt = Group + "/adopt"
)

// AnnotationRestart, on a Token or ClusterToken, lists Deployments in the Secret's
// namespace, separated by commas. Their pods are replaced after each refresh.
const AnnotationRestart = Group + "/restart-deployments"

// The types of Secrets that need no policy.
const (
	SecretTypeToken            = Group + "/token"
	SecretTypeBasicAuth        = "kubernetes.io/basic-auth"
	SecretTypeDockerConfigJSON = "kubernetes.io/dockerconfigjson"
	SecretTypeOpaque           = "Opaque"
)

// Types of conditions. Reconciling and Stalled follow kstatus
// (https://github.com/kubernetes-sigs/cli-utils/tree/master/pkg/kstatus): they are
// there only while they are true.
const (
	ConditionReady       = "Ready"
	ConditionPermitted   = "Permitted"
	ConditionKeyValid    = "KeyValid"
	ConditionReconciling = "Reconciling"
	ConditionStalled     = "Stalled"
)

// Reasons of conditions.
const (
	ReasonRefreshed      = "Refreshed"
	ReasonFailed         = "Failed"
	ReasonRateLimited    = "RateLimited"
	ReasonAppNotFound    = "AppNotFound"
	ReasonAppNotReady    = "AppNotReady"
	ReasonPermitted      = "Permitted"
	ReasonNotPermitted   = "NotPermitted"
	ReasonInvalidSpec    = "InvalidSpec"
	ReasonSecretConflict = "SecretConflict"
	ReasonSuspended      = "Suspended"
	ReasonReady          = "Ready"
	ReasonKeyInvalid     = "KeyInvalid"
	ReasonProgressing    = "Progressing"
)
