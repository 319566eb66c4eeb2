package gcpkms

import (
	"context"
	"errors"
	"strconv"
	"strings"

	kms "cloud.google.com/go/kms/apiv1"
	"cloud.google.com/go/kms/apiv1/kmspb"
	"google.golang.org/api/iterator"

	"github.com/gatepass/gatepass/internal/usererr"
)

// enabled is a filter (https://cloud.google.com/kms/docs/sorting-and-filtering).
const enabled = "state=ENABLED"

// newest returns the name of the newest version that is enabled. Versions are
// numbered as they are made, from 1 on.
func (s *Signer) newest(ctx context.Context) (string, error) {
	what := "choose a version of " + name(s.key)
	number, err := call(ctx, s, what, listPermission, func(ctx context.Context, c *kms.KeyManagementClient) (uint64, error) {
		var newest uint64
		versions := c.ListCryptoKeyVersions(ctx, &kmspb.ListCryptoKeyVersionsRequest{Parent: s.key, Filter: enabled})
		for {
			v, err := versions.Next()
			if errors.Is(err, iterator.Done) {
				return newest, nil
			}
			if err != nil {
				return 0, err
			}
			number, ok := numberOf(v.GetName(), s.key)
			if !ok {
				return 0, wrongKey(v.GetName())
			}
			if v.GetState() == kmspb.CryptoKeyVersion_ENABLED {
				newest = max(newest, number)
			}
		}
	})
	switch {
	case err != nil:
		return "", err
	case number == 0:
		return "", usererr.New(what, "no version of it is enabled", "import the App's key as one, or enable one: gcloud kms keys versions enable")
	}
	return s.key + infix + strconv.FormatUint(number, 10), nil
}

// infix stands between a key and the number of its version.
const infix = "/cryptoKeyVersions/"

// numberOf reads the name of a version of key. There is no version 0.
func numberOf(name, key string) (number uint64, ok bool) {
	text, ok := strings.CutPrefix(name, key+infix)
	if !ok {
		return 0, false
	}
	number, err := strconv.ParseUint(text, 10, 63)
	return number, err == nil && strconv.FormatUint(number, 10) == text && number > 0
}
