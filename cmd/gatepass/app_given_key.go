package main

import (
	"fmt"

	"github.com/gatepass/gatepass/internal/redact"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
	"github.com/urfave/cli/v2"
)

// A givenKey is the key of the command line, and how a store keeps it: as PEM,
// or as the URL of where it lies.
type givenKey struct {
	issuing.Signer
	pem   store.Secret
	url   string
	file  string
	local *mint.KeySigner // of the file; nil where a URL is given
}

// givenKey opens the key of the command line. Where none is given, a person is
// asked for the path of a file.
func (w *app) givenKey(c *cli.Context) (givenKey, error) {
	file, url := c.String("private-key-file"), c.String("signer")
	if file != "" && url != "" {
		return givenKey{}, usage(c, "give either --private-key-file or --signer")
	}
	if url != "" {
		key, err := issuing.OpenSigner(url)
		return givenKey{Signer: key, url: url}, err
	}
	if file == "" {
		var err error
		if file, err = w.missing(c, "path of the App's private key (PEM)", "give --private-key-file or --signer"); err != nil {
			return givenKey{}, err
		}
	}
	key, text, err := mint.ReadPEM(file)
	if err != nil {
		return givenKey{}, usererr.Wrap("read the App's key", err, "")
	}
	return givenKey{Signer: key, file: file, local: key, pem: store.NewSecret(string(text))}, nil
}

func (w *app) clientID(c *cli.Context) (string, error) {
	if id := c.String("app-client-id"); id != "" {
		return id, nil
	}
	return w.missing(c, "client ID of the App", "--app-client-id is missing")
}

// missing asks for what the command line lacks, or says that it does.
func (w *app) missing(c *cli.Context, question, wrong string) (string, error) {
	if !c.Bool("non-interactive") && w.canAsk() {
		return w.asking.ask(c.Context, question)
	}
	return "", usage(c, wrong)
}

// text is how people compare keys.
func (k keySummary) text() string {
	return fmt.Sprintf("%s (RSA, %d bits)", k.Fingerprint, k.Bits)
}

// keyPlace says where a key lies: at the URL of a signer, else in the store.
func keyPlace(signerURL string) string {
	if signerURL == "" {
		return "in the store"
	}
	return "at " + redact.Text(signerURL, maxURL)
}
