package ssmstore

import (
	"strings"

	"github.com/aws/smithy-go"

	"github.com/gatepass/gatepass/internal/awsclient"
	"github.com/gatepass/gatepass/internal/oneline"
)

func what(name string) string { return "read SSM parameter " + name }

// reading is the call that reads a parameter.
func reading(name, region string) awsclient.Call {
	return awsclient.Call{What: what(name), Service: "SSM", Region: region, Explain: func(api smithy.APIError) error {
		return explain(name, region, api)
	}}
}

// explain tells what SSM has of its own; nil for all else.
func explain(name, region string, api smithy.APIError) error {
	line := func(why, do string) error { return oneline.New(what(name), why, do) }
	switch code := api.ErrorCode(); {
	case awsclient.IsThrottle(api):
		return line("AWS throttles this account ("+code+")", "try again in a moment, or raise the throughput of Parameter Store in "+region)
	case strings.HasPrefix(code, "AccessDenied"):
		return denied(name, awsclient.Said(api))
	case code == "ParameterNotFound" || code == "ParameterVersionNotFound":
		return line("there is no such parameter in "+region, "check name and region in the source; or the issuing side has not delivered yet (gatepass workspace create)")
	case code == "InvalidKeyId" || isKMS(code):
		return line("its KMS key cannot be used ("+code+")"+awsclient.Said(api), "check that the key exists in "+region+", is enabled and may be used by this identity")
	}
	return nil
}

// denied names the permission that is missing: SSM passes on KMS's refusal with
// its own code, told apart by the text only.
func denied(name, said string) error {
	lower := strings.ToLower(said)
	if strings.Contains(lower, "kms") || strings.Contains(lower, "ciphertext") {
		return oneline.New(what(name), "access denied to its KMS key"+said, "allow kms:Decrypt on that key for this identity")
	}
	return oneline.New(what(name), "access denied"+said, "allow ssm:GetParameter on it for this identity, and kms:Decrypt on its key")
}

func isKMS(code string) bool { return len(code) >= 3 && strings.EqualFold(code[:3], "KMS") }
