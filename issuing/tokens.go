package issuing

import (
	"net/url"

	"github.com/gatepass/gatepass/credential/ssmstore"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/store/split"
)

// tokensKey is the parameter in a store's URL that names another store, for the tokens
// that workspaces read.
const tokensKey = "tokens"

// takeTokens splits a store's URL: tokens is the other store for tokens, nil if there
// is none, and rest the URL without it. The other store inherits a missing region and
// profile from the first.
func takeTokens(u *url.URL) (tokens, rest *url.URL, err error) {
	query := u.Query()
	given, ok := query[tokensKey]
	if !ok {
		return nil, u, nil
	}
	what := "store " + u.Scheme + "://" + u.Host
	const form = "write tokens=ssm:///PREFIX, with what follows its question mark escaped: tokens=ssm:///PREFIX%3Fkms_key=KEY"
	if len(given) != 1 {
		return nil, nil, usererr.New(what, "tokens is given twice", form)
	}
	tokens, err = url.Parse(given[0])
	if err != nil || tokens.Scheme != "ssm" {
		return nil, nil, usererr.New(what, "tokens is no store in Parameter Store", form)
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

// withTokens returns main with its tokens in the store from takeTokens.
func withTokens(main split.Main, tokens *url.URL) (store.Store, error) {
	if tokens == nil {
		return main, nil
	}
	s, err := ssmstore.OpenStore(tokens)
	if err != nil {
		return nil, err
	}
	if s.MakesKeys() {
		return nil, usererr.New("store "+tokens.Scheme+"://"+tokens.Path, "keys are made only where the ledger records are in Parameter Store, too", "make the keys yourself, and write kms_key=alias/NAME-{workspace}; or use one key")
	}
	return split.New(main, s), nil
}
