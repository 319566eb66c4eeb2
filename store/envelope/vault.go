package envelope

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/gatepass/gatepass/credential/vaultclient"
	"github.com/gatepass/gatepass/internal/usererr"
)

const vaultForm = "write vault+transit://MOUNT/KEY?addr=https://host[:port]&auth=METHOD"

// A vaultKey is a symmetric key in a transit engine of Vault. It wraps with its newest
// version and unwraps with any.
type vaultKey struct {
	mount, key string
	client     *vaultclient.Client
}

func openVault(u *url.URL) (*vaultKey, error) {
	what := "wrapping key vault+transit://" + u.Host + u.Path
	full := u.Host + u.Path
	if u.User != nil || u.Opaque != "" || u.Fragment != "" || u.Port() != "" || u.Host == "" || u.Path == "" || !vaultclient.IsPath(full) || strings.ContainsAny(full, "{}") {
		return nil, usererr.New(what, "it must name a mount and a key", vaultForm)
	}
	client, _, err := vaultclient.Open(what, u.RawQuery, "")
	if err != nil {
		return nil, err
	}
	return &vaultKey{mount: path.Dir(full), key: path.Base(full), client: client}, nil
}

// Wrap needs update on MOUNT/encrypt/KEY. If a policy allows create, Vault would create
// a missing key, so policies should not allow it.
func (k *vaultKey) Wrap(ctx context.Context, key []byte) ([]byte, error) {
	text, err := k.ask(ctx, "wrap a data key with", "encrypt", "plaintext", base64.StdEncoding.EncodeToString(key), "ciphertext")
	if err == nil && !strings.HasPrefix(text, "vault:v") {
		err = errors.New("the answer has no ciphertext of the form vault:vN:…")
	}
	return []byte(text), err
}

// Unwrap needs update on MOUNT/decrypt/KEY.
func (k *vaultKey) Unwrap(ctx context.Context, wrapped []byte) ([]byte, error) {
	text, err := k.ask(ctx, "unwrap a data key with", "decrypt", "ciphertext", string(wrapped), "plaintext")
	if err != nil {
		return nil, err
	}
	key, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, errors.New("the answer of Vault has no key") // the text of the error may be a key
	}
	return key, nil
}

// ask makes an operation of the engine turn one text into another
// (https://developer.hashicorp.com/vault/api-docs/secret/transit#encrypt-data).
func (k *vaultKey) ask(ctx context.Context, doing, operation, field, text, wanted string) (string, error) {
	what := doing + " the transit key " + k.mount + "/" + k.key + " in " + k.client.Where()
	at := k.mount + "/" + operation + "/" + k.key
	answer, err := k.client.Write(ctx, what, at, map[string]string{field: text})
	refusal, ok := errors.AsType[*vaultclient.Refusal](err)
	switch {
	case ok && refusal.Status == http.StatusForbidden:
		return "", usererr.New(what, "permission denied"+refusal.Shown(), "allow update on "+at+" in a policy")
	case ok:
		return "", usererr.New(what, fmt.Sprintf("Vault refuses (%d)", refusal.Status), "check that the key exists and is symmetric: vault read "+k.mount+"/keys/"+k.key)
	case err != nil:
		return "", err
	}
	var result string
	if json.Unmarshal(answer.Data[wanted], &result) != nil || result == "" {
		return "", usererr.New(what, "the answer has no "+wanted, "check that addr in the URL, or VAULT_ADDR, names a Vault")
	}
	return result, nil
}
