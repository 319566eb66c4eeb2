package azurekeys

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"
	"github.com/gatepass/gatepass/internal/httpclient"
	"github.com/gatepass/gatepass/internal/redact"
	"github.com/gatepass/gatepass/mint/signer"
)

// tokenRetry limits the credentials' own attempts to less time than one of ours takes.
var tokenRetry = policy.RetryOptions{MaxRetries: 3, RetryDelay: 200 * time.Millisecond, MaxRetryDelay: 2 * time.Second}

type keyVault struct {
	signer.Client[azkeys.Client]
	url       string
	cloud     cloud.Configuration
	transport policy.Transporter // for tests; nil means the network
}

func (c *keyVault) open(context.Context) (*azkeys.Client, error) {
	found, err := azidentity.NewDefaultAzureCredential(&azidentity.DefaultAzureCredentialOptions{
		ClientOptions: policy.ClientOptions{Cloud: c.cloud, Transport: c.transport, Retry: tokenRetry},
	})
	if err != nil {
		return nil, signer.New("the credentials cannot be chosen: "+redact.Text(err.Error(), maxShown), "correct the AZURE_ variables")
	}
	transport := c.transport
	if transport == nil {
		transport = network()
	}
	return azkeys.NewClient(c.url, identity{found}, &azkeys.ClientOptions{ClientOptions: policy.ClientOptions{
		Transport: guard{transport},
		// By default, the client waits up to a minute between attempts, and then
		// reports the deadline instead of the last answer.
		Retry: policy.RetryOptions{MaxRetries: -1},
	}})
}

// network returns the transport for Key Vault. It follows no redirects, because a vault
// sends none.
func network() *http.Client {
	t := httpclient.Transport()
	t.Proxy = http.ProxyFromEnvironment
	return &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// identity marks the errors of the credentials, to distinguish them from those of Key
// Vault.
type identity struct{ azcore.TokenCredential }

func (i identity) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	token, err := i.TokenCredential.GetToken(ctx, o)
	switch {
	case err == nil:
		return token, nil
	case !signer.IsLate(ctx, err):
		return token, unauthenticated(err)
	}
	if late, ok := ctx.Value(lateToken{}).(*atomic.Bool); ok {
		late.Store(true)
	}
	return token, context.DeadlineExceeded
}

// lateToken is the key of an *atomic.Bool: whether time ran out before there was an
// access token. The client does not keep that, and returns only the context's error.
type lateToken struct{}

// call makes one call. operation is the permission that the identity needs for it.
func call[Out any](ctx context.Context, s *Signer, what, operation string, do func(context.Context, *azkeys.Client) (Out, error)) (Out, error) {
	explain := func(err error) *signer.Problem { return s.explain(operation, err) }
	return signer.Call(ctx, &s.client.Client, what, explain, func(ctx context.Context, c *azkeys.Client) (Out, error) {
		var late atomic.Bool
		out, err := do(context.WithValue(ctx, lateToken{}, &late), c)
		if err != nil && late.Load() {
			return out, signer.LateToken()
		}
		return out, err
	})
}

const renew = "set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET, give this machine a managed identity, or run az login"

// unauthenticated returns why there is no access token. The library has tried more than
// once. Its errors are taken apart and not wrapped, because they are many lines and
// contain whole answers.
func unauthenticated(err error) *signer.Problem {
	why := "there are no Azure credentials (environment, workload identity, managed identity, az login)"
	if e, ok := errors.AsType[*azidentity.AuthenticationFailedError](err); ok {
		why = "the credentials give no access token: " + redact.Text(flat(e.Error()), maxShown)
		if e.RawResponse != nil {
			body, _ := runtime.Payload(e.RawResponse)
			why = "Microsoft Entra ID does not accept the credentials: " + signer.OAuthError(body, e.RawResponse.Status, maxShown)
		}
	}
	return &signer.Problem{Why: why, Do: renew, Stale: true}
}

// flat returns a text of many lines as one line.
func flat(text string) string { return strings.Join(strings.Fields(text), " ") }

// maxAnswer is the largest answer of Key Vault, in bytes; a key takes about two
// thousand.
const maxAnswer = 1 << 20

var (
	errLong      = errors.New("the answer is too long")
	errChallenge = errors.New("the answer asks for credentials in a way that Key Vault does not")
)

// A cutOff reports an answer whose end is missing.
type cutOff struct{ err error }

func (e *cutOff) Error() string { return "the answer is incomplete: " + e.err.Error() }
func (e *cutOff) Unwrap() error { return e.err }

// guard stops answers that the client would read without end, or that would make it
// panic.
type guard struct{ policy.Transporter }

func (g guard) Do(r *http.Request) (*http.Response, error) {
	response, err := g.Transporter.Do(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return nil, &cutOff{err}
	}
	if len(body) > maxAnswer {
		return nil, errLong
	}
	if response.StatusCode == http.StatusUnauthorized && !isChallenge(response.Header.Get("WWW-Authenticate")) {
		return nil, errChallenge
	}
	response.Body = io.NopCloser(bytes.NewReader(body))
	return response, nil
}

