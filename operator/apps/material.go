package apps

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/gatepass/gatepass/internal/trustedfile"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/mint/signer"
	v1 "github.com/gatepass/gatepass/operator/api/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
)

// A material is what an App is made of.
type material struct {
	basics
	signer   issuing.Signer
	identity string // names the key: GitHub counts two Apps with the same key as one
}

// basics are the comparable parts of a material.
type basics struct {
	id           string
	installation int64
	github       string
}

// api returns the address of the REST API and the host of GitHub. read has checked that
// both are present.
func (b basics) api() (api, host string) {
	api, _ = mint.APIURL(b.github)
	u, _ := url.Parse(b.github)
	return api, u.Host
}

// read gathers what the App is made of. An error other than a [*NotReady] comes from
// ctx.
func (r *Registry) read(ctx context.Context, ref Ref, w definition) (material, error) {
	m := material{basics: basics{w.id, w.installation, w.github}}
	var err error
	switch w.provider {
	case v1.ProviderSecret:
		err = r.readSecret(ctx, ref, w, &m)
	case ProviderFile:
		err = readFile(w, &m)
	default:
		err = openKMS(w, &m)
	}
	if err != nil {
		return material{}, asNotReady(err)
	}
	if m.github == "" {
		m.github = w.operator
	}
	m.github = strings.ToLower(strings.TrimSuffix(m.github, "/"))
	if _, err := mint.APIURL(m.github); err != nil {
		return material{}, notReady(0, "githubURL %s: %v", m.github, err)
	}
	if m.id == "" {
		return material{}, notReady(retryRead, "the ID of the GitHub App is unknown; set clientID or appID, or set githubAppID in the Secret %s", w.secret.Name)
	}
	return m, nil
}

func asNotReady(err error) error {
	if already, ok := errors.AsType[*NotReady](err); ok {
		return already
	}
	return notReady(retryRead, "%s", usererr.Escape(err.Error()))
}

// The keys of a Secret made by "flux create secret githubapp", and the default of
// keyRef.key.
const (
	keyPEM           = "private-key.pem"
	fluxPEM          = "githubAppPrivateKey"
	fluxApp          = "githubAppID"
	fluxInstallation = "githubAppInstallationID"
	fluxURL          = "githubAppBaseURL"
)

// readSecret reads the Secret of an App. The Secret is in the App's own namespace.
func (r *Registry) readSecret(ctx context.Context, ref Ref, w definition, m *material) error {
	var s corev1.Secret
	what := "the Secret " + ref.Namespace + "/" + w.secret.Name
	switch err := r.Secrets.Get(ctx, types.NamespacedName{Namespace: ref.Namespace, Name: w.secret.Name}, &s); {
	case apierrors.IsNotFound(err):
		return notReady(retryRead, "%s of keyRef does not exist; create it with the App's private key in %s", what, orDefault(w.secret.Key))
	case apierrors.IsForbidden(err):
		return notReady(retryRead, "the operator may not read %s; allow it to get Secrets in that namespace", what)
	case err != nil:
		return fmt.Errorf("read %s: %w", what, err)
	}
	name, text := pemOf(s.Data, w.secret.Key)
	if text == nil {
		return notReady(retryRead, "%s has no key %s; put the App's private key there, or name its key in keyRef.key", what, name)
	}
	key, err := mint.ParseKey(text)
	if err != nil {
		return notReady(retryRead, "key %s of %s: %v; write the private key there as GitHub gives it out", name, what, err)
	}
	m.signer, m.identity = key, mint.Fingerprint(key.Public())
	return m.flux(s.Data, what)
}

func orDefault(name string) string {
	if name == "" {
		return keyPEM + " or " + fluxPEM
	}
	return name
}

// pemOf returns the text of the private key, or nil if there is none.
func pemOf(data map[string][]byte, named string) (name string, text []byte) {
	if named != "" {
		return named, data[named]
	}
	for _, name := range []string{keyPEM, fluxPEM} {
		if text := data[name]; text != nil {
			return name, text
		}
	}
	return orDefault(""), nil
}

// flux takes from a Secret made by Flux what the App itself does not specify.
func (m *material) flux(data map[string][]byte, what string) error {
	text := func(key string) string { return strings.TrimSpace(string(data[key])) }
	if m.id == "" {
		m.id = text(fluxApp)
		if strings.ContainsFunc(m.id, notInID) || len(m.id) > 100 {
			return notReady(retryRead, "%s of %s is not the ID of a GitHub App; write its App ID or client ID", fluxApp, what)
		}
	}
	if said := text(fluxInstallation); m.installation == 0 && said != "" {
		id, err := strconv.ParseInt(said, 10, 64)
		if err != nil || id <= 0 {
			return notReady(retryRead, "%s of %s is not the ID of an installation; write its number", fluxInstallation, what)
		}
		m.installation = id
	}
	if said := text(fluxURL); m.github == "" && said != "" {
		m.github = webURL(said)
		if _, err := mint.APIURL(m.github); err != nil {
			return notReady(retryRead, "%s of %s: %v", fluxURL, what, err)
		}
	}
	return nil
}

