package mint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gatepass/gatepass/internal/gitname"
	"github.com/gatepass/gatepass/internal/secret"
)

// MaxAppName is the longest name of an App, in characters
// (https://docs.github.com/apps/creating-github-apps/registering-a-github-app/registering-a-github-app).
const MaxAppName = 34

// A Manifest says what App GitHub is asked to make
// (https://docs.github.com/apps/sharing-github-apps/registering-a-github-app-from-a-manifest).
// The App has no webhook and subscribes to nothing. The zero Manifest is
// refused: homepage and permissions have to be decided.
type Manifest struct {
	Name        string // up to MaxAppName characters, which nobody else has; "" leaves it to the person
	Description string // "" means none
	Homepage    string // of the App; GitHub wants one
	RedirectURL string // where the browser takes the code; "" in a manifest that is only shown
	Public      bool   // other accounts than its owner's may install it
	Permissions Permissions
}

// Validate returns every reason why GitHub must not be asked for m, joined.
func (m Manifest) Validate() error {
	errs := []error{m.Permissions.validate(), checkWebURL("homepage", m.Homepage)}
	if m.Permissions.all {
		errs = append(errs, errors.New("an App asks for each permission by name"))
	}
	if m.RedirectURL != "" {
		errs = append(errs, checkWebURL("redirect URL", m.RedirectURL))
	}
	if n := utf8.RuneCountInString(m.Name); n > MaxAppName {
		errs = append(errs, fmt.Errorf("the name has %d characters; GitHub takes up to %d", n, MaxAppName))
	}
	if m.Name != "" && strings.TrimSpace(m.Name) == "" || strings.ContainsFunc(m.Name, unicode.IsControl) || !utf8.ValidString(m.Name) {
		errs = append(errs, fmt.Errorf("%q is no name", m.Name))
	}
	return errors.Join(errs...)
}

func checkWebURL(what, text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.Fragment != "" {
		return fmt.Errorf("the %s is %q; want https://HOST/PATH", what, text)
	}
	return nil
}

// MarshalJSON writes m as GitHub reads it. It has no hook_attributes: their url
// is required even of a hook that is not active, and an App without them has no
// webhook.
func (m Manifest) MarshalJSON() ([]byte, error) {
	if err := m.Validate(); err != nil {
		return nil, err
	}
	return json.Marshal(struct {
		Name        string            `json:"name,omitempty"`
		URL         string            `json:"url"`
		Description string            `json:"description,omitempty"`
		RedirectURL string            `json:"redirect_url,omitempty"`
		Public      bool              `json:"public"`
		Permissions map[string]string `json:"default_permissions"`
	}{m.Name, m.Homepage, m.Description, m.RedirectURL, m.Public, m.Permissions.levels})
}

// SettingsURL returns the page with the Apps of an organization, or with an
// empty org of whoever is signed in. Manifests are posted to its /new.
func SettingsURL(github, org string) (string, error) {
	if _, err := APIURL(github); err != nil {
		return "", fmt.Errorf("%q: %w", github, err)
	}
	u, err := url.Parse(github)
	if err != nil {
		return "", err
	}
	host := strings.TrimPrefix(strings.ToLower(u.Host), "www.")
	if org == "" {
		return "https://" + host + "/settings/apps", nil
	}
	if err := checkOwner(org); err != nil {
		return "", err
	}
	return "https://" + host + "/organizations/" + org + "/settings/apps", nil
}

// checkOwner leaves it to the protocol to know which accounts GitHub may have.
func checkOwner(login string) error {
	owner, _, ok := gitname.Path(login + "/x")
	if !ok || owner != gitname.Fold(login) {
		return fmt.Errorf("%q is no account of GitHub", login)
	}
	return nil
}

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
