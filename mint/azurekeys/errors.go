package azurekeys

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"

	"github.com/gatepass/gatepass/internal/httpclient"
	"github.com/gatepass/gatepass/internal/redact"
	"github.com/gatepass/gatepass/mint/signer"
)

const (
	makeKey     = "make one of type RSA or RSA-HSM with 2048 bits or more and the operation sign"
	wrongServer = "check that no proxy stands between this machine and the vault"
	enable      = "enable it: az keyvault key set-attributes --enabled true"

	// maxShown bounds what a message shows of Azure's words, in bytes.
	maxShown = 400
)

// explain tells why a call failed. operation is what an access policy calls it.
func (s *Signer) explain(operation string, err error) *signer.Problem {
	if refused, ok := errors.AsType[*azcore.ResponseError](err); ok {
		return explainRefusal(operation, refused)
	}
	shown := err
	sent, isSent := errors.AsType[*url.Error](err)
	if isSent {
		shown = sent.Err // without the address, which the error names already
	}
	why := redact.Text(shown.Error(), maxShown)
	_, isCutOff := errors.AsType[*cutOff](err)
	switch {
	case httpclient.IsUnknownHost(err):
		return signer.New("the host "+s.host+" cannot be found", "check the vault's name in the URL and this machine's DNS")
	case httpclient.IsCertificate(err):
		return signer.New("the certificate of the vault is not trusted: "+why, "install the authority of the proxy that is in between")
	case isCutOff:
		return signer.Passing(why, "check the network and the proxy", 0)
	case isSent:
		return signer.Passing("the vault cannot be reached: "+why, "check the network and the proxy", 0)
	}
	return signer.New("the answer is not from Key Vault: "+why, wrongServer)
}

// refusal is the body of an error
// (https://learn.microsoft.com/azure/key-vault/general/authentication-requests-and-responses#error-responses).
type refusal struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Inner   struct {
		Code string `json:"code"`
	} `json:"innererror"`
}

// parseRefusal returns the zero value for what is no error of Key Vault.
func parseRefusal(body []byte) refusal {
	var r struct {
		Error refusal `json:"error"`
	}
	if json.Unmarshal(body, &r) != nil {
		return refusal{}
	}
	return r.Error
}

// explainRefusal tells the statuses apart
// (https://learn.microsoft.com/azure/key-vault/general/rest-error-codes).
func explainRefusal(operation string, e *azcore.ResponseError) *signer.Problem {
	body, _ := runtime.Payload(e.RawResponse) // in memory since guard has read it
	r := parseRefusal(body)
	said := signer.Said(flat(r.Message), maxShown)
	after := httpclient.RetryAfter(e.RawResponse.Header)
	switch status := e.StatusCode; {
	case status == http.StatusTooManyRequests:
		return signer.Passing("Azure throttles this vault"+said, "try again in a moment, or spread its users over more vaults", after)
	case status >= 500 || status == http.StatusRequestTimeout:
		return signer.Passing("Key Vault has trouble of its own ("+strconv.Itoa(status)+")"+said, "try again in a moment", after)
	case r.Code == "":
		return signer.New("the answer is not from Key Vault ("+strconv.Itoa(status)+")", wrongServer)
	case status == http.StatusUnauthorized:
		return &signer.Problem{Why: "Key Vault does not accept the credentials" + said, Do: "log in to the tenant of the vault: " + renew, Stale: true}
	case status == http.StatusForbidden:
		return explainForbidden(operation, r)
	case status == http.StatusNotFound:
		return signer.New("there is no such key"+said, "check vault, key and version in the URL; for one that was deleted: az keyvault key recover")
	case status == http.StatusBadRequest:
		return signer.New("Key Vault takes this for no key to sign with"+said, makeKey)
	default:
		return signer.New("Key Vault refuses ("+strconv.Itoa(status)+")"+said, "")
	}
}

// explainForbidden tells who or what forbids the use of a key: all are 403.
func explainForbidden(operation string, r refusal) *signer.Problem {
	text, said := strings.ToLower(r.Message), signer.Said(flat(r.Message), maxShown)
	switch {
	case r.Inner.Code == "KeyDisabled" || strings.Contains(text, "disabled key"):
		return signer.New("the version is disabled", enable)
	case r.Inner.Code == "KeyNotYetValid" || r.Inner.Code == "KeyExpired" || strings.Contains(text, "not yet valid") || strings.Contains(text, "expired"):
		return signer.New("the version is not valid now"+said, "correct its dates: az keyvault key set-attributes --not-before, --expires")
	case r.Inner.Code == "KeyOperationForbidden":
		return signer.New("this key cannot sign"+said, makeKey)
	case r.Inner.Code == "ForbiddenByFirewall" || r.Inner.Code == "ForbiddenByConnection":
		return signer.New("the firewall of the vault keeps this machine out"+said, "have its network allowed, or use a private endpoint")
	}
	return signer.New("permission denied"+said, "give this identity the role Key Vault Crypto User (Managed HSM Crypto User), or "+operation+" on keys in the vault's access policy")
}
