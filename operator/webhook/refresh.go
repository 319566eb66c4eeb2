package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"syscall"
	"time"

	admissionapi "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gatepass/gatepass/internal/usererr"
)

// refresh reads the authorities, makes the API server trust them, and serves a
// certificate of the signing one.
func (w *Webhook) refresh(ctx context.Context) error {
	owners, err := w.owners(ctx)
	if err != nil {
		return err
	}
	all, err := w.authorities(ctx, owners)
	if err != nil {
		return err
	}
	w.known = all
	if err := w.serve(all.signing(w.now(), w.timing)); err != nil {
		return err
	}
	if err := w.configure(ctx, all.bundle(), owners); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.trusted = all.bundle()
	return nil
}

// serve makes a certificate, unless the current one is signed by this authority.
func (w *Webhook) serve(by authority) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.serving != nil && w.serving.Leaf.CheckSignatureFrom(by.certificate) == nil {
		return nil
	}
	host, err := w.name()
	if err != nil {
		return err
	}
	fresh, err := by.issue(host, w.now())
	if err != nil {
		return err
	}
	w.serving = fresh
	return nil
}

// name returns the host under which the API server calls the webhook.
func (w *Webhook) name() (string, error) {
	if w.options.URL == "" {
		return fmt.Sprintf("%s.%s.svc", w.options.Service, w.options.Namespace), nil
	}
	u, err := url.Parse(w.options.URL)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.Path != "" || u.RawQuery != "" {
		return "", usererr.New("start the webhook", fmt.Sprintf("%q is not https://HOST:PORT", w.options.URL), "")
	}
	return u.Hostname(), nil
}

// selfTest calls the webhook as the API server does: by its name, with the
// authorities that the API server was told to trust.
func (w *Webhook) selfTest(ctx context.Context) error {
	w.mu.Lock()
	trusted := w.trusted
	w.mu.Unlock()
	if trusted == nil {
		return nil // refresh reports the reason
	}
	host, err := w.name()
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(trusted)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: host, MinVersion: tls.VersionTLS13}}
	defer transport.CloseIdleConnections()

	review := admissionapi.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: admissionapi.SchemeGroupVersion.String(), Kind: "AdmissionReview"},
		Request:  &admissionapi.AdmissionRequest{UID: "self", Operation: admissionapi.Delete},
	}
	if err := w.post(ctx, &http.Client{Transport: transport}, &review); err != nil {
		return usererr.Wrap("call the webhook at "+w.options.BindAddress, err, "")
	}
	return nil
}

// post sends a review and returns an error unless it is allowed.
func (w *Webhook) post(ctx context.Context, c *http.Client, review *admissionapi.AdmissionReview) error {
	body, err := json.Marshal(review)
	if err != nil {
		return err
	}
	answer, err := w.send(ctx, c, body)
	for range 20 { // the server may not listen yet
		if !errors.Is(err, syscall.ECONNREFUSED) || ctx.Err() != nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
		answer, err = w.send(ctx, c, body)
	}
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	var got admissionapi.AdmissionReview
	if err := json.NewDecoder(answer.Body).Decode(&got); err != nil || got.Response == nil || !got.Response.Allowed || got.Response.UID != review.Request.UID {
		return fmt.Errorf("it answered %s, which is not an answer of an admission webhook", answer.Status)
	}
	return nil
}

func (w *Webhook) send(ctx context.Context, c *http.Client, body []byte) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+w.loopback()+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	return c.Do(request)
}

// loopback returns the address of this process's own listener.
func (w *Webhook) loopback() string {
	host := w.host
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, strconv.Itoa(w.port))
}
