package gcpkms

import (
	"errors"
	"io/fs"
	"net/url"
	"strconv"
	"strings"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/compute/metadata"

	"github.com/gatepass/gatepass/internal/redact"
	"github.com/gatepass/gatepass/mint/signer"
)

const renew = "run gcloud auth application-default login, correct the file of GOOGLE_APPLICATION_CREDENTIALS, or give this machine a service account"

// metadataPath is part of every address of the metadata server
// (https://cloud.google.com/compute/docs/metadata/overview).
const metadataPath = "/computeMetadata/"

// undetected tells why no credentials were found.
func undetected(err error) *signer.Problem {
	if strings.Contains(err.Error(), "could not find default credentials") { // which has no type
		return signer.New("there are no Google credentials (GOOGLE_APPLICATION_CREDENTIALS, gcloud, service account of this machine)", renew)
	}
	why := redact.Text(err.Error(), maxShown)
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		why = path.Error()
	}
	return signer.New("the Google credentials cannot be read: "+why, renew)
}

// unauthenticated tells why there is no access token. The libraries' errors are
// taken apart and not wrapped: they show answers whole.
func unauthenticated(err error) *signer.Problem {
	p := &signer.Problem{Do: renew, Stale: true}
	if e, ok := errors.AsType[*auth.Error](err); ok {
		p.Why, p.Again = "Google does not accept the credentials: "+reason(e), e.Temporary()
		return p
	}
	if e, ok := errors.AsType[*metadata.Error](err); ok {
		p.Why = "the metadata server gives no access token: " + redact.Text(strconv.Itoa(e.Code)+" "+e.Message, maxShown)
		return p
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		p.Why, p.Do = "the server of the credentials cannot be reached: "+redact.Text(e.Err.Error(), maxShown), "check the network and the proxy"
		p.Again = !strings.Contains(e.URL, metadataPath) // whose client has tried more than once
		return p
	}
	_, isUndefined := errors.AsType[metadata.NotDefinedError](err)
	switch {
	case isUndefined:
		p.Why = "this machine has no service account"
	case strings.Contains(err.Error(), `unable to parse "`): // and then what a program printed, token and all
		p.Why, p.Do = "the program that the credentials name printed none", "run it by hand"
	default:
		p.Why = "the credentials give no access token: " + redact.Text(err.Error(), maxShown)
	}
	return p
}

// reason is what the server of the credentials says.
func reason(e *auth.Error) string {
	status := "no reason is given"
	if e.Response != nil {
		status = e.Response.Status
	}
	return signer.OAuthError(e.Body, status, maxShown)
}
