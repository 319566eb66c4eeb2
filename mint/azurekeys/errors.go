package azurekeys

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"

	"github.com/gatepass/gatepass/internal/oneline"
	"github.com/gatepass/gatepass/internal/redact"
	"github.com/gatepass/gatepass/internal/remote"
)

const (
	makeKey     = "make one of type RSA or RSA-HSM with 2048 bits or more and the operation sign"
	wrongServer = "check that no proxy stands between this machine and the vault"
	enable      = "enable it: az keyvault key set-attributes --enabled true"

	// maxShown bounds what a message shows of Azure's words, in bytes.
	maxShown = 400
)

// A task is what is asked of a vault: what begins the errors, operation is what an
// access policy calls it.
type task struct{ what, host, operation string }

func (s *Signer) task(doing, version, operation string) task {
	id := s.host + "/" + s.key
	if version != "" {
		id += "/" + version
	}
	return task{doing + " the Azure key " + id, s.host, operation}
}

func (t task) line(why, do string) error { return oneline.New(t.what, why, do) }

func passing(err error, after time.Duration) error {
	return &remote.PassingError{Err: err, After: after}
}

// failed turns the error of an attempt into one line, a [*remote.PassingError]
// where the next attempt may do better. ctx is that of all attempts.
func (t task) failed(ctx context.Context, err error) error {
	e, credentials := errors.AsType[*credentialsError](err)
	switch {
	case ctx.Err() != nil:
		return t.late(ctx.Err(), credentials)
	case errors.Is(err, context.DeadlineExceeded):
		return passing(t.late(err, credentials), 0)
	case credentials:
		return t.unauthenticated(e.err)
	}
	if e, ok := errors.AsType[*chainError](err); ok {
		return t.line("the credentials cannot be chosen: "+redact.Text(e.Error(), maxShown), "correct the AZURE_ variables")
	}
	if refused, ok := errors.AsType[*azcore.ResponseError](err); ok {
		return t.refused(refused)
	}
	return t.lost(err)
}

// late tells that an attempt had no time left: for the access token, or for the
// vault itself.
func (t task) late(err error, token bool) error {
	line := &oneline.Error{What: t.what, Why: "Azure did not answer in time", Do: "check that " + t.host + " can be reached from here", Err: err}
	switch {
	case errors.Is(err, context.Canceled):
		line.Why = "the request was given up"
	case token:
		line.Why, line.Do = "there was no access token in time", "check that the server of the credentials can be reached from here"
	}
	return line
}

// lost tells apart why there is no answer.
func (t task) lost(err error) error {
	shown := err
	if e, ok := errors.AsType[*url.Error](err); ok {
		shown = e.Err // without the address, which what says
	}
	why := redact.Text(shown.Error(), maxShown)
	_, cut := errors.AsType[*cutOff](err)
	_, sent := errors.AsType[*url.Error](err)
	switch {
	case remote.IsUnknownHost(err):
		return t.line("the host "+t.host+" cannot be found", "check the vault's name in the URL and this machine's DNS")
	case remote.IsCertificate(err):
		return t.line("the certificate of the vault is not trusted: "+why, "install the authority of the proxy that is in between")
	case cut:
		return passing(t.line(why, "check the network and the proxy"), 0)
	case sent:
		return passing(t.line("the vault cannot be reached: "+why, "check the network and the proxy"), 0)
	}
	return t.line("the answer is not from Key Vault: "+why, wrongServer)
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

// said is what Azure says, after a colon and fit for a message. It has line breaks
// of its own.
func (r refusal) said() string {
	if text := redact.Text(flat(r.Message), maxShown); text != "" {
		return ": " + text
	}
	return ""
}

// refused tells the statuses apart
// (https://learn.microsoft.com/azure/key-vault/general/rest-error-codes).
func (t task) refused(e *azcore.ResponseError) error {
	body, _ := runtime.Payload(e.RawResponse) // in memory since guard has read it
	r := parseRefusal(body)
	line := func(why, do string) error { return t.line(why+r.said(), do) }
	after := remote.RetryAfter(e.RawResponse.Header)
	switch status := e.StatusCode; {
	case status == http.StatusTooManyRequests:
		return passing(line("Azure throttles this vault", "try again in a moment, or spread its users over more vaults"), after)
	case status >= 500 || status == http.StatusRequestTimeout:
		return passing(line("Key Vault has trouble of its own ("+strconv.Itoa(status)+")", "try again in a moment"), after)
	case r.Code == "":
		return t.line("the answer is not from Key Vault ("+strconv.Itoa(status)+")", wrongServer)
	case status == http.StatusUnauthorized:
		return line("Key Vault does not accept the credentials", "log in to the tenant of the vault: "+renew)
	case status == http.StatusForbidden:
		return t.forbidden(r)
	case status == http.StatusNotFound:
		return line("there is no such key", "check vault, key and version in the URL; for one that was deleted: az keyvault key recover")
	case status == http.StatusBadRequest:
		return line("Key Vault takes this for no key to sign with", makeKey)
	default:
		return line("Key Vault refuses ("+strconv.Itoa(status)+")", "")
	}
}

// forbidden tells who or what forbids the use of a key: all are 403.
func (t task) forbidden(r refusal) error {
	line := func(why, do string) error { return t.line(why+r.said(), do) }
	text := strings.ToLower(r.Message)
	switch {
	case r.Inner.Code == "KeyDisabled" || strings.Contains(text, "disabled key"):
		return t.line("the version is disabled", enable)
	case r.Inner.Code == "KeyNotYetValid" || r.Inner.Code == "KeyExpired" || strings.Contains(text, "not yet valid") || strings.Contains(text, "expired"):
		return line("the version is not valid now", "correct its dates: az keyvault key set-attributes --not-before, --expires")
	case r.Inner.Code == "KeyOperationForbidden":
		return line("this key cannot sign", makeKey)
	case r.Inner.Code == "ForbiddenByFirewall" || r.Inner.Code == "ForbiddenByConnection":
		return line("the firewall of the vault keeps this machine out", "have its network allowed, or use a private endpoint")
	}
	return line("permission denied", "give this identity the role Key Vault Crypto User (Managed HSM Crypto User), or "+t.operation+" on keys in the vault's access policy")
}
