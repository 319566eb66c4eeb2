package mint

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/gatepass/gatepass/internal/secret"
)

// Made is an App fresh from its manifest, with the one copy of its private key.
// The client secret and the webhook secret that come with it are not read:
// nothing of gatepass needs them.
type NewApp struct {
	Registration
	PrivateKey PEM `json:"pem"`
}

// Issuer is what the App's JWTs name: the client ID, or the App ID where an
// Enterprise Server has none.
func (m NewApp) Issuer() string {
	if m.ClientID != "" {
		return m.ClientID
	}
	return strconv.FormatInt(m.ID, 10)
}

// ConvertManifest returns the App that was made from a manifest for the code
// that GitHub gave the browser. It needs neither ID nor Signer of a.
//
// A code is good for one answer, within an hour. The error is an [*Error]: of
// kind [CodeSpent] when it is not good any more; of kind [Unavailable] or
// [RateLimited] when to ask again may help, which is left to the caller. Then
// the answer may be lost, and the next error be CodeSpent.
func (a *App) ConvertManifest(ctx context.Context, code string) (NewApp, error) {
	const doing = "fetch the key of the new App"
	if err := CheckCode(code); err != nil {
		return NewApp{}, &Error{Doing: doing, Err: err}
	}
	got, err := a.attempt(ctx, call{
		doing: doing, method: http.MethodPost, want: http.StatusCreated, open: true,
		url: a.base() + "/app-manifests/" + code + "/conversions",
	})
	if failure, ok := errors.AsType[*Error](err); ok && failure.Status != 0 && !passes(failure.Kind) {
		failure.Kind = Refused
		if failure.Status == http.StatusNotFound {
			failure.Kind = CodeSpent
		}
	}
	if err != nil {
		return NewApp{}, err
	}
	return parseNewApp(doing, got.body)
}

// CheckCode returns an error unless text can be a code of the manifest flow,
// which GitHub makes of 40 hexadecimal digits. It becomes a part of a URL.
func CheckCode(text string) error {
	if text == "" || len(text) > 128 || strings.ContainsFunc(text, func(r rune) bool {
		return !('0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || r == '-' || r == '_')
	}) {
		return errors.New("this is no code of GitHub's")
	}
	return nil
}

// parseMade reads the answer. Whether the key is one that can sign is left
// open: it is the only copy, and worth keeping as it is.
func parseNewApp(doing string, body []byte) (NewApp, error) {
	var m NewApp
	if err := decode(doing, body, &m); err != nil {
		return NewApp{}, err
	}
	if m.ID <= 0 || m.PrivateKey.Reveal() == "" {
		return NewApp{}, &Error{Kind: Unavailable, Doing: doing, Err: errors.New("the answer holds no App or no key")}
	}
	return m, nil
}

// A PEM is a private key as text. It does not print itself: fmt, slog and JSON
// show a placeholder. Reveal is the one way to the text.
type PEM struct{ secret.Text }

// UnmarshalText keeps the text.
func (p *PEM) UnmarshalText(text []byte) error {
	p.Text = secret.New(string(text))
	return nil
}
