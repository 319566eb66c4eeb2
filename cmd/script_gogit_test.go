//go:build linux

package cmd_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
	"github.com/rogpeppe/go-internal/testscript"
)

// gogit URL reads the refs of a repository of $GITHUB with go-git: without a
// credential, which must be refused, since go-git asks no helper; then with the one
// that the last program printed in git's format.
func (w *world) gogit(ts *testscript.TestScript, args []string) {
	usage(ts, len(args) == 1, "gogit URL")
	if err := w.gogitRefs(args[0], nil); !errors.Is(err, transport.ErrAuthenticationRequired) {
		ts.Fatalf("go-git without a credential: %v, want %v", err, transport.ErrAuthenticationRequired)
	}
	var auth githttp.BasicAuth
	for line := range strings.Lines(ts.ReadFile("stdout")) {
		switch key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "="); key {
		case "username":
			auth.Username = value
		case "password":
			auth.Password = value
		}
	}
	ts.Check(w.gogitRefs(args[0], &auth))
}

// gogitRefs takes an interface, because go-git calls a nil pointer in one.
func (w *world) gogitRefs(url string, auth transport.AuthMethod) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(w.github.CAPEM())
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}}
	at, err := transport.NewEndpoint(url)
	if err != nil {
		return err
	}
	session, err := githttp.NewClient(client).NewUploadPackSession(at, auth)
	if err != nil {
		return err
	}
	_, err = session.AdvertisedReferencesContext(ctx)
	return errors.Join(err, session.Close())
}
