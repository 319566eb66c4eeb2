package awskms

import (
	"net/url"
	"strings"

	"github.com/gatepass/gatepass/internal/awsclient"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/mint/signer"
)

const form = "write awskms:///alias/NAME?region=REGION, or a key's id or ARN for alias/NAME"

// maxID is the longest identifier of a key (KeyId of Sign in the AWS KMS API
// reference).
const maxID = 2048

// Open reads a signer's URL. AWS is asked, and its configuration read, by the
// first Sign or PublicKey only.
func Open(u *url.URL) (*Signer, error) {
	switch {
	case u.Scheme != "awskms":
		return nil, usererr.New("signer", "its scheme is not awskms", form)
	case u.Host != "" || u.Opaque != "" || u.User != nil:
		return nil, usererr.New("signer awskms://"+u.Host, "a key follows three slashes", form)
	case u.Fragment != "":
		return nil, usererr.New("signer awskms://"+u.Path, "it has a fragment", form)
	}
	what := "signer awskms://" + u.Path
	id := strings.TrimPrefix(u.Path, "/")
	if !isKey(id) {
		return nil, usererr.New(what, "this is no key", form)
	}
	settings, err := awsclient.ParseSettings(what, u.RawQuery)
	if err != nil {
		return nil, err
	}
	if region := regionOf(id); region != "" {
		if settings.Region != "" && settings.Region != region {
			return nil, usererr.New(what, "the key is in "+region+" and the URL says region="+settings.Region, "leave region out")
		}
		settings.Region = region
	}
	return newSigner(id, settings), nil
}

// isKey takes alias/NAME, a key's id, and the ARN of either.
func isKey(id string) bool {
	if len(id) > maxID {
		return false
	}
	if strings.HasPrefix(id, "arn:") {
		part := strings.SplitN(id, ":", 6)
		if len(part) != 6 || part[2] != "kms" || !isName(part[1]) || !isName(part[3]) || !isName(part[4]) {
			return false
		}
		if key, ok := strings.CutPrefix(part[5], "key/"); ok {
			return isName(key)
		}
		id = part[5]
		return strings.HasPrefix(id, "alias/") && isKey(id)
	}
	if alias, ok := strings.CutPrefix(id, "alias/"); ok {
		for segment := range strings.SplitSeq(alias, "/") {
			if !isName(segment) {
				return false
			}
		}
		return true
	}
	return isName(id)
}

// isName takes what names in KMS are made of.
func isName(s string) bool { return signer.IsName(s, "-_", maxID) }

// regionOf returns the region of an ARN.
func regionOf(id string) string {
	if part := strings.SplitN(id, ":", 6); len(part) == 6 {
		return part[3]
	}
	return ""
}
