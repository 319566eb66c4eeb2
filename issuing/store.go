// Package issuing opens what every issuing command needs: the store, and the GitHub App
// in it.
package issuing

import (
	"errors"
	"net/url"
	"os"
	"path/filepath"

	"github.com/gatepass/gatepass/credential/filestore"
	"github.com/gatepass/gatepass/credential/ssmstore"
	"github.com/gatepass/gatepass/credential/vaultstore"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/issuing/workspacekey"
	"github.com/gatepass/gatepass/store"
)

// StoreVariable is the environment variable that names the store if no option does.
const StoreVariable = "GATEPASS_STORE"

// KnownStores lists the URLs that OpenStore accepts, for messages and help.
const KnownStores = "ssm:///PREFIX?region=…, dynamodb://TABLE?region=…[&tokens=ssm:///PREFIX], vault://MOUNT/PREFIX?addr=…&auth=…, kubernetes://NAMESPACE/PREFIX, postgres://HOST/DATABASE?sslmode=verify-full and file:///DIR"

const (
	kubernetesScheme = "kubernetes"
	dynamoDBScheme   = "dynamodb"
	postgresScheme   = "postgres"
)

// systemStore is root's default store.
const systemStore = "/var/lib/gatepass"

// OpenStore returns the store at a URL. It reads and writes nothing yet.
func OpenStore(rawURL string) (store.Store, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, usererr.New("open the store", "this is no URL", "write one of "+KnownStores)
	}
	switch u.Scheme {
	case "file":
		return opened(filestore.OpenStore(u))
	case "ssm":
		return openSSM(u)
	case "vault":
		return opened(vaultstore.OpenStore(u))
	case kubernetesScheme:
		return openKubernetes(u)
	case dynamoDBScheme:
		return openDynamoDB(u)
	case postgresScheme:
		return openPostgres(u)
	case "":
		return nil, usererr.New("open the store", "this is no URL", "write one of "+KnownStores)
	}
	return nil, usererr.New("open the store", "there is no store "+u.Scheme+"://", "write one of "+KnownStores)
}

// openSSM returns a store in Parameter Store. If the URL says so, it also makes a KMS
// key for each workspace.
func openSSM(u *url.URL) (store.Store, error) {
	s, err := ssmstore.OpenStore(u)
	if err == nil && s.MakesKeys() {
		return workspacekey.New(s), nil
	}
	return opened(s, err)
}

// opened prevents a nil pointer in a non-nil Store.
func opened[S store.Store](s S, err error) (store.Store, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}

// DefaultStore returns the URL of the embedded store: /var/lib/gatepass for root, else
// a folder of the user's (XDG Base Directory Specification). It is a private folder
// below the one for hooks of gatepass install, which others may read.
func DefaultStore(getenv func(string) string) (string, error) {
	dir := systemStore
	if os.Geteuid() != 0 {
		data := getenv("XDG_DATA_HOME")
		if home := getenv("HOME"); !filepath.IsAbs(data) && filepath.IsAbs(home) {
			data = filepath.Join(home, ".local", "share")
		}
		if !filepath.IsAbs(data) {
			return "", errors.New("open the store: HOME is not set; name a store with --store or " + StoreVariable)
		}
		dir = filepath.Join(data, "gatepass", "store")
	}
	return (&url.URL{Scheme: "file", Path: dir}).String(), nil
}

// StoreURL returns the option's value, else the variable's, else the default.
func StoreURL(option string, getenv func(string) string) (string, error) {
	if option != "" {
		return option, nil
	}
	if named := getenv(StoreVariable); named != "" {
		return named, nil
	}
	return DefaultStore(getenv)
}
