package gcpkms

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/googleapis/gax-go/v2/apierror"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gatepass/gatepass/internal/oneline"
	"github.com/gatepass/gatepass/internal/redact"
	"github.com/gatepass/gatepass/internal/remote"
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
	reach       = "check that cloudkms.googleapis.com can be reached from here"
	wrongServer = "check that no proxy stands between this machine and Cloud KMS"

	// maxShown bounds what a message shows of Google's words, in bytes.
	maxShown = 300
)

// A task is what is asked of Cloud KMS: what begins the errors, permission is what
// the identity needs for it.
type task struct{ what, permission string }

func (t task) line(why, do string) error { return oneline.New(t.what, why, do) }

// failed turns the error of an attempt into one line, a [*remote.PassingError]
// where the next attempt may do better. ctx is that of all attempts.
func (t task) failed(ctx context.Context, err error) error {
	_, token := errors.AsType[*tokenError](err)
	if ctx.Err() != nil {
		return t.late(ctx.Err(), token)
	}
	if d, ok := errors.AsType[damage](err); ok {
		return passing(oneline.Wrap(t.what, d, "try again; when it stays so, "+wrongServer), 0)
	}
	if _, ok := errors.AsType[*wrongKey](err); ok {
		return oneline.Wrap(t.what, err, wrongServer)
	}
	if e, ok := errors.AsType[*undetectedError](err); ok {
		return t.undetected(e.err)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return passing(t.late(err, token), 0)
	}
	if e, ok := errors.AsType[*tokenError](err); ok {
		return t.unauthenticated(e.err)
	}
	if api, ok := apierror.FromError(err); ok {
		return t.refused(api)
	}
	return t.line("the client of Cloud KMS cannot be made: "+redact.Text(err.Error(), maxShown), "check the variables GOOGLE_ of the environment")
}

func passing(err error, after time.Duration) error {
	return &remote.PassingError{Err: err, After: after}
}

// late tells that an attempt had no time left: for the access token, or for Cloud
// KMS itself.
func (t task) late(err error, token bool) error {
	line := &oneline.Error{What: t.what, Why: "Google did not answer in time", Do: reach, Err: err}
	switch {
	case errors.Is(err, context.Canceled):
		line.Why = "the request was given up"
	case token:
		line.Why, line.Do = "there was no access token in time", "check that the server of the credentials can be reached from here"
	}
	return line
}

// refused tells the statuses of gRPC apart
// (https://cloud.google.com/apis/design/errors).
func (t task) refused(api *apierror.APIError) error {
	line := func(why, do string) error { return oneline.New(t.what, why+said(api), do) }
	switch code := api.GRPCStatus().Code(); {
	case isForeign(api):
		return line("the answer is not from Cloud KMS", wrongServer)
	case isDisabledAPI(api):
		return line("the Cloud KMS API is not enabled", "gcloud services enable cloudkms.googleapis.com")
	case code == codes.PermissionDenied:
		return line("permission denied", "grant "+roles[t.permission]+" on the key to this identity; it needs "+t.permission)
	case code == codes.NotFound:
		return line("there is no such key", "check project, location, key ring, key and version in the URL")
	case code == codes.FailedPrecondition:
		return t.unfit(api)
	case code == codes.InvalidArgument && isChecksum(api):
		return passing(line("the digest arrived damaged", "try again; when it stays so, "+wrongServer), 0)
	case code == codes.InvalidArgument:
		return line("Google takes this for no key to sign with", makeKey)
	case code == codes.Unauthenticated:
		return line("Google does not accept the credentials", renew)
	case code == codes.ResourceExhausted:
		return passing(line("the quota is used up", "try again in a moment, or raise the quota of cryptographic requests to Cloud KMS"), retryAfter(api))
	case code == codes.Unavailable:
		return t.unavailable(api)
	case code == codes.Internal, code == codes.Unknown, code == codes.Aborted:
		return passing(line("Cloud KMS has trouble of its own ("+code.String()+")", "try again in a moment"), retryAfter(api))
	case code == codes.DeadlineExceeded, code == codes.Canceled: // not by us: that is late
		return passing(t.line("Google did not answer in time", reach), 0)
	default:
		return line("Google refuses ("+code.String()+")", "")
	}
}

// unfit tells what stands against the use of a version, by Google's words: the
// details name a state only as KEY_DISABLED
// (https://cloud.google.com/kms/docs/key-states).
func (t task) unfit(api *apierror.APIError) error {
	text := api.GRPCStatus().Message()
	_, state, _ := strings.Cut(text, "current state is: ")
	state = strings.TrimRight(state, ".")
	switch {
	case strings.Contains(text, "key purpose"):
		return t.line("this key cannot sign"+said(api), makeKey)
	case state == "DISABLED":
		return t.line("the version is disabled", "enable it: gcloud kms keys versions enable")
	case state == "DESTROY_SCHEDULED":
		return t.line("the version is about to be destroyed", "if it is still wanted: gcloud kms keys versions restore, then enable")
	case state == "DESTROYED":
		return t.line("the version is destroyed", "name another one, or import the App's key as a new one")
	case strings.HasPrefix(state, "PENDING_") || strings.HasSuffix(state, "_FAILED"):
		return t.line("the version has no key in it ("+state+")", "wait until it is made or imported")
	}
	return t.line("the key cannot be used"+said(api), "gcloud kms keys versions describe")
}

// unavailable tells a network that is in the way from a service that has trouble.
// gRPC shows it in words only.
func (t task) unavailable(api *apierror.APIError) error {
	text := api.GRPCStatus().Message()
	line := func(why, do string) error { return oneline.New(t.what, why+said(api), do) }
	switch {
	case strings.Contains(text, "x509:") || strings.Contains(text, "tls: failed to verify"):
		return line("the certificate of Cloud KMS is not trusted", "install the authority of the proxy that is in between")
	case strings.Contains(text, "no such host"):
		return line("the host of Cloud KMS cannot be found", "check this machine's DNS")
	case strings.Contains(text, "connection error:") || strings.Contains(text, "error reading from server"):
		return passing(line("Cloud KMS cannot be reached", "check the network and the proxy"), 0)
	}
	return passing(line("Cloud KMS has trouble of its own (Unavailable)", "try again in a moment"), retryAfter(api))
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

// isStale reports an error that other credentials may cure.
func isStale(err error) bool { return status.Code(err) == codes.Unauthenticated }

// said is what Google says, after a colon and fit for a message.
func said(api *apierror.APIError) string {
	if text := redact.Text(api.GRPCStatus().Message(), maxShown); text != "" {
		return ": " + text
	}
	return ""
}

func retryAfter(api *apierror.APIError) time.Duration {
	if info := api.Details().RetryInfo; info != nil {
		return max(0, info.GetRetryDelay().AsDuration())
	}
	return 0
}
