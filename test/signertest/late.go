package signertest

import (
	"context"
	"crypto/sha256"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/mint"
)

// Late makes a signer fail within a deadline that allows two or three attempts, and
// returns its error. If this machine is too slow for an error that contains want, it
// tries again with longer deadlines.
func Late(t *testing.T, s mint.Signer, digest [sha256.Size]byte, want string) (signature []byte, err error) {
	t.Helper()
	for deadline := 600 * time.Millisecond; ; deadline *= 2 {
		ctx, cancel := context.WithTimeout(t.Context(), deadline)
		began := time.Now()
		signature, err = s.Sign(ctx, digest)
		took := time.Since(began)
		cancel()
		isTooLong := took > deadline+deadline/2
		if deadline < 10*time.Second && (isTooLong || err != nil && !strings.Contains(err.Error(), want)) {
			continue
		}
		if isTooLong {
			t.Errorf("Sign took %v with a deadline of %v", took, deadline)
		}
		return signature, err
	}
}
