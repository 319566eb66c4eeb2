//go:build linux

package cmd_test

import (
	"net/http/httptest"
	"time"

	"github.com/gatepass/gatepass/test/vaulttest"
	"github.com/rogpeppe/go-internal/testscript"
)

// vault WORD... starts or changes the script's Vault:
//
//	vault start        listens on $VAULT, with a KV engine at secret/
//	vault give NAME    sets $NAME to a new token of Vault's
//	vault put TOKEN    stores a GitHub token at secret/github
//	vault revoke       ends all of Vault's tokens
func (w *world) vault(ts *testscript.TestScript, args []string) {
	usage(ts, len(args) == 1 && (args[0] == "start" || args[0] == "revoke") || len(args) == 2 && (args[0] == "give" || args[0] == "put"),
		"vault start|revoke|give NAME|put TOKEN")
	switch args[0] {
	case "start":
		w.vaultDouble = new(vaulttest.Vault)
		w.vaultDouble.Mount("secret/", "kv", "2")
		server := httptest.NewServer(w.vaultDouble)
		w.closers = append(w.closers, server.Close)
		ts.Setenv("VAULT", server.URL)
	case "revoke":
		w.vaultDouble.Revoke()
	case "give":
		ts.Setenv(args[1], w.vaultDouble.Give(vaulttest.Login{}))
	case "put":
		w.vaultDouble.PutKV2("secret/", "github", time.Now(), map[string]any{"token": args[1]})
	}
}
