package issuing

import (
	"net/url"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/mint/awskms"
	"github.com/gatepass/gatepass/mint/vaulttransit"
)

// KnownSigners lists the URLs that OpenSigner accepts, for messages and help.
const KnownSigners = "file:///PATH, awskms:///alias/NAME, gcpkms://projects/…/cryptoKeys/KEY, azurekeys://VAULTHOST/KEY and vault+transit://MOUNT/KEY"

// A Signer signs with a key, and can show its public half.
type Signer interface {
	mint.Signer
	mint.PublicKeyer
}

// OpenSigner returns the signer at a URL. It reads a file at once; a KMS is asked at
// the first call only.
func OpenSigner(rawURL string) (Signer, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, usererr.New("open the signer", "this is not a URL", "write one of "+KnownSigners)
	}
	switch u.Scheme {
	case "file":
		return openFile(u)
	case "awskms":
		return checkedSigner(awskms.Open(u))
	case "gcpkms":
		return openGoogle(u)
	case "azurekeys":
		return openAzure(u)
	case "vault+transit":
		return checkedSigner(vaulttransit.Open(u))
	case "":
		return nil, usererr.New("open the signer", "this is not a URL", "write one of "+KnownSigners)
	}
	return nil, usererr.New("open the signer", "unknown signer "+u.Scheme+"://", "write one of "+KnownSigners)
}

// checkedSigner prevents a nil pointer in a non-nil Signer.
func checkedSigner[S Signer](s S, err error) (Signer, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}

func openFile(u *url.URL) (Signer, error) {
	const form = "write file:///PATH, with three slashes"
	switch {
	case u.Host != "" || u.Opaque != "" || u.User != nil || u.Path == "" || u.Path == "/":
		return nil, usererr.New("open the signer", "a key's file must be an absolute path on this machine", form)
	case u.RawQuery != "" || u.Fragment != "":
		return nil, usererr.New("signer file://"+u.Path, "a file signer must have only a path", "write %3F for a ? and %23 for a #")
	}
	return ReadKeyFile(u.Path)
}

// ReadKeyFile reads a private key in PEM form. It returns an error if other users can
// access the file.
func ReadKeyFile(path string) (Signer, error) {
	key, err := mint.ReadKey(path)
	if err != nil {
		return nil, usererr.Wrap("read the App's key", err, "")
	}
	return key, nil
}
