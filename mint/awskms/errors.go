package awskms

import (
	"errors"
	"strings"

	"github.com/aws/smithy-go"

	"github.com/gatepass/gatepass/internal/awsclient"
	"github.com/gatepass/gatepass/internal/usererr"
)

// What IAM and key policies call the two calls.
const (
	lookAction = "kms:GetPublicKey"
	signAction = "kms:Sign"
)

// What lies below errors that an import goes on from.
var (
	errAbsent = errors.New("no such key")
	errState  = errors.New("a state that forbids it")
)

// what begins an error: "sign with the KMS key alias/x".
func (s *Signer) what(doing string) string { return doing + " " + s.name("") }

func (s *Signer) failure(what, action, region string) awsclient.Call {
	return awsclient.Call{What: what, Service: "KMS", Region: region, Explain: func(api smithy.APIError) error {
		return explain(what, action, region, api)
	}}
}

// explain tells the errors of signing, as the AWS KMS API reference lists them; nil
// for all else.
func explain(what, action, region string, api smithy.APIError) error {
	line := func(why, do string) error { return usererr.New(what, why, do) }
	switch code := api.ErrorCode(); {
	case awsclient.IsThrottle(api):
		return line("AWS throttles this account ("+code+")", "try again in a moment, or raise the request quota of KMS in "+region)
	case strings.HasPrefix(code, "AccessDenied"):
		return line("access denied"+awsclient.Said(api), "allow "+action+" on it for this identity, in its key policy or by IAM")
	case code == "NotFoundException":
		return &usererr.Error{Op: what, Reason: "there is no such key or alias in " + region, Hint: "check key, region and account in the URL", Err: errAbsent}
	case code == "DisabledException":
		return line("the key is disabled", "have it enabled: aws kms enable-key")
	case code == "KMSInvalidStateException":
		return invalidState(what, api)
	case code == "InvalidKeyUsageException" || code == "UnsupportedOperationException":
		return line("this key cannot sign ("+code+")", "make one with key spec RSA_2048 (or more) and key usage SIGN_VERIFY")
	case code == "InvalidArnException" || code == "ValidationException":
		return line("AWS takes this for no key ("+code+")"+awsclient.Said(api), "write awskms:///alias/NAME, a key's id or its ARN")
	case code == "KeyUnavailableException" || code == "DependencyTimeoutException" || code == "KMSInternalException":
		return line("KMS has trouble of its own ("+code+")", "try again in a moment")
	}
	return nil
}

// invalidState tells the states apart by KMS's words, which are all there is
// (https://docs.aws.amazon.com/kms/latest/developerguide/key-state.html).
func invalidState(what string, api smithy.APIError) error {
	line := func(why, do string) error { return &usererr.Error{Op: what, Reason: why, Hint: do, Err: errState} }
	switch said := strings.ToLower(api.ErrorMessage()); {
	case strings.Contains(said, "pending deletion"):
		return line("the key is pending deletion", "if it is still wanted: aws kms cancel-key-deletion, then aws kms enable-key")
	case strings.Contains(said, "pending import"):
		return line("the key is pending import: it has no key material", "import the App's private key: gatepass app key import")
	case strings.Contains(said, "disabled"):
		return line("the key is disabled", "have it enabled: aws kms enable-key")
	}
	return line("the key cannot be used in its state"+awsclient.Said(api), "see aws kms describe-key")
}