// isChallenge reports whether a header names the tenant to ask for a token, such as
// Bearer authorization="https://login.microsoftonline.com/TENANT",
// resource="https://vault.azure.net". The client uses the fourth part of that address
// without checking that there is one.
func isChallenge(header string) bool {
	named := false
	for part := range strings.SplitSeq(header, " ") {
		value, ok := strings.CutPrefix(part, "authorization=")
		if !ok {
			continue
		}
		u, err := url.Parse(strings.Trim(value, `",`))
		if err != nil || u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") == "" {
			return false
		}
		named = true
	}
	return named
}

const (
	makeKey     = "create one of type RSA or RSA-HSM with 2048 bits or more and the operation sign"
	wrongServer = "check that no proxy is between this machine and the vault"
	enable      = "enable it: az keyvault key set-attributes --enabled true"

	// maxShown is how much of Azure's text an error shows, in bytes.
	maxShown = 400
)

// explain returns why a call failed. operation is its name in access policies.
func (s *Signer) explain(operation string, err error) *signer.Problem {
	if refused, ok := errors.AsType[*azcore.ResponseError](err); ok {
		return explainRefusal(operation, refused)
	}
	shown := err
	sent, isSent := errors.AsType[*url.Error](err)
	if isSent {
		shown = sent.Err // without the address, which the error already names
	}
	why := redact.Text(shown.Error(), maxShown)
	_, isCutOff := errors.AsType[*cutOff](err)
	switch {
	case httpclient.IsUnknownHost(err):
		return signer.New("the host "+s.host+" cannot be found", "check the vault's name in the URL and this machine's DNS")
	case httpclient.IsCertificate(err):
		return signer.New("the certificate of the vault is not trusted: "+why, "trust the authority of the proxy between this machine and the service")
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

// parseRefusal returns the zero value for a body that is not an error of Key Vault.
func parseRefusal(body []byte) refusal {
	var r struct {
		Error refusal `json:"error"`
	}
	if json.Unmarshal(body, &r) != nil {
		return refusal{}
	}
	return r.Error
}

// explainRefusal distinguishes the statuses
// (https://learn.microsoft.com/azure/key-vault/general/rest-error-codes).
func explainRefusal(operation string, e *azcore.ResponseError) *signer.Problem {
	body, _ := runtime.Payload(e.RawResponse) // in memory, because guard has read it
	r := parseRefusal(body)
	said := signer.Excerpt(flat(r.Message), maxShown)
	after := httpclient.RetryAfter(e.RawResponse.Header)
	switch status := e.StatusCode; {
	case status == http.StatusTooManyRequests:
		return signer.Passing("Azure throttles this vault"+said, "try again in a moment, or spread its clients over more vaults", after)
	case status >= 500 || status == http.StatusRequestTimeout:
		return signer.Passing("Key Vault has an internal error ("+strconv.Itoa(status)+")"+said, "try again in a moment", after)
	case r.Code == "":
		return signer.New("the answer is not from Key Vault ("+strconv.Itoa(status)+")", wrongServer)
	case status == http.StatusUnauthorized:
		return &signer.Problem{Why: "Key Vault does not accept the credentials" + said, Do: "log in to the tenant of the vault: " + renew, Stale: true}
	case status == http.StatusForbidden:
		return explainForbidden(operation, r)
	case status == http.StatusNotFound:
		return signer.New("there is no such key"+said, "check vault, key and version in the URL; if it was deleted: az keyvault key recover")
	case status == http.StatusBadRequest:
		return signer.New("Key Vault does not accept this as a signing key"+said, makeKey)
	default:
		return signer.New("Key Vault refuses ("+strconv.Itoa(status)+")"+said, "")
	}
}

// explainForbidden distinguishes the reasons why a key must not be used: they are all
// 403.
func explainForbidden(operation string, r refusal) *signer.Problem {
	text, said := strings.ToLower(r.Message), signer.Excerpt(flat(r.Message), maxShown)
	switch {
	case r.Inner.Code == "KeyDisabled" || strings.Contains(text, "disabled key"):
		return signer.New("the version is disabled", enable)
	case r.Inner.Code == "KeyNotYetValid" || r.Inner.Code == "KeyExpired" || strings.Contains(text, "not yet valid") || strings.Contains(text, "expired"):
		return signer.New("the version is not valid now"+said, "correct its dates: az keyvault key set-attributes --not-before, --expires")
	case r.Inner.Code == "KeyOperationForbidden":
		return signer.New("this key cannot sign"+said, makeKey)
	case r.Inner.Code == "ForbiddenByFirewall" || r.Inner.Code == "ForbiddenByConnection":
		return signer.New("the firewall of the vault blocks this machine"+said, "allow its network, or use a private endpoint")
	}
	return signer.New("permission denied"+said, "give this identity the role Key Vault Crypto User (Managed HSM Crypto User), or "+operation+" on keys in the vault's access policy")
}
