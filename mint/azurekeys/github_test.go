package azurekeys

import (
	"testing"

	"github.com/gatepass/gatepass/test/signertest"
)

// A thousand tokens cost one signature: Key Vault bills and throttles each.
func TestAThousandMintsSignOnce(t *testing.T) {
	d := &double{}
	signertest.MintThousand(t, &keys[0].PublicKey, serve(t, d, "/app"))
	checkCalls(t, d, 1, 1, 1)
}
