package azurekeys

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/gatepass/gatepass/internal/redact"
)

const renew = "set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET, give this machine a managed identity, or run az login"

// credentialsError is that there is no access token.
type credentialsError struct{ err error }

func (e *credentialsError) Error() string { return e.err.Error() }
func (e *credentialsError) Unwrap() error { return e.err }

// chainError is that the environment chooses credentials that there are not.
type chainError struct{ err error }

func (e *chainError) Error() string { return e.err.Error() }
func (e *chainError) Unwrap() error { return e.err }

// unauthenticated tells why there is no access token. The library has tried more
// than once. Its errors are taken apart and not wrapped: they are many lines and
// show answers whole.
func (t task) unauthenticated(err error) error {
	e, failed := errors.AsType[*azidentity.AuthenticationFailedError](err)
	switch {
	case !failed:
		return t.line("there are no Azure credentials (environment, workload identity, managed identity, az login)", renew)
	case e.RawResponse == nil:
		return t.line("there is no access token: "+redact.Text(flat(e.Error()), maxShown), renew)
	}
	return t.line("Microsoft Entra ID does not accept the credentials: "+reason(e.RawResponse), renew)
}

// flat is a text of many lines as one.
func flat(text string) string { return strings.Join(strings.Fields(text), " ") }

// reason is the code and description of an OAuth error (RFC 6749, section 5.2), or
// else the HTTP status.
func reason(r *http.Response) string {
	var said struct {
		Code        string `json:"error"`
		Description string `json:"error_description"`
	}
	body, err := runtime.Payload(r)
	if err != nil || json.Unmarshal(body, &said) != nil || said.Code == "" {
		return r.Status
	}
	first, _, _ := strings.Cut(said.Description, "\n") // then come identifiers for Microsoft's support
	return redact.Text(strings.TrimSuffix(said.Code+": "+strings.TrimSpace(first), ": "), maxShown)
}
