package vaultclient

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gatepass/gatepass/internal/httpclient"
	"github.com/gatepass/gatepass/internal/redact"
	"github.com/gatepass/gatepass/internal/usererr"
)

// maxShown is how much of Vault's text an error shows, in bytes.
const maxShown = 300

// Shown returns Vault's text in a form for an error: after a colon, on one line,
// without tokens; "" if there is none.
func (r *Refusal) Shown() string {
	text := redact.Text(strings.Join(strings.Fields(r.Messages), " "), maxShown)
	if text == "" || text == "permission denied" {
		return ""
	}
	return ": " + text
}

func isDenied(err error) bool {
	r, ok := errors.AsType[*Refusal](err)
	return ok && r.Status == http.StatusForbidden
}

// refused turns an error answer into an error: a line for people if the reason is
// Vault's state, or else a *Refusal.
func (l *link) refused(what string, response *http.Response, body []byte) error {
	r := decodeRefusal(response.StatusCode, body)
	lower := strings.ToLower(r.Messages)
	switch status := response.StatusCode; {
	case status/100 == 3:
		return usererr.New(what, "it redirects to "+redact.Text(response.Header.Get("Location"), maxShown),
			"if that is right, put that address into addr of the URL or VAULT_ADDR")
	case status == http.StatusServiceUnavailable && strings.Contains(lower, "sealed"):
		return usererr.New(what, "Vault is sealed", "ask its operators to unseal it: vault operator unseal")
	case status == http.StatusNotImplemented || strings.Contains(lower, "not initialized"):
		return usererr.New(what, "Vault is not initialized", "ask its operators to initialize it: vault operator init")
	case status == http.StatusTooManyRequests || status == http.StatusPreconditionFailed || status >= 500:
		return l.busy(what, response, r)
	}
	return r
}

// busy returns the error of a Vault that may answer the next request.
func (l *link) busy(what string, response *http.Response, r *Refusal) error {
	after := httpclient.RetryAfter(response.Header)
	do := "try again in a moment"
	if after > 0 {
		do = "try again in " + after.Round(time.Second).String()
	}
	why := fmt.Sprintf("Vault cannot answer now (%d)%s", r.Status, r.Shown())
	return &httpclient.TransientError{Err: usererr.New(what, why, do), After: after}
}

func (l *link) unexpectedAnswer(what, why string) error {
	return usererr.New(what, why, "check that addr in the URL, or VAULT_ADDR, names a Vault")
}

// connectionError turns a failed connection into one line. Only errors that cannot go away by
// themselves are final.
func (l *link) connectionError(ctx context.Context, what string, err error) error {
	const do = "check that Vault runs and can be reached from here"
	if ctx.Err() != nil {
		why := "Vault did not answer in time"
		if errors.Is(ctx.Err(), context.Canceled) {
			why = "the request was cancelled"
		}
		return &usererr.Error{Op: what, Reason: why, Hint: do, Err: ctx.Err()}
	}
	if urlErr, ok := errors.AsType[*url.Error](err); ok {
		err = urlErr.Err // the address is named already
	}
	text := redact.Text(err.Error(), maxShown)
	switch {
	case httpclient.IsCertificate(err):
		l.distrusts.Store(true)
		return usererr.New(what, "its certificate is not trusted: "+text,
			"name its authority with ca_file=PEM in the URL or VAULT_CACERT (gatepass ignores VAULT_SKIP_VERIFY)")
	case httpclient.IsHandshake(err):
		return usererr.New(what, "no TLS connection: "+text, "check scheme and port of the address, and set VAULT_CLIENT_CERT if Vault asks for a certificate")
	case httpclient.IsUnknownHost(err):
		return usererr.New(what, "there is no such host", "correct addr in the URL or VAULT_ADDR")
	case errors.Is(err, context.DeadlineExceeded):
		text = "it did not answer in time"
	}
	return &httpclient.TransientError{Err: usererr.New(what, "Vault cannot be reached: "+text, do)}
}
