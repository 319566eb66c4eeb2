package azurekeys

import (
	"errors"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/gatepass/gatepass/internal/redact"
	"github.com/gatepass/gatepass/mint/signer"
)

const renew = "set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET, give this machine a managed identity, or run az login"

// unauthenticated tells why there is no access token. The library has tried more
// than once. Its errors are taken apart and not wrapped: they are many lines and
// show answers whole.
func unauthenticated(err error) *signer.Problem {
	why := "there are no Azure credentials (environment, workload identity, managed identity, az login)"
	if e, ok := errors.AsType[*azidentity.AuthenticationFailedError](err); ok {
		why = "there is no access token: " + redact.Text(flat(e.Error()), maxShown)
		if e.RawResponse != nil {
			body, _ := runtime.Payload(e.RawResponse)
			why = "Microsoft Entra ID does not accept the credentials: " + signer.OAuthError(body, e.RawResponse.Status, maxShown)
		}
	}
	return &signer.Problem{Why: why, Do: renew, Stale: true}
}

// flat is a text of many lines as one.
func flat(text string) string { return strings.Join(strings.Fields(text), " ") }
