package ssmstore

import (
	"errors"
	"strings"

	"github.com/aws/smithy-go"

	"github.com/gatepass/gatepass/internal/awsclient"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/store"
)

// An operation is what a store does with a parameter, and the permissions that it
// needs.
type operation struct{ what, action, keyAction string }

// call returns the operation as a call to AWS.
func (op operation) call(region string) awsclient.Call {
	return awsclient.Call{What: op.what, Service: "SSM", Region: region, Explain: func(api smithy.APIError) error {
		switch code := api.ErrorCode(); {
		case strings.HasPrefix(code, "AccessDenied"):
			return denied(op, awsclient.Excerpt(api))
		case code == "ParameterNotFound":
			return &usererr.Error{Op: op.what, Reason: "there is no such parameter in " + region, Err: store.ErrNotFound}
		case code == "ParameterAlreadyExists":
			return &usererr.Error{Op: op.what, Reason: "it exists in " + region + " already", Err: store.ErrExists}
		case code == "ParameterMaxVersionLimitExceeded":
			return usererr.New(op.what, "AWS keeps 100 versions and cannot drop the oldest, because it has a label", "remove that label: aws ssm unlabel-parameter-version")
		case code == "TooManyUpdates":
			return usererr.New(op.what, "another program is writing it", "try again in a moment")
		case code == "InvalidKeyId" || isKMS(code):
			return keyUnusable(op.what, code, region, api)
		}
		return nil
	}}
}

// ErrKey reports that a parameter's KMS key does not exist or cannot be used.
var ErrKey = errors.New("its KMS key cannot be used")

func keyUnusable(what, code, region string, api smithy.APIError) error {
	return &usererr.Error{
		Op: what, Reason: ErrKey.Error() + " (" + code + ")" + awsclient.Excerpt(api), Err: ErrKey,
		Hint: "check that the key exists in " + region + ", is enabled and may be used by this identity",
	}
}

func what(name string) string { return "read SSM parameter " + name }

// reading returns the call that reads a parameter.
func reading(name, region string) awsclient.Call {
	return awsclient.Call{What: what(name), Service: "SSM", Region: region, Explain: func(api smithy.APIError) error {
		return explain(name, region, api)
	}}
}

// explain rewords the errors that only SSM has; nil for all others.
func explain(name, region string, api smithy.APIError) error {
	line := func(why, do string) error { return usererr.New(what(name), why, do) }
	switch code := api.ErrorCode(); {
	case awsclient.IsThrottle(api):
		return line("AWS throttles this account ("+code+")", "try again in a moment, or raise the throughput of Parameter Store in "+region)
	case strings.HasPrefix(code, "AccessDenied"):
		return denied(operation{what(name), "ssm:GetParameter", "kms:Decrypt"}, awsclient.Excerpt(api))
	case code == "ParameterNotFound" || code == "ParameterVersionNotFound":
		return line("there is no such parameter in "+region, "check name and region in the source, or deliver it on the issuing side: gatepass workspace create")
	case code == "InvalidKeyId" || isKMS(code):
		return keyUnusable(what(name), code, region, api)
	}
	return nil
}

// denied names the missing permission. SSM passes on KMS's refusal with its own code;
// only the text distinguishes the two.
func denied(op operation, said string) error {
	lower := strings.ToLower(said)
	if strings.Contains(lower, "kms") || strings.Contains(lower, "ciphertext") {
		return usererr.New(op.what, "access denied to its KMS key"+said, "allow "+op.keyAction+" on that key for this identity")
	}
	return usererr.New(op.what, "access denied"+said, "allow "+op.action+" on it for this identity, and "+op.keyAction+" on its key")
}

func isKMS(code string) bool { return len(code) >= 3 && strings.EqualFold(code[:3], "KMS") }
