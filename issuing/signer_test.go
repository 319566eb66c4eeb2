package issuing

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/test/testkey"
)

func writeSignerKey(t *testing.T, mode os.FileMode) (path string) {
	t.Helper()
	key := testkey.RSA(2048, 1)
	path = filepath.Join(t.TempDir(), "key.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	if err := errors.Join(os.WriteFile(path, text, mode), os.Chmod(path, mode)); err != nil { // independent of the umask
		t.Fatal(err)
	}
	return path
}

func TestOpen(t *testing.T) {
	for _, c := range []struct{ url, kind string }{
		{"file://" + writeSignerKey(t, 0o600), "*mint.KeySigner"},
		{"awskms:///alias/gatepass?region=us-east-1", "*awskms.Signer"},
		{"gcpkms://projects/p/locations/l/keyRings/r/cryptoKeys/k", "*gcpkms.Signer"},
		{"gcpkms://projects/p/locations/l/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1", "*gcpkms.Signer"},
		{"azurekeys://gatepass-git.vault.azure.net/app", "*azurekeys.Signer"},
		{"vault+transit://transit/gatepass?addr=https://vault.example", "*vaulttransit.Signer"},
	} {
		s, err := OpenSigner(c.url)
		if got := fmt.Sprintf("%T", s); err != nil || got != c.kind {
			t.Errorf("OpenSigner(%s) = %s, %v, want %s", c.url, got, err, c.kind)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, c := range []struct{ url, want string }{
		{"", "this is not a URL; write one of file:///PATH"},
		{"/etc/key.pem", "this is not a URL"},
		{"%", "this is not a URL"},
		{"-----BEGIN RSA PRIVATE KEY-----", "this is not a URL"},
		{"gcpkms:///projects/x", "this is not a key; write gcpkms://projects/"},
		{"azurekeys://vault.example/app", "its host is not a Key Vault"},
		{"azurekms://x", "unknown signer azurekms://; write one of"},
		{"vault://transit/key", "unknown signer vault://"},
		{"env://KEY", "unknown signer env://"},
		{"file://key.pem", "an absolute path on this machine"},
		{"file:key.pem", "an absolute path on this machine"},
		{"file:///a?b", "a file signer must have only a path"},
		{"file:///does/not/exist", "read the App's key: open /does/not/exist: no such file"},
		{"file://" + writeSignerKey(t, 0o640), "run chmod 600 on it"},
		{"awskms://alias/x", "a key must follow three slashes"},
		{"vault+transit://transit", "it must name a mount and a key"},
	} {
		s, err := OpenSigner(c.url)
		if err == nil || s != nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("OpenSigner(%q) = %v, %v, want an error with %q", c.url, s, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "PRIVATE KEY") {
			t.Errorf("the error %q repeats what may be a key", err)
		}
	}
}
