package apps

import (
	"net/url"
	"path"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/issuing"
	v1 "github.com/gatepass/gatepass/operator/api/v1"
)

// Each form of a key that github-token-manager takes, as in its documentation.
func TestKeysOfTheSecondSystem(t *testing.T) {
	const ring = "projects/p-1/locations/europe-west3/keyRings/r/cryptoKeys/k"
	const id = "1234abcd-12ab-34cd-56ef-1234567890ab"
	for _, c := range []struct {
		provider  v1.Provider
		key, want string
	}{
		{"aws", "alias/github-token-manager", "awskms:///alias/github-token-manager"},
		{"aws", "alias/team/app", "awskms:///alias/team/app"},
		{"aws", id, "awskms:///" + id},
		{"aws", "mrk-1234abcd12ab34cd56ef1234567890ab", "awskms:///mrk-1234abcd12ab34cd56ef1234567890ab"},
		{"aws", "arn:aws:kms:eu-central-1:111122223333:key/" + id, "awskms:///arn:aws:kms:eu-central-1:111122223333:key/" + id},
		{"aws", "arn:aws-us-gov:kms:us-gov-west-1:111122223333:alias/app", "awskms:///arn:aws-us-gov:kms:us-gov-west-1:111122223333:alias/app"},
		{"gcp", ring, "gcpkms://" + ring},
		{"gcp", ring + "/cryptoKeyVersions/3", "gcpkms://" + ring + "/cryptoKeyVersions/3"},
		{"gcp", strings.Replace(ring, "p-1", "example.com:p-1", 1), "gcpkms://" + strings.Replace(ring, "p-1", "example.com:p-1", 1)},
		{"azure", "https://team.vault.azure.net/keys/app", "azurekeys://team.vault.azure.net/app"},
		{"azure", "https://team.vault.azure.net/keys/app/0123456789abcdef0123456789abcdef", "azurekeys://team.vault.azure.net/app/0123456789abcdef0123456789abcdef"},
		{"azure", "https://team.managedhsm.azure.net/keys/app", "azurekeys://team.managedhsm.azure.net/app"},
		{"vault", "transit/sign/app", "vault+transit://transit/app?auth=kubernetes&role=gatepass"},
		{"vault", "transit/app", "vault+transit://transit/app?auth=kubernetes&role=gatepass"},
		{"vault", "team/transit_2/sign/my.app", "vault+transit://team/transit_2/my.app?auth=kubernetes&role=gatepass"},
	} {
		got, err := SignerURL(c.provider, c.key, "auth=kubernetes&role=gatepass")
		if err != nil || got != c.want {
			t.Errorf("SignerURL(%s, %s) = %s, %v, want %s", c.provider, c.key, got, err, c.want)
			continue
		}
		if _, err := issuing.OpenSigner(got); err != nil {
			t.Errorf("OpenSigner(%s) = %v", got, err)
		}
	}
}

