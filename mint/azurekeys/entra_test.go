package azurekeys

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// entra is a strict double of Microsoft Entra ID, which gives the application client
// tokens for its secret, and of a machine's metadata service, which gives them without
// one.
type entra struct {
	authority string // the host under which it is served

	mu      sync.Mutex // guards the fields below
	secret  string
	refusal http.HandlerFunc // answers instead of a token
	tokens  []string         // tokens given: number and scope
	machine string           // the scope of machineToken
	invalid []string
}

// machineToken is the token of the metadata service, always the same: the client keeps
// it as long as the process lives.
const machineToken = "eyJ0.eyJ1.machine"

// gave reports whether token is one for scope.
func (e *entra) gave(token, scope string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if token == machineToken {
		return e.machine != "" && e.machine == scope
	}
	number, ok := strings.CutPrefix(token, "eyJ0.eyJ1.")
	return ok && slices.Contains(e.tokens, number+" "+scope)
}

func (e *entra) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	base := "https://" + e.authority + "/" + tenant
	switch path := strings.TrimPrefix(r.URL.Path, "/"+tenant); {
	case r.Host != e.authority:
		e.invalid = append(e.invalid, "a question to "+r.Host)
		http.NotFound(w, r)
	case r.URL.Path == "/common/discovery/instance":
		reply(w, 200, map[string]any{"tenant_discovery_endpoint": base + "/v2.0/.well-known/openid-configuration"})
	case path == "/v2.0/.well-known/openid-configuration":
		reply(w, 200, map[string]any{"issuer": base + "/v2.0", "authorization_endpoint": base + "/oauth2/v2.0/authorize", "token_endpoint": base + "/oauth2/v2.0/token"})
	case path == "/oauth2/v2.0/token":
		e.token(w, r)
	default:
		e.invalid = append(e.invalid, "a question for "+r.URL.String())
		http.NotFound(w, r)
	}
}

func (e *entra) token(w http.ResponseWriter, r *http.Request) {
	scope := ""
	for s := range strings.FieldsSeq(r.FormValue("scope")) { // in addition to openid and the like
		if strings.HasPrefix(s, "https://") {
			scope = s
		}
	}
	if r.Method != http.MethodPost || r.FormValue("grant_type") != "client_credentials" || r.FormValue("client_id") != client {
		e.invalid = append(e.invalid, "a token for "+r.Form.Encode())
	}
	switch {
	case e.refusal != nil:
		e.refusal(w, r)
	case r.FormValue("client_secret") != e.secret:
		reply(w, 401, map[string]any{
			"error":             "invalid_client",
			"error_description": "AADSTS7000215: Invalid client secret provided.\r\nTrace ID: 0000\r\nCorrelation ID: 1111",
			"error_codes":       []int{7000215},
		})
	default:
		reply(w, 200, map[string]any{"token_type": "Bearer", "expires_in": 3599, "access_token": e.give(scope)})
	}
}

func (e *entra) give(scope string) string {
	number := fmt.Sprint(len(e.tokens) + 1)
	e.tokens = append(e.tokens, number+" "+scope)
	return "eyJ0.eyJ1." + number
}

// metadata answers like the metadata service of a machine with a managed identity.
func (e *entra) metadata(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if r.Header.Get("Metadata") != "true" { // the client checks whether there is such a service
		reply(w, 400, map[string]any{"error": "invalid_request", "error_description": "Required metadata header not specified"})
		return
	}
	resource := r.URL.Query().Get("resource")
	if resource != "https://vault.azure.net" {
		e.invalid = append(e.invalid, "a machine's token for "+resource)
	}
	reply(w, 200, map[string]any{"access_token": machineToken, "expires_in": "86399", "resource": resource, "token_type": "Bearer"})
}
