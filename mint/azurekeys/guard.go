package azurekeys

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
)

// maxAnswer bounds an answer of Key Vault, in bytes; a key is about two thousand.
const maxAnswer = 1 << 20

var (
	errLong      = errors.New("the answer is too long")
	errChallenge = errors.New("the answer asks for credentials in another way than Key Vault does")
)

// A cutOff is an answer whose end is missing.
type cutOff struct{ err error }

func (e *cutOff) Error() string { return "the answer is cut off: " + e.err.Error() }
func (e *cutOff) Unwrap() error { return e.err }

// guard lets no answer through that the client would read without end, or that
// would make it panic.
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

// isChallenge reports whether a header names the tenant to ask for a token, as in
// Bearer authorization="https://login.microsoftonline.com/TENANT",
// resource="https://vault.azure.net". The client takes the fourth part of that
// address without looking whether there is one.
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
