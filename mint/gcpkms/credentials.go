package gcpkms

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net/url"
	"strconv"
	"strings"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/compute/metadata"

	"github.com/gatepass/gatepass/internal/redact"
)

const renew = "run gcloud auth application-default login, correct the file of GOOGLE_APPLICATION_CREDENTIALS, or give this machine a service account"

// metadataPath is part of every address of the metadata server
// (https://cloud.google.com/compute/docs/metadata/overview).
const metadataPath = "/computeMetadata/"

// undetectedError is that no credentials were found, or none that can be read.
type undetectedError struct{ err error }

func (e *undetectedError) Error() string { return e.err.Error() }
func (e *undetectedError) Unwrap() error { return e.err }

// tokenError is that the credentials give no access token.
type tokenError struct{ err error }

func (e *tokenError) Error() string { return e.err.Error() }
func (e *tokenError) Unwrap() error { return e.err }

func (t task) undetected(err error) error {
	if strings.Contains(err.Error(), "could not find default credentials") { // which has no type
		return t.line("there are no Google credentials (GOOGLE_APPLICATION_CREDENTIALS, gcloud, service account of this machine)", renew)
	}
	why := redact.Text(err.Error(), maxShown)
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		why = path.Error()
	}
	return t.line("the Google credentials cannot be read: "+why, renew)
}

// unauthenticated tells why there is no access token. The libraries' errors are
// taken apart and not wrapped: they show answers whole.
func (t task) unauthenticated(err error) error {
	if e, ok := errors.AsType[*auth.Error](err); ok {
		told := t.line("Google does not accept the credentials: "+reason(e), renew)
		if e.Temporary() {
			return passing(told, 0)
		}
		return told
	}
	if _, ok := errors.AsType[metadata.NotDefinedError](err); ok {
		return t.line("this machine has no service account", renew)
	}
	if e, ok := errors.AsType[*metadata.Error](err); ok {
		return t.line("the metadata server gives no access token: "+redact.Text(strconv.Itoa(e.Code)+" "+e.Message, maxShown), renew)
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		told := t.line("the server of the credentials cannot be reached: "+redact.Text(e.Err.Error(), maxShown), "check the network and the proxy")
		if strings.Contains(e.URL, metadataPath) { // whose client has tried more than once
			return told
		}
		return passing(told, 0)
	}
	if strings.Contains(err.Error(), `unable to parse "`) { // and then what a program printed, token and all
		return t.line("the program that the credentials name printed none", "run it by hand")
	}
	return t.line("the credentials give no access token: "+redact.Text(err.Error(), maxShown), renew)
}

// reason is the code and description of an OAuth error (RFC 6749, section 5.2), or
// else the HTTP status.
func reason(e *auth.Error) string {
	var said struct {
		Code        string `json:"error"`
		Description string `json:"error_description"`
	}
	if json.Unmarshal(e.Body, &said) == nil && said.Code != "" {
		return redact.Text(strings.TrimSuffix(said.Code+": "+said.Description, ": "), maxShown)
	}
	if e.Response != nil {
		return e.Response.Status
	}
	return "no reason is given"
}
