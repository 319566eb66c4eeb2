package awsclient

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/processcreds"
	"github.com/aws/smithy-go"

	"github.com/gatepass/gatepass/internal/redact"
	"github.com/gatepass/gatepass/internal/usererr"
)

// maxShown is how much of AWS's text an error shows, in bytes.
const maxShown = 300

// credentialsError reports that there are no AWS credentials.
type credentialsError struct{ err error }

func (e *credentialsError) Error() string { return e.err.Error() }
func (e *credentialsError) Unwrap() error { return e.err }

// A Call describes a call to AWS, to turn its error into one line. It takes the SDK's
// errors apart and does not wrap them: one of them holds the end of the answer, and so
// the secret in it.
type Call struct {
	What    string // starts the line, such as "read SSM parameter /a"
	Service string // as in "SSM"
	Region  string // empty if not known yet
	// Explain returns an error for the service's own errors; nil leaves the error to
	// Call.
	Explain func(smithy.APIError) error
}

// Unconfigured turns the error of [Lazy.Client] into one line.
func (c Call) Unconfigured(ctx context.Context, err error) error {
	if _, ok := errors.AsType[*aws.MissingRegionError](err); ok {
		return usererr.New(c.What, "the AWS region is not set", "add ?region=REGION to the URL or set AWS_REGION")
	}
	if profile, ok := errors.AsType[config.SharedConfigProfileNotExistError](err); ok {
		return usererr.New(c.What, "there is no AWS profile "+profile.Profile, "correct profile in the URL, AWS_PROFILE or ~/.aws/config")
	}
	if ctx.Err() != nil {
		return c.timeoutError(ctx.Err())
	}
	return usererr.New(c.What, "the AWS configuration cannot be read: "+redact.Text(err.Error(), maxShown), "correct ~/.aws/config or the AWS_ variables")
}

// Failed turns the error of a call into one line.
func (c Call) Failed(ctx context.Context, err error) error {
	if e, ok := errors.AsType[*credentialsError](err); ok {
		return c.unauthenticated(ctx, e.err)
	}
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return c.refused(api)
	}
	if ctx.Err() != nil {
		return c.timeoutError(ctx.Err())
	}
	if _, ok := errors.AsType[*smithy.DeserializationError](err); ok {
		return usererr.New(c.What, "the answer is incomplete or is not from "+c.Service, "check the network, and the endpoint that the URL or AWS_ENDPOINT_URL names")
	}
	return c.noAnswerError(err)
}

func (c Call) timeoutError(err error) error {
	why := "AWS did not answer in time"
	if errors.Is(err, context.Canceled) {
		why = "the request was cancelled"
	}
	return &usererr.Error{Op: c.What, Reason: why, Hint: "check that " + c.Service + " can be reached from here", Err: err}
}

func (c Call) unauthenticated(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return c.timeoutError(ctx.Err())
	}
	const do = "set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give this machine a role"
	operation, ok := errors.AsType[*smithy.OperationError](err)
	_, process := errors.AsType[*processcreds.ProviderError](err)
	switch {
	case process: // this error repeats the output of the process
		return usererr.New(c.What, "the credential_process of the AWS profile failed or printed no credentials", "run that command by hand")
	case ok && operation.Service() == "ec2imds":
		return usererr.New(c.What, "there are no AWS credentials (environment, profile, container role, instance role)", do)
	case ok:
		return usererr.New(c.What, "no AWS credentials from "+operation.Service()+": "+reason(operation.Err), "check that this identity may assume the role, or run aws sso login")
	}
	return usererr.New(c.What, "no AWS credentials: "+strings.TrimPrefix(reason(err), "failed to refresh cached credentials, "), do)
}

// reason returns the last part of an error, which is the informative one in the SDK's
// errors.
func reason(err error) string {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return redact.Text(api.ErrorCode()+": "+api.ErrorMessage(), maxShown)
	}
	if urlErr, ok := errors.AsType[*url.Error](err); ok {
		err = urlErr.Err
	}
	return redact.Text(err.Error(), maxShown)
}

// Excerpt returns AWS's text beyond the code, after a colon and safe for an error; "" if
// there is none.
func Excerpt(api smithy.APIError) string {
	text := redact.Text(api.ErrorMessage(), maxShown)
	if text == "" || text == api.ErrorCode() || text == "UnknownError" {
		return ""
	}
	return ": " + text
}

func (c Call) refused(api smithy.APIError) error {
	if c.Explain != nil {
		if err := c.Explain(api); err != nil {
			return err
		}
	}
	line := func(why, do string) error { return usererr.New(c.What, why, do) }
	switch code := api.ErrorCode(); {
	case IsThrottle(api):
		return line("AWS throttles this account ("+code+")", "try again in a moment")
	case expiredCodes[code]:
		return line("the AWS credentials have expired ("+code+")", "renew them (aws sso login, a new session) or give this machine a role")
	case rejectedCodes[code]:
		return line("AWS does not accept the credentials ("+code+")"+Excerpt(api), "check AWS_PROFILE, the AWS_ variables and the clock of this machine")
	case api.ErrorFault() == smithy.FaultServer || code == "InternalServerError" || code == "ServiceUnavailable":
		return line(c.Service+" has an internal error ("+code+")", "try again in a moment")
	case code == "UnknownError":
		return line("the answer is not from "+c.Service, "check the endpoint that the URL or AWS_ENDPOINT_URL names")
	default:
		return line("AWS refuses ("+code+")"+Excerpt(api), "")
	}
}

var expiredCodes = map[string]bool{"ExpiredTokenException": true, "ExpiredToken": true}

var rejectedCodes = map[string]bool{
	"UnrecognizedClientException":         true,
	"InvalidClientTokenId":                true,
	"InvalidSignatureException":           true,
	"SignatureDoesNotMatch":               true,
	"IncompleteSignature":                 true,
	"IncompleteSignatureException":        true,
	"MissingAuthenticationToken":          true,
	"MissingAuthenticationTokenException": true,
	"InvalidAccessKeyId":                  true,
	"AuthFailure":                         true,
	"NotAuthorized":                       true,
	"OptInRequired":                       true,
	"RequestExpired":                      true,
}

// isStale reports whether other credentials may help against an error.
func isStale(err error) bool {
	if _, ok := errors.AsType[*credentialsError](err); ok {
		return true
	}
	api, ok := errors.AsType[smithy.APIError](err)
	return ok && (expiredCodes[api.ErrorCode()] || rejectedCodes[api.ErrorCode()])
}

func (c Call) noAnswerError(err error) error {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return usererr.New(c.What, "the host "+dns.Name+" cannot be found", "check region "+c.Region+", the endpoint and this machine's DNS")
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return usererr.New(c.What, "the certificate of "+c.Service+"'s endpoint is not trusted: "+reason(err), "set AWS_CA_BUNDLE if a proxy is in between")
	}
	if _, ok := errors.AsType[*url.Error](err); ok {
		return usererr.New(c.What, c.Service+" cannot be reached: "+reason(err), "check the network, the proxy and the endpoint")
	}
	if operation, ok := errors.AsType[*smithy.OperationError](err); ok {
		err = operation.Err
	}
	return usererr.New(c.What, redact.Text(err.Error(), maxShown), "")
}
