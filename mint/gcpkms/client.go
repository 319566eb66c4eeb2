package gcpkms

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"time"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/auth/credentials"
	"cloud.google.com/go/compute/metadata"
	kms "cloud.google.com/go/kms/apiv1"
	"github.com/gatepass/gatepass/internal/redact"
	"github.com/gatepass/gatepass/mint/signer"
	"github.com/googleapis/gax-go/v2/apierror"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
)

const (
	// idle is how long an unused connection stays open. An App signs every eight
	// minutes; by then a network may have dropped the connection without notice.
	idle = time.Minute

	// maxAnswer is the largest answer, in bytes; the largest are lists of versions.
	maxAnswer = 4 << 20
)

// silent keeps the libraries' logs, which show tokens, off standard error.
var silent = slog.New(slog.DiscardHandler)

type cloudKMS struct {
	signer.Client[connection]
	options []option.ClientOption // to reach a double, for tests
	detect  func(*credentials.DetectOptions) (*auth.Credentials, error)
}

type connection struct {
	credentials *auth.Credentials
	service     *kms.KeyManagementClient
}

func (c *cloudKMS) open(ctx context.Context) (*connection, error) {
	found, err := c.credentials(ctx)
	if err != nil {
		return nil, err
	}
	service, err := kms.NewKeyManagementClient(ctx, append([]option.ClientOption{
		option.WithAuthCredentials(found),
		option.WithLogger(silent),
		option.WithTelemetryDisabled(),
		option.WithGRPCDialOption(grpc.WithIdleTimeout(idle)),
		option.WithGRPCDialOption(grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer))),
	}, c.options...)...)
	if err != nil {
		return nil, err
	}
	// By default, the client waits up to a minute between attempts, and then reports
	// the deadline instead of the last answer.
	service.CallOptions = &kms.KeyManagementCallOptions{}
	return &connection{found, service}, nil
}

func (c *connection) close() { _ = c.service.Close() } // the client was dropped, so its error does not matter

