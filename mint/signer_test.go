package mint

import (
	"context"
	"crypto/sha256"
	"errors"
)

// brokenSigner is a KMS that cannot be had.
type brokenSigner struct{}

func (brokenSigner) Sign(context.Context, [sha256.Size]byte) ([]byte, error) {
	return nil, errors.New("the KMS is asleep")
}