func notInID(c rune) bool {
	return !('0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '.' || c == '_' || c == '-')
}

// webURL returns the web address that belongs to an API address in the form that Flux
// writes: https://HOST/api/v3. It returns any other text as it is.
func webURL(text string) string {
	text = strings.TrimSuffix(text, "/")
	text = strings.TrimSuffix(text, "/api/v3")
	host, ok := strings.CutPrefix(text, "https://api.")
	if ok && (host == "github.com" || strings.HasSuffix(host, ".ghe.com")) {
		return "https://" + host
	}
	return text
}

// maxKey bounds a private key in PEM form, in bytes.
const maxKey = 64 << 10

// readFile reads the operator's own key. The file's text is never taken for a path, nor
// the path for a key.
func readFile(w definition, m *material) error {
	text, err := trustedfile.Read("the App's key", w.key, trustedfile.ReadingAndWriting, maxKey)
	if err != nil {
		return err
	}
	defer clear(text)
	key, err := mint.ParseKey(text)
	if err != nil {
		return fmt.Errorf("%s: %w; write the private key there as GitHub gives it out", w.key, err)
	}
	m.signer, m.identity = key, mint.Fingerprint(key.Public())
	return nil
}

// openKMS names a key in a KMS. The KMS is first contacted for a signature.
func openKMS(w definition, m *material) error {
	name, err := SignerURL(w.provider, w.key, w.vault)
	if err != nil {
		return notReady(0, "%s", err)
	}
	if m.signer, err = issuing.OpenSigner(name); err != nil {
		return notReady(0, "key %s: %s", usererr.Escape(w.key), err)
	}
	m.identity = name
	return nil
}

// keyForms describes a key's name for each provider.
var keyForms = map[v1.Provider]string{
	v1.ProviderAWS:   "alias/NAME, the key's ID, or the ARN of either",
	v1.ProviderGCP:   "projects/PROJECT/locations/LOCATION/keyRings/RING/cryptoKeys/KEY, with /cryptoKeyVersions/N for one version",
	v1.ProviderAzure: "https://NAME.vault.azure.net/keys/KEY, with /VERSION for one version",
	v1.ProviderVault: "MOUNT/sign/KEY, such as transit/sign/app",
}

// SignerURL returns the URL of a key in a KMS in the form that [issuing.OpenSigner]
// takes. key only selects the key; the operator's own configuration decides which
// identity signs, at which address, and how to log in to Vault. vault is the query with
// the settings for Vault.
func SignerURL(provider v1.Provider, key, vault string) (string, error) {
	u, ok := &url.URL{}, false
	switch provider {
	case v1.ProviderAWS:
		u, ok = &url.URL{Scheme: "awskms", Path: "/" + key}, isPlain(key, ":/_-")
	case v1.ProviderGCP:
		rest, isName := strings.CutPrefix(key, "projects/")
		u, ok = &url.URL{Scheme: "gcpkms", Host: "projects", Path: "/" + rest}, isName && isPlain(key, ":/_-.")
	case v1.ProviderAzure:
		u, ok = azureURL(key)
	case v1.ProviderVault:
		u, ok = vaultURL(key, vault)
	default:
		return "", usererr.New("provider "+string(provider), "unknown provider", "write aws, gcp, azure or vault")
	}
	if !ok {
		return "", usererr.New(fmt.Sprintf("key %q", key), "this is not a key of provider "+string(provider), "write "+keyForms[provider])
	}
	return u.String(), nil
}

// isPlain reports whether path has only letters, digits and marks, in segments that are
// neither empty nor dots.
func isPlain(path, marks string) bool {
	for segment := range strings.SplitSeq(path, "/") {
		if strings.Trim(segment, ".") == "" {
			return false
		}
	}
	return signer.IsName(path, marks, maxKeyName)
}

// maxKeyName bounds the name of an App's key, in bytes.
const maxKeyName = 2048

// azureURL reads https://HOST/keys/KEY and https://HOST/keys/KEY/VERSION.
func azureURL(key string) (*url.URL, bool) {
	rest, isURL := strings.CutPrefix(key, "https://")
	host, path, hasKey := strings.Cut(rest, "/keys/")
	if !isURL || !hasKey || !signer.IsName(host, ".-", maxKeyName) || !isPlain(path, "/-") {
		return nil, false
	}
	return &url.URL{Scheme: "azurekeys", Host: host, Path: "/" + path}, true
}

// vaultURL reads MOUNT/sign/KEY, and MOUNT/KEY as github-token-manager does. It refuses
// a path with "sign" in another place.
func vaultURL(key, query string) (*url.URL, bool) {
	segments := strings.Split(key, "/")
	n := len(segments)
	if n < 2 || !isPlain(key, "/_-.") {
		return nil, false
	}
	mount, name := segments[:n-1], segments[n-1]
	if n > 2 && mount[n-2] == "sign" {
		mount = mount[:n-2]
	}
	path := slices.Concat(mount, []string{name})
	if slices.Contains(path, "sign") {
		return nil, false
	}
	return &url.URL{Scheme: "vault+transit", Host: path[0], Path: "/" + strings.Join(path[1:], "/"), RawQuery: query}, true
}