// credentials finds the application default credentials. To find out whether this
// machine is Google's, the library asks the network for some seconds, without a
// deadline.
func (c *cloudKMS) credentials(ctx context.Context) (*auth.Credentials, error) {
	detect := c.detect
	if detect == nil {
		detect = credentials.DetectDefault
	}
	type result struct {
		found *auth.Credentials
		err   error
	}
	results := make(chan result, 1)
	go func() {
		found, err := detect(&credentials.DetectOptions{Scopes: kms.DefaultAuthScopes(), UseSelfSignedJWT: true, Logger: silent})
		results <- result{found, err}
	}()
	select {
	case r := <-results:
		if r.err != nil {
			return nil, undetected(r.err)
		}
		return r.found, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// call makes one call. permission is what the identity needs for it. do also checks the
// answer.
func call[Out any](ctx context.Context, s *Signer, what, permission string, do func(context.Context, *kms.KeyManagementClient) (Out, error)) (Out, error) {
	explain := func(err error) *signer.Problem { return explain(permission, err) }
	return signer.Call(ctx, &s.client.Client, what, explain, func(ctx context.Context, c *connection) (Out, error) {
		var none Out
		switch _, err := c.credentials.Token(ctx); {
		case err == nil:
			return do(ctx, c.service)
		case signer.IsLate(ctx, err):
			return none, signer.LateToken()
		default:
			return none, unauthenticated(err)
		}
	})
}

const renew = "run gcloud auth application-default login, correct the file of GOOGLE_APPLICATION_CREDENTIALS, or give this machine a service account"

// metadataPath is part of every address of the metadata server
// (https://cloud.google.com/compute/docs/metadata/overview).
const metadataPath = "/computeMetadata/"

// undetected returns why no credentials were found.
func undetected(err error) *signer.Problem {
	if strings.Contains(err.Error(), "could not find default credentials") { // this error has no type
		return signer.New("there are no Google credentials (GOOGLE_APPLICATION_CREDENTIALS, gcloud, service account of this machine)", renew)
	}
	why := redact.Text(err.Error(), maxShown)
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		why = path.Error()
	}
	return signer.New("the Google credentials cannot be read: "+why, renew)
}

// unauthenticated returns why there is no access token. The libraries' errors are taken
// apart and not wrapped: they contain whole answers.
func unauthenticated(err error) *signer.Problem {
	p := &signer.Problem{Do: renew, Stale: true}
	if e, ok := errors.AsType[*auth.Error](err); ok {
		p.Why, p.Again = "Google does not accept the credentials: "+reason(e), e.Temporary()
		return p
	}
	if e, ok := errors.AsType[*metadata.Error](err); ok {
		p.Why = "the metadata server gives no access token: " + redact.Text(strconv.Itoa(e.Code)+" "+e.Message, maxShown)
		return p
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		p.Why, p.Do = "the server of the credentials cannot be reached: "+redact.Text(e.Err.Error(), maxShown), "check the network and the proxy"
		p.Again = !strings.Contains(e.URL, metadataPath) // the metadata client has tried more than once
		return p
	}
	_, isUndefined := errors.AsType[metadata.NotDefinedError](err)
	switch {
	case isUndefined:
		p.Why = "this machine has no service account"
	case strings.Contains(err.Error(), `unable to parse "`): // followed by the output of a program, including the token
		p.Why, p.Do = "the program of the credentials printed no credentials", "run it by hand"
	default:
		p.Why = "the credentials give no access token: " + redact.Text(err.Error(), maxShown)
	}
	return p
}

// reason returns the text of the credentials' server.
func reason(e *auth.Error) string {
	status := "no reason is given"
	if e.Response != nil {
		status = e.Response.Status
	}
	return signer.OAuthError(e.Body, status, maxShown)
}

// The names of the three calls in IAM
// (https://cloud.google.com/kms/docs/reference/permissions-and-roles).
const (
	listPermission      = "cloudkms.cryptoKeyVersions.list"
	publicKeyPermission = "cloudkms.cryptoKeyVersions.viewPublicKey"
	signPermission      = "cloudkms.cryptoKeyVersions.useToSign"
)

// roles are the predefined roles that have a permission and few others.
var roles = map[string]string{
	listPermission:      "roles/cloudkms.viewer",
	publicKeyPermission: "roles/cloudkms.signerVerifier",
	signPermission:      "roles/cloudkms.signerVerifier",
}

const (
	makeKey     = "create one with purpose asymmetric-signing and algorithm rsa-sign-pkcs1-2048-sha256 (or 3072, 4096)"
	wrongServer = "check that no proxy is between this machine and Cloud KMS"

	// maxShown is how much of Google's text an error shows, in bytes.
	maxShown = 300
)

// explain returns why a call that needs permission failed.
func explain(permission string, err error) *signer.Problem {
	if api, ok := apierror.FromError(err); ok {
		return explainStatus(permission, api)
	}
	return signer.New("the client of Cloud KMS cannot be created: "+redact.Text(err.Error(), maxShown), "check the GOOGLE_ variables")
}

// explainStatus distinguishes the statuses of gRPC
// (https://cloud.google.com/apis/design/errors).
func explainStatus(permission string, api *apierror.APIError) *signer.Problem {
	line := func(why, do string) *signer.Problem { return signer.New(why+excerpt(api), do) }
	again := func(why, do string) *signer.Problem { return signer.Passing(why+excerpt(api), do, retryAfter(api)) }
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
		return damage("the digest arrived damaged" + excerpt(api))
	case code == codes.InvalidArgument:
		return line("Google does not accept this as a signing key", makeKey)
	case code == codes.Unauthenticated:
		return &signer.Problem{Why: "Google does not accept the credentials" + excerpt(api), Do: renew, Stale: true}
	case code == codes.ResourceExhausted:
		return again("the quota is used up", "try again in a moment, or raise the quota of cryptographic requests to Cloud KMS")
	case code == codes.Unavailable:
		return explainUnavailable(api)
	case code == codes.Internal, code == codes.Unknown, code == codes.Aborted:
		return again("Cloud KMS has an internal error ("+code.String()+")", "try again in a moment")
	case code == codes.DeadlineExceeded, code == codes.Canceled: // from the server: our own deadline is reported as late
		return signer.Passing("Google did not answer in time", "check that "+host+" can be reached from here", 0)
	default:
		return line("Google refuses ("+code.String()+")", "")
	}
}

