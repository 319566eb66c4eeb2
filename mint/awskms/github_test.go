package awskms

import (
	"testing"

	"github.com/gatepass/gatepass/test/signertest"
)

// A thousand tokens cost one signature: KMS bills and throttles each.
func TestAThousandMintsSignOnce(t *testing.T) {
	d := &double{}
	signertest.MintThousand(t, &keys[0].PublicKey, serve(t, d))
	if signed, looked := d.count("Sign"), d.count("GetPublicKey"); signed != 1 || looked != 1 {
		t.Errorf("1000 tokens took %d signatures and %d looks at the key, want 1 and 1", signed, looked)
	}
}
