// Package issuing opens what every issuing command needs: the store, and the GitHub App
// in it.
package issuing

import (
	"context"
	"crypto/rand"
	"errors"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/gatepass/gatepass/credential/filestore"
	"github.com/gatepass/gatepass/credential/ssmstore"
	"github.com/gatepass/gatepass/credential/vaultstore"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/issuing/workspacekey"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/store/split"
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
		return nil, usererr.New("open the store", "this is not a URL", "write one of "+KnownStores)
	}
	switch u.Scheme {
	case "file":
		return checkedStore(filestore.OpenStore(u))
	case "ssm":
		return openSSM(u)
	case "vault":
		return checkedStore(vaultstore.OpenStore(u))
	case kubernetesScheme:
		return openKubernetes(u)
	case dynamoDBScheme:
		return openDynamoDB(u)
	case postgresScheme:
		return openPostgres(u)
	case "":
		return nil, usererr.New("open the store", "this is not a URL", "write one of "+KnownStores)
	}
	return nil, usererr.New("open the store", "unknown store "+u.Scheme+"://", "write one of "+KnownStores)
}

// openSSM returns a store in Parameter Store. If the URL says so, it also makes a KMS
// key for each workspace.
func openSSM(u *url.URL) (store.Store, error) {
	s, err := ssmstore.OpenStore(u)
	if err == nil && s.MakesKeys() {
		return workspacekey.New(s), nil
	}
	return checkedStore(s, err)
}

// checkedStore prevents a nil pointer in a non-nil Store.
func checkedStore[S store.Store](s S, err error) (store.Store, error) {
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

// readByBrokers are the schemes of stores that no source can read, with their names for
// people.
var readByBrokers = map[string]string{kubernetesScheme: "Kubernetes", dynamoDBScheme: "DynamoDB", postgresScheme: "PostgreSQL"}

// Source returns the source for a workspace file whose tokens this store delivers: for
// its only token, or one for each owner. It does not contain how the workspace
// authenticates to the store, unless that is part of the address. It returns an error
// for stores in Kubernetes, DynamoDB or PostgreSQL, unless their tokens are in another
// store: only brokers can read them.
func Source(storeURL string, isOnly bool) (string, error) {
	u, err := url.Parse(storeURL)
	if err != nil {
		return "", usererr.New("name the source of a workspace", "the store is not a URL", "")
	}
	tokens, _, err := splitTokensStore(u)
	if err != nil {
		return "", err
	}
	if tokens != nil {
		u = tokens
	}
	if kind := readByBrokers[u.Scheme]; kind != "" {
		return "", usererr.New("name the source of a workspace", "workspaces cannot read a store in "+kind, "let them ask a broker: --source broker+https://HOST[:PORT]")
	}
	only, err := store.OnlyToken("x")
	if err != nil {
		return "", err
	}
	name := strings.Replace(only.String(), "/x/", "/{workspace}/", 1)
	if !isOnly {
		name += "s/{owner}"
	}
	query, kept := u.Query(), url.Values{}
	for _, key := range []string{"region", "endpoint", "addr", "namespace", "ca_file"} {
		if query.Has(key) {
			kept[key] = query[key]
		}
	}
	prefix := u.Path
	if u.Scheme == "ssm" && query.Has("workspaces") {
		prefix = query.Get("workspaces")
	}
	source := u.Scheme + "://" + u.Host + path.Join("/", prefix, name)
	if len(kept) > 0 {
		source += "?" + kept.Encode()
	}
	return source, nil
}

// tokensKey is the parameter in a store's URL that names another store, for the tokens
// that workspaces read.
const tokensKey = "tokens"

// splitTokensStore splits a store's URL: tokens is the other store for tokens, nil if there
// is none, and rest the URL without it. The other store inherits a missing region and
// profile from the first.
func splitTokensStore(u *url.URL) (tokens, rest *url.URL, err error) {
	query := u.Query()
	given, ok := query[tokensKey]
	if !ok {
		return nil, u, nil
	}
	what := "store " + u.Scheme + "://" + u.Host
	const form = "write tokens=ssm:///PREFIX, and escape its query: tokens=ssm:///PREFIX%3Fkms_key=KEY"
	if len(given) != 1 {
		return nil, nil, usererr.New(what, "tokens is given twice", form)
	}
	tokens, err = url.Parse(given[0])
	if err != nil || tokens.Scheme != "ssm" {
		return nil, nil, usererr.New(what, "tokens must be a store in Parameter Store", form)
	}
	inner := tokens.Query()
	for _, key := range []string{"region", "profile"} {
		if query.Has(key) && !inner.Has(key) {
			inner.Set(key, query.Get(key))
		}
	}
	tokens.RawQuery = inner.Encode()
	query.Del(tokensKey)
	without := *u
	without.RawQuery = query.Encode()
	return tokens, &without, nil
}

// withTokens returns main with its tokens in the store from splitTokensStore.
func withTokens(main split.Main, tokens *url.URL) (store.Store, error) {
	if tokens == nil {
		return main, nil
	}
	s, err := ssmstore.OpenStore(tokens)
	if err != nil {
		return nil, err
	}
	if s.MakesKeys() {
		return nil, usererr.New("store "+tokens.Scheme+"://"+tokens.Path, "gatepass creates keys only if the ledger records are in Parameter Store too", "create the keys and write kms_key=alias/NAME-{workspace}, or use one key")
	}
	return split.New(main, s), nil
}

// probeSize is about the size of GitHub's private keys, in bytes: a store may accept
// only short values.
const probeSize = 1700

// Probe returns an error unless the store can write, read and delete an entry. It
// leaves nothing in the store, even if ctx ends.
func Probe(ctx context.Context, s store.Store) error {
	text := rand.Text()
	text = strings.Repeat(text, probeSize/len(text))
	err := s.Put(ctx, store.Probe(), store.NewSecret(text), store.Replace)
	if err == nil {
		err = canRead(ctx, s, text)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), restoreWait)
	defer cancel()
	// Also after an error, because the entry may have been written.
	if gone := s.Delete(ctx, store.Probe()); err == nil && gone != nil {
		err = usererr.Join(gone, errors.New("delete "+store.Probe().String()+" by hand"))
	}
	return err
}

func canRead(ctx context.Context, s store.Store, text string) error {
	entry, err := s.Get(ctx, store.Probe())
	if err == nil && entry.Value.Reveal() != text {
		err = usererr.New("read "+store.Probe().String(), "it differs from what was written", "check whether another gatepass uses this store")
	}
	return err
}