// explainState says why a version cannot be used, by Google's text: the details name
// only the state KEY_DISABLED (https://cloud.google.com/kms/docs/key-states).
func explainState(api *apierror.APIError) *signer.Problem {
	text := api.GRPCStatus().Message()
	_, state, _ := strings.Cut(text, "current state is: ")
	state = strings.TrimRight(state, ".")
	switch {
	case strings.Contains(text, "key purpose"):
		return signer.New("this key cannot sign"+excerpt(api), makeKey)
	case state == "DISABLED":
		return signer.New("the version is disabled", "enable it: gcloud kms keys versions enable")
	case state == "DESTROY_SCHEDULED":
		return signer.New("the version is about to be destroyed", "if it is still wanted: gcloud kms keys versions restore, then enable")
	case state == "DESTROYED":
		return signer.New("the version is destroyed", "name another version, or import the App's key as a new version")
	case strings.HasPrefix(state, "PENDING_") || strings.HasSuffix(state, "_FAILED"):
		return signer.New("the version has no key ("+state+")", "wait until its key is created or imported")
	}
	return signer.New("the key cannot be used"+excerpt(api), "gcloud kms keys versions describe")
}

// explainUnavailable distinguishes a network problem from a problem of the service.
// gRPC shows the difference only in its text.
func explainUnavailable(api *apierror.APIError) *signer.Problem {
	text := api.GRPCStatus().Message()
	switch {
	case strings.Contains(text, "x509:") || strings.Contains(text, "tls: failed to verify"):
		return signer.New("the certificate of Cloud KMS is not trusted"+excerpt(api), "trust the authority of the proxy between this machine and the service")
	case strings.Contains(text, "no such host"):
		return signer.New("the host of Cloud KMS cannot be found"+excerpt(api), "check this machine's DNS")
	case strings.Contains(text, "connection error:") || strings.Contains(text, "error reading from server"):
		return signer.Passing("Cloud KMS cannot be reached"+excerpt(api), "check the network and the proxy", 0)
	}
	return signer.Passing("Cloud KMS has an internal error (Unavailable)"+excerpt(api), "try again in a moment", retryAfter(api))
}

// isForeign reports whether an answer is not from a gRPC server, such as a proxy's
// page.
func isForeign(api *apierror.APIError) bool {
	return strings.Contains(api.GRPCStatus().Message(), "unexpected HTTP status code received from server") ||
		strings.Contains(api.GRPCStatus().Message(), "received unexpected content-type")
}

// isDisabledAPI reports whether a project has not enabled Cloud KMS. Google reports
// that as a missing permission, or formerly as a state.
func isDisabledAPI(api *apierror.APIError) bool {
	return api.Reason() == "SERVICE_DISABLED" || strings.Contains(api.GRPCStatus().Message(), "API has not been used in")
}

func isChecksum(api *apierror.APIError) bool {
	text := strings.ToLower(api.GRPCStatus().Message())
	return strings.Contains(text, "crc32c") || strings.Contains(text, "checksum")
}

// excerpt returns Google's text, after a colon and safe for an error.
func excerpt(api *apierror.APIError) string {
	return signer.Excerpt(api.GRPCStatus().Message(), maxShown)
}

func retryAfter(api *apierror.APIError) time.Duration {
	if info := api.Details().RetryInfo; info != nil {
		return max(0, info.GetRetryDelay().AsDuration())
	}
	return 0
}