// An App's owner chooses the key, and nothing else of the URL: not the server that is
// asked, not the login, not a file.
func TestKeysThatAreMore(t *testing.T) {
	for _, c := range []struct {
		provider v1.Provider
		key      string
	}{
		{"aws", ""},
		{"aws", "alias/app?endpoint=https://evil.example"},
		{"aws", "alias/app#x"},
		{"aws", "alias/%2e%2e/app"},
		{"aws", "alias//app"},
		{"aws", "../app"},
		{"aws", "arn:aws:s3:::bucket/key"},
		{"aws", "file:///etc/passwd"},
		{"aws", "awskms:///alias/app"},
		{"gcp", "projects/p/locations/l/keyRings/r"},
		{"gcp", "projects/p/locations/l/keyRings/r/cryptoKeys/k?x=y"},
		{"gcp", "projects/../locations/l/keyRings/r/cryptoKeys/k"},
		{"gcp", "//cloudkms.googleapis.com/projects/p/locations/l/keyRings/r/cryptoKeys/k"},
		{"gcp", "folders/p/locations/l/keyRings/r/cryptoKeys/k"},
		{"azure", "team.vault.azure.net/keys/app"},
		{"azure", "http://team.vault.azure.net/keys/app"},
		{"azure", "https://evil.example/keys/app"},
		{"azure", "https://team.vault.azure.net.evil.example/keys/app"},
		{"azure", "https://evil.example/team.vault.azure.net/keys/app"},
		{"azure", "https://team.vault.azure.net:444/keys/app"},
		{"azure", "https://x@team.vault.azure.net/keys/app"},
		{"azure", "https://team.vault.azure.net/secrets/app"},
		{"azure", "https://team.vault.azure.net/keys/../secrets/app"},
		{"azure", "https://team.vault.azure.net/keys/app?x=y"},
		{"vault", "app"},
		{"vault", "/transit/sign/app"},
		{"vault", "transit/sign/"},
		{"vault", "transit/sign"},
		{"vault", "sign/app/transit"},
		{"vault", "transit/sign/app/sha2-256"},
		{"vault", "transit/../sys/sign/app"},
		{"vault", "transit/sign/.."},
		{"vault", "transit/sign/app?role=admin"},
		{"vault", "transit/sign/{workspace}"},
		{"vault", "transit/sign/a%2fb"},
		{"vault", "https://vault.evil.example/transit/sign/app"},
		{"vault", "vault.evil.example:8200/transit/sign/app"},
		{"file", "/var/run/secrets/kubernetes.io/serviceaccount/token"},
		{"secret", "x"},
		{"", "x"},
	} {
		var m material
		if err := openKMS(definition{provider: c.provider, key: c.key}, &m); err == nil {
			t.Errorf("%s: %q opens %s, want it refused", c.provider, c.key, m.identity)
		} else if strings.ContainsAny(err.Error(), "\r\n") {
			t.Errorf("%s: %q: more than a line: %v", c.provider, c.key, err)
		}
	}
}

func FuzzSignerURL(f *testing.F) {
	providers := []v1.Provider{v1.ProviderAWS, v1.ProviderGCP, v1.ProviderAzure, v1.ProviderVault, v1.ProviderSecret, ProviderFile}
	for i, key := range []string{"alias/app", "projects/p/locations/l/keyRings/r/cryptoKeys/k", "https://team.vault.azure.net/keys/app", "transit/sign/app", "a/sign/sign/b", "..", "a?b", "a#b", "a\nb", "-----BEGIN"} {
		f.Add(uint8(i), key)
	}
	const query = "addr=https%3A%2F%2Fvault.example&role=gatepass"
	f.Fuzz(func(t *testing.T, n uint8, key string) {
		provider := providers[int(n)%len(providers)]
		text, err := SignerURL(provider, key, query)
		if err != nil {
			if text != "" || strings.ContainsAny(err.Error(), "\r\n") {
				t.Errorf("SignerURL(%s, %q) = %q, %q", provider, key, text, err)
			}
			return
		}
		u, err := url.Parse(text)
		if err != nil {
			t.Fatalf("SignerURL(%s, %q) = %q, which is no URL", provider, key, text)
		}
		schemes := map[v1.Provider]string{"aws": "awskms", "gcp": "gcpkms", "azure": "azurekeys", "vault": "vault+transit"}
		if u.Scheme != schemes[provider] || u.User != nil || u.Opaque != "" || u.Fragment != "" || path.Clean(u.Path) != u.Path {
			t.Errorf("SignerURL(%s, %q) = %q", provider, key, text)
		}
		if wantsQuery := provider == v1.ProviderVault; wantsQuery != (u.RawQuery == query) || !wantsQuery && u.RawQuery != "" {
			t.Errorf("SignerURL(%s, %q) = %q: the key changes the query", provider, key, text)
		}
		whole := strings.TrimPrefix(u.Host+u.Path, "/")
		plain := strings.Replace(strings.Replace(strings.TrimPrefix(key, "https://"), "/keys/", "/", 1), "/sign/", "/", 1)
		if whole != plain && whole != key {
			t.Errorf("SignerURL(%s, %q) = %q: it names another key", provider, key, text)
		}
	})
}
