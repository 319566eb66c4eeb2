package ssmstore

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

	"github.com/gatepass/gatepass/internal/oneline"
	"github.com/gatepass/gatepass/internal/redact"
)

// maxShown bounds what a message shows of AWS's words, in bytes.
const maxShown = 300

// credentialsError is a failure to get AWS credentials.
type credentialsError struct{ err error }

func (e *credentialsError) Error() string { return e.err.Error() }
func (e *credentialsError) Unwrap() error { return e.err }

func what(name string) string { return "read SSM parameter " + name }

// describeConfig turns a failure to configure the SDK into one line.
func describeConfig(ctx context.Context, name string, err error) error {
	if _, ok := errors.AsType[*aws.MissingRegionError](err); ok {
		return oneline.New(what(name), "no AWS region is set", "add ?region=REGION to the source or set AWS_REGION")
	}
	if profile, ok := errors.AsType[config.SharedConfigProfileNotExistError](err); ok {
		return oneline.New(what(name), "there is no AWS profile "+profile.Profile, "correct profile in the source, AWS_PROFILE or ~/.aws/config")
	}
	if ctx.Err() != nil {
		return late(name, ctx.Err())
	}
	return oneline.New(what(name), "the AWS configuration cannot be read: "+redact.Text(err.Error(), maxShown), "correct ~/.aws/config or the AWS_ variables")
}

// describe turns a failed read into one line. The SDK's errors are taken apart
// and not wrapped: one of them keeps the end of the answer, and so the value.
func describe(ctx context.Context, name, region string, err error) error {
	if c, ok := errors.AsType[*credentialsError](err); ok {
		return describeCredentials(ctx, name, c.err)
	}
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return describeAPI(name, region, api)
	}
	if ctx.Err() != nil {
		return late(name, ctx.Err())
	}
	if _, ok := errors.AsType[*smithy.DeserializationError](err); ok {
		return oneline.New(what(name), "the answer is cut off or is not from SSM", "check the network, and the endpoint that the source or AWS_ENDPOINT_URL names")
	}
	return describeNetwork(name, region, err)
}

func late(name string, err error) error {
	why := "AWS did not answer in time"
	if errors.Is(err, context.Canceled) {
		why = "the request was given up"
	}
	return &oneline.Error{What: what(name), Why: why, Do: "check that SSM can be reached from here", Err: err}
}

func describeCredentials(ctx context.Context, name string, err error) error {
	if ctx.Err() != nil {
		return late(name, ctx.Err())
	}
	const do = "set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give this machine a role"
	operation, ok := errors.AsType[*smithy.OperationError](err)
	_, process := errors.AsType[*processcreds.ProviderError](err)
	switch {
	case process: // its error repeats what the process printed
		return oneline.New(what(name), "the credential_process of the AWS profile failed or printed no credentials", "run that command by hand")
	case ok && operation.Service() == "ec2imds":
		return oneline.New(what(name), "there are no AWS credentials (environment, profile, container role, instance role)", do)
	case ok:
		return oneline.New(what(name), "no AWS credentials from "+operation.Service()+": "+reason(operation.Err), "check that this identity may take on the role, or run aws sso login")
	}
	return oneline.New(what(name), "no AWS credentials: "+strings.TrimPrefix(reason(err), "failed to refresh cached credentials, "), do)
}

// reason is the last part of an error, which for the SDK's is the telling one.
func reason(err error) string {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return redact.Text(api.ErrorCode()+": "+api.ErrorMessage(), maxShown)
	}
	if urlErr, ok := errors.AsType[*url.Error](err); ok {
		err = urlErr.Err
	}
	return redact.Text(err.Error(), maxShown)
}

func describeAPI(name, region string, api smithy.APIError) error {
	said := ""
	if text := redact.Text(api.ErrorMessage(), maxShown); text != "" && text != api.ErrorCode() && text != "UnknownError" {
		said = ": " + text
	}
	line := func(why, do string) error { return oneline.New(what(name), why, do) }
	switch code := api.ErrorCode(); {
	case isThrottle(api):
		return line("AWS throttles this account ("+code+")", "try again in a moment, or raise the throughput of Parameter Store in "+region)
	case strings.HasPrefix(code, "AccessDenied"):
		return describeDenied(name, said)
	case code == "ParameterNotFound" || code == "ParameterVersionNotFound":
		return line("there is no such parameter in "+region, "check name and region in the source; or the issuing side has not delivered yet (gatepass workspace create)")
	case code == "InvalidKeyId" || isKMS(code):
		return line("its KMS key cannot be used ("+code+")"+said, "check that the key exists in "+region+", is enabled and may be used by this identity")
	case expiredCodes[code]:
		return line("the AWS credentials have expired ("+code+")", "renew them (aws sso login, a new session) or give this machine a role")
	case rejectedCodes[code]:
		return line("AWS does not accept the credentials ("+code+")"+said, "check AWS_PROFILE, the AWS_ variables and the clock of this machine")
	case api.ErrorFault() == smithy.FaultServer || code == "InternalServerError" || code == "ServiceUnavailable":
		return line("SSM has trouble of its own ("+code+")", "try again in a moment")
	case code == "UnknownError":
		return line("the answer is no answer of SSM", "check the endpoint that the source or AWS_ENDPOINT_URL names")
	default:
		return line("AWS refuses ("+code+")"+said, "")
	}
}

// describeDenied names the permission that is missing: SSM passes on KMS's
// refusal with its own code, told apart by the text only.
func describeDenied(name, said string) error {
	lower := strings.ToLower(said)
	if strings.Contains(lower, "kms") || strings.Contains(lower, "ciphertext") {
		return oneline.New(what(name), "access denied to its KMS key"+said, "allow kms:Decrypt on that key for this identity")
	}
	return oneline.New(what(name), "access denied"+said, "allow ssm:GetParameter on it for this identity, and kms:Decrypt on its key")
}

func isKMS(code string) bool { return len(code) >= 3 && strings.EqualFold(code[:3], "KMS") }

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

// isStale reports an error that other credentials may cure.
func isStale(err error) bool {
	if _, ok := errors.AsType[*credentialsError](err); ok {
		return true
	}
	api, ok := errors.AsType[smithy.APIError](err)
	return ok && (expiredCodes[api.ErrorCode()] || rejectedCodes[api.ErrorCode()])
}

func describeNetwork(name, region string, err error) error {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return oneline.New(what(name), "the host "+dns.Name+" cannot be found", "check region "+region+", the endpoint and this machine's DNS")
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return oneline.New(what(name), "the certificate of SSM's endpoint is not trusted: "+reason(err), "set AWS_CA_BUNDLE if a proxy is in between")
	}
	if _, ok := errors.AsType[*url.Error](err); ok {
		return oneline.New(what(name), "SSM cannot be reached: "+reason(err), "check the network, the proxy and the endpoint")
	}
	if operation, ok := errors.AsType[*smithy.OperationError](err); ok {
		err = operation.Err
	}
	return oneline.New(what(name), redact.Text(err.Error(), maxShown), "")
}
