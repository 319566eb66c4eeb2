// Command vault is a real Vault for tests: its core, unsealed, with storage in memory,
// on a loopback port, with the engines and login methods that the tests use. It is a
// separate module, so that Vault's dependencies stay out of the product's go.mod.
//
// It prints one line of JSON when it is ready, and ends when its standard input ends.
package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"
	jwt "github.com/hashicorp/vault-plugin-auth-jwt"
	kubernetes "github.com/hashicorp/vault-plugin-auth-kubernetes"
	kv "github.com/hashicorp/vault-plugin-secrets-kv"
	"github.com/hashicorp/vault/builtin/credential/approle"
	"github.com/hashicorp/vault/builtin/logical/transit"
	"github.com/hashicorp/vault/helper/namespace"
	vaulthttp "github.com/hashicorp/vault/http"
	"github.com/hashicorp/vault/internalshared/configutil"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/physical/inmem"
	"github.com/hashicorp/vault/vault"
)

// rootToken is a fixed token, which is acceptable only in tests.
const rootToken = "root"

// started is the line of JSON for the caller.
type started struct {
	Address   string `json:"address"`
	RootToken string `json:"root_token"`
	UnsealKey string `json:"unseal_key"` // in hexadecimal, as sys/unseal takes it
}

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address to listen on")
	flag.Parse()
	if err := run(*listen, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "vault:", err)
		os.Exit(1)
	}
}

func run(listen string, stdin io.Reader, stdout io.Writer) error {
	ctx := namespace.ContextWithNamespace(context.Background(), namespace.RootNamespace)
	core, err := newCore()
	if err != nil {
		return err
	}
	key, err := initialize(ctx, core)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	handler := vaulthttp.Handler.Handler(&vault.HandlerProperties{
		Core:           core,
		ListenerConfig: &configutil.Listener{Type: "tcp"},
	})
	line := started{Address: "http://" + l.Addr().String(), RootToken: rootToken, UnsealKey: hex.EncodeToString(key)}
	if err := json.NewEncoder(stdout).Encode(line); err != nil {
		return err
	}
	go endWith(stdin)
	return http.Serve(l, handler)
}

// endWith ends this program when the program that started it is gone.
func endWith(stdin io.Reader) {
	io.Copy(io.Discard, stdin)
	os.Exit(0)
}

func newCore() (*vault.Core, error) {
	level := hclog.LevelFromString(os.Getenv("VAULT_LOG_LEVEL"))
	if level == hclog.NoLevel {
		level = hclog.Error
	}
	logger := hclog.New(&hclog.LoggerOptions{Level: level, Output: os.Stderr})
	storage, err := inmem.NewInmem(nil, logger)
	if err != nil {
		return nil, err
	}
	engines := map[string]logical.Factory{"kv": kv.Factory, "transit": transit.Factory, "leased": leasedFactory}
	logins := map[string]logical.Factory{"approle": approle.Factory, "jwt": jwt.Factory, "kubernetes": kubernetes.Factory}
	return vault.NewCore(&vault.CoreConfig{
		Physical:           storage,
		Logger:             logger,
		DisableMlock:       true,
		BuiltinRegistry:    registry{engines: engines, logins: logins},
		LogicalBackends:    engines,
		CredentialBackends: logins,
		DefaultLeaseTTL:    time.Hour,
		MaxLeaseTTL:        24 * time.Hour,
	})
}

// initialize unseals the core, gives it the root token, and returns the key
// that unseals it again.
func initialize(ctx context.Context, core *vault.Core) (key []byte, err error) {
	result, err := core.Initialize(ctx, &vault.InitParams{
		BarrierConfig: &vault.SealConfig{SecretShares: 1, SecretThreshold: 1},
	})
	if err != nil {
		return nil, fmt.Errorf("initialize: %w", err)
	}
	key = append([]byte(nil), result.SecretShares[0]...)
	// Unseal overwrites its argument.
	if _, err := core.Unseal(append([]byte(nil), key...)); err != nil {
		return nil, fmt.Errorf("unseal: %w", err)
	}
	if core.Sealed() {
		return nil, fmt.Errorf("unseal: it is still sealed")
	}
	_, err = core.HandleRequest(ctx, &logical.Request{
		ID: "root-token", Operation: logical.UpdateOperation, Path: "auth/token/create", ClientToken: result.RootToken,
		Data: map[string]any{"id": rootToken, "policies": []string{"root"}, "no_parent": true, "no_default_policy": true},
	})
	if err != nil {
		return nil, fmt.Errorf("create the root token: %w", err)
	}
	return key, nil
}
