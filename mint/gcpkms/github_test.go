package gcpkms

import (
	"testing"

	"github.com/gatepass/gatepass/test/signertest"
)

// A thousand tokens cost one signature: Cloud KMS bills and limits each.
func TestAThousandMintsSignOnce(t *testing.T) {
	d := &double{}
	signertest.MintThousand(t, &keys[0].PublicKey, serve(t, d, appKey))
	checkCalls(t, d, 1, 1, 1)
}
