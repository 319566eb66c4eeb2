package gcpkms

import (
	"strings"
	"time"

	"github.com/googleapis/gax-go/v2/apierror"
	"google.golang.org/grpc/codes"

	"github.com/gatepass/gatepass/internal/redact"
	"github.com/gatepass/gatepass/mint/signer"
)

// What IAM calls the three calls
// (https://cloud.google.com/kms/docs/reference/permissions-and-roles).
const (
	listPermission = "cloudkms.cryptoKeyVersions.list"
	lookPermission = "cloudkms.cryptoKeyVersions.viewPublicKey"
	signPermission = "cloudkms.cryptoKeyVersions.useToSign"
)

// roles name the predefined role that has a permission and little else.
var roles = map[string]string{
	listPermission: "roles/cloudkms.viewer",
	lookPermission: "roles/cloudkms.signerVerifier",
	signPermission: "roles/cloudkms.signerVerifier",
}

const (
	makeKey     = "make one with purpose asymmetric-signing and algorithm rsa-sign-pkcs1-2048-sha256 (or 3072, 4096)"
	wrongServer = "check that no proxy stands between this machine and Cloud KMS"

	// maxShown bounds what a message shows of Google's words, in bytes.
	maxShown = 300
)

// explain tells why a call failed that needs a permission.
func explain(permission string, err error) *signer.Problem {
	if api, ok := apierror.FromError(err); ok {
		return explainStatus(permission, api)
	}
	return signer.New("the client of Cloud KMS cannot be made: "+redact.Text(err.Error(), maxShown), "check the variables GOOGLE_ of the environment")
}

// explainStatus tells the statuses of gRPC apart
// (https://cloud.google.com/apis/design/errors).
func explainStatus(permission string, api *apierror.APIError) *signer.Problem {
	line := func(why, do string) *signer.Problem { return signer.New(why+said(api), do) }
	again := func(why, do string) *signer.Problem { return signer.Passing(why+said(api), do, retryAfter(api)) }
	switch code := api.GRPCStatus().Code(); {
	case isForeign(api):
		return line("the answer is not from Cloud KMS", wrongServer)
	case isDisabledAPI(api):
		return line("the Cloud KMS API is not enabled", "gcloud services enable cloudkms.googleapis.com")
	case code == codes.PermissionDenied:
		return line("permission denied", "grant "+roles[permission]+" on the key to this identity; it needs "+permission)
	case code == codes.NotFound:
		return line("there is no such key", "check project, location, key ring, key and version in the URL")
	case code == codes.FailedPrecondition:
		return explainState(api)
	case code == codes.InvalidArgument && isChecksum(api):
		return damage("the digest arrived damaged" + said(api))
	case code == codes.InvalidArgument:
		return line("Google takes this for no key to sign with", makeKey)
	case code == codes.Unauthenticated:
		return &signer.Problem{Why: "Google does not accept the credentials" + said(api), Do: renew, Stale: true}
	case code == codes.ResourceExhausted:
		return again("the quota is used up", "try again in a moment, or raise the quota of cryptographic requests to Cloud KMS")
	case code == codes.Unavailable:
		return explainUnavailable(api)
	case code == codes.Internal, code == codes.Unknown, code == codes.Aborted:
		return again("Cloud KMS has trouble of its own ("+code.String()+")", "try again in a moment")
	case code == codes.DeadlineExceeded, code == codes.Canceled: // not by us: that is late
		return signer.Passing("Google did not answer in time", "check that "+host+" can be reached from here", 0)
	default:
		return line("Google refuses ("+code.String()+")", "")
	}
}

// explainState tells what stands against the use of a version, by Google's words: the
// details name a state only as KEY_DISABLED
// (https://cloud.google.com/kms/docs/key-states).
func explainState(api *apierror.APIError) *signer.Problem {
	text := api.GRPCStatus().Message()
	_, state, _ := strings.Cut(text, "current state is: ")
	state = strings.TrimRight(state, ".")
	switch {
	case strings.Contains(text, "key purpose"):
		return signer.New("this key cannot sign"+said(api), makeKey)
	case state == "DISABLED":
		return signer.New("the version is disabled", "enable it: gcloud kms keys versions enable")
	case state == "DESTROY_SCHEDULED":
		return signer.New("the version is about to be destroyed", "if it is still wanted: gcloud kms keys versions restore, then enable")
	case state == "DESTROYED":
		return signer.New("the version is destroyed", "name another one, or import the App's key as a new one")
	case strings.HasPrefix(state, "PENDING_") || strings.HasSuffix(state, "_FAILED"):
		return signer.New("the version has no key in it ("+state+")", "wait until it is made or imported")
	}
	return signer.New("the key cannot be used"+said(api), "gcloud kms keys versions describe")
}

// explainUnavailable tells a network that is in the way from a service that has trouble.
// gRPC shows it in words only.
func explainUnavailable(api *apierror.APIError) *signer.Problem {
	text := api.GRPCStatus().Message()
	switch {
	case strings.Contains(text, "x509:") || strings.Contains(text, "tls: failed to verify"):
		return signer.New("the certificate of Cloud KMS is not trusted"+said(api), "install the authority of the proxy that is in between")
	case strings.Contains(text, "no such host"):
		return signer.New("the host of Cloud KMS cannot be found"+said(api), "check this machine's DNS")
	case strings.Contains(text, "connection error:") || strings.Contains(text, "error reading from server"):
		return signer.Passing("Cloud KMS cannot be reached"+said(api), "check the network and the proxy", 0)
	}
	return signer.Passing("Cloud KMS has trouble of its own (Unavailable)"+said(api), "try again in a moment", retryAfter(api))
}

// isForeign reports an answer that no gRPC server gave, such as a proxy's page.
func isForeign(api *apierror.APIError) bool {
	return strings.Contains(api.GRPCStatus().Message(), "unexpected HTTP status code received from server") ||
		strings.Contains(api.GRPCStatus().Message(), "received unexpected content-type")
}

// isDisabledAPI reports that a project does not use Cloud KMS, which Google tells
// as a permission that is missing, or formerly as a state.
func isDisabledAPI(api *apierror.APIError) bool {
	return api.Reason() == "SERVICE_DISABLED" || strings.Contains(api.GRPCStatus().Message(), "API has not been used in")
}

func isChecksum(api *apierror.APIError) bool {
	text := strings.ToLower(api.GRPCStatus().Message())
	return strings.Contains(text, "crc32c") || strings.Contains(text, "checksum")
}

// said is what Google says, after a colon and fit for a message.
func said(api *apierror.APIError) string { return signer.Said(api.GRPCStatus().Message(), maxShown) }

func retryAfter(api *apierror.APIError) time.Duration {
	if info := api.Details().RetryInfo; info != nil {
		return max(0, info.GetRetryDelay().AsDuration())
	}
	return 0
}
