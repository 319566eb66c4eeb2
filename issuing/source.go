package issuing

import (
	"net/url"
	"path"
	"strings"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/store"
)

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
		return "", usererr.New("name the source of a workspace", "the store is no URL", "")
	}
	tokens, _, err := takeTokens(u)
	if err != nil {
		return "", err
	}
	if tokens != nil {
		u = tokens
	}
	if kind := readByBrokers[u.Scheme]; kind != "" {
		return "", usererr.New("name the source of a workspace", "workspaces do not read a store in "+kind, "let them ask a broker: --source broker+https://HOST[:PORT]")
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
