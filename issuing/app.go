package issuing

import (
	"context"
	"errors"
	"strings"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/workspace"
)

// GitHubVariable is the environment variable that names the GitHub if no option does.
const GitHubVariable = "GATEPASS_GITHUB_URL"

// notSetUp is the hint for a store without an App.
const notSetUp = "run gatepass app create, or gatepass app add"

// An App is the GitHub App of a store, ready to mint.
type App struct {
	*mint.App
	Key    Signer
	GitHub string // its URL for people: https://github.com
}

// LoadApp reads the App of a store. github is the value of the option or the variable;
// "" means the store's, else github.com. It does not ask GitHub.
//
// Its error wraps [store.ErrNotFound] if no App is set up.
func LoadApp(ctx context.Context, s store.Store, github string) (*App, error) {
	id, err := LoadID(ctx, s)
	if err != nil {
		return nil, err
	}
	if github, err = GitHub(ctx, s, github); err != nil {
		return nil, err
	}
	key, err := LoadKey(ctx, s)
	if err != nil {
		return nil, err
	}
	return NewApp(id, key, github)
}

// NewApp returns an App that need not be in a store. github is its URL for people.
func NewApp(id string, key Signer, github string) (*App, error) {
	api, err := mint.APIURL(github)
	if err != nil {
		return nil, usererr.Wrap("GitHub at "+github, err, "")
	}
	return &App{App: &mint.App{ID: id, Signer: key, URL: api}, Key: key, GitHub: github}, nil
}

// LoadID reads the client ID, or App ID, of a store's App. Its error wraps
// [store.ErrNotFound] if no App is set up.
func LoadID(ctx context.Context, s store.Store) (string, error) {
	id, err := Text(ctx, s, store.AppClientID())
	if errors.Is(err, store.ErrNotFound) {
		return "", &usererr.Error{Op: "load the GitHub App", Reason: "none is set up in this store", Hint: notSetUp, Err: err}
	}
	return id, err
}

// GitHub returns the GitHub of a store's App: named, else the store's, else github.com.
func GitHub(ctx context.Context, s store.Store, named string) (string, error) {
	if named != "" {
		return named, nil
	}
	kept, err := Text(ctx, s, store.GitHubURL())
	if errors.Is(err, store.ErrNotFound) {
		return mint.DefaultGitHub, nil
	}
	return kept, err
}

// LoadKey opens the App's key: the KMS key that the store names, else the private key
// in the store. Its error wraps [store.ErrNotFound] if the store has neither.
func LoadKey(ctx context.Context, s store.Store) (Signer, error) {
	url, err := SignerURL(ctx, s)
	if err != nil {
		return nil, err
	}
	if url != "" {
		return OpenSigner(url)
	}
	entry, err := s.Get(ctx, store.PrivateKey())
	if errors.Is(err, store.ErrNotFound) {
		return nil, &usererr.Error{Op: "load the App's key", Reason: "the store has neither a private key nor the URL of a signer", Hint: notSetUp, Err: err}
	}
	if err != nil {
		return nil, err
	}
	key, err := mint.ParseKey([]byte(entry.Value.Reveal()))
	if err != nil {
		return nil, usererr.Wrap("read "+store.PrivateKey().String(), err, "set the App's key anew: gatepass app rotate-key")
	}
	return key, nil
}

// SignerURL returns the URL of the KMS key that a store names; "" if it names none.
func SignerURL(ctx context.Context, s store.Store) (string, error) {
	url, err := Text(ctx, s, store.Signer())
	if errors.Is(err, store.ErrNotFound) {
		return "", nil
	}
	return url, err
}

// Text reads an entry that must be one line of text.
func Text(ctx context.Context, s store.Store, name store.Name) (string, error) {
	entry, err := s.Get(ctx, name)
	if err != nil {
		return "", err
	}
	text := strings.TrimSpace(entry.Value.Reveal())
	if text == "" || strings.ContainsAny(text, "\r\n") {
		return "", usererr.New("read "+name.String(), "it is not one line of text", "set the App up anew: gatepass app add --force")
	}
	return text, nil
}

// NewIssuer makes an issuer for a store. If its App cannot be used, the issuer can
// still revoke, and says why it cannot mint. github is as for LoadApp.
func NewIssuer(ctx context.Context, s store.Store, github string) (*workspace.Issuer, *App, error) {
	return newIssuer(ctx, s, github, new(mint.Pool), plainly(s, github))
}

// A load opens one App of a store, by its name in the pool; "" is the first.
type load func(ctx context.Context, name string) (*App, error)

func newIssuer(ctx context.Context, s store.Store, github string, choice *mint.Pool, open load) (*workspace.Issuer, *App, error) {
	all, err := members(ctx, s, open)
	if err != nil {
		return nil, nil, err
	}
	bare := new(App)
	for _, m := range all {
		if m.Err == nil {
			continue
		}
		if bare, err = revoking(ctx, s, github); err != nil {
			return nil, nil, m.Err
		}
		break
	}
	app := all[0].App
	if app == nil {
		app = bare
	}
	issuer := &workspace.Issuer{App: app.App, Store: s, Unready: all[0].Err}
	if len(all) > 1 {
		issuer.Pool = poolOf(all[1:], bare, choice)
	}
	return issuer, app, nil
}

// revoking returns an App that can revoke tokens and nothing else.
func revoking(ctx context.Context, s store.Store, github string) (*App, error) {
	github, err := GitHub(ctx, s, github)
	if err != nil {
		return nil, err
	}
	api, err := mint.APIURL(github)
	if err != nil {
		return nil, err
	}
	return &App{App: &mint.App{URL: api}, GitHub: github}, nil
}
