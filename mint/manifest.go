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

// A Manifest describes the App that GitHub is asked to make
// (https://docs.github.com/apps/sharing-github-apps/registering-a-github-app-from-a-manifest).
// The App has no webhook and subscribes to nothing. The zero Manifest is refused:
// homepage and permissions must be set.
type Manifest struct {
	Name        string // up to MaxAppName characters, unique at GitHub; "" lets the person choose
	Description string // "" means none
	Homepage    string // of the App; GitHub requires one
	RedirectURL string // where the browser brings the code; "" in a manifest that is only shown
	Public      bool   // accounts other than the owner may install it
	Permissions Permissions
}

// Validate returns an error that joins every reason why GitHub must not be asked for m.
func (m Manifest) Validate() error {
	errs := []error{m.Permissions.validate(), checkWebURL("homepage", m.Homepage)}
	if m.Permissions.all {
		errs = append(errs, errors.New("an App must request each permission by name"))
	}
	if m.RedirectURL != "" {
		errs = append(errs, checkWebURL("redirect URL", m.RedirectURL))
	}
	if n := utf8.RuneCountInString(m.Name); n > MaxAppName {
		errs = append(errs, fmt.Errorf("the name has %d characters; GitHub accepts up to %d", n, MaxAppName))
	}
	if m.Name != "" && strings.TrimSpace(m.Name) == "" || strings.ContainsFunc(m.Name, unicode.IsControl) || !utf8.ValidString(m.Name) {
		errs = append(errs, fmt.Errorf("%q is not a name", m.Name))
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

// MarshalJSON writes m as GitHub reads it. It has no hook_attributes: their url is
// required even for an inactive hook, and an App without them has no webhook.
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

// SettingsURL returns the page with the Apps of an organization or, with an empty org,
// of the signed-in user. Manifests are posted to its /new.
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

// checkOwner returns an error for a login that GitHub does not allow.
func checkOwner(login string) error {
	owner, _, ok := gitname.Path(login + "/x")
	if !ok || owner != gitname.Fold(login) {
		return fmt.Errorf("%q is not a name of a GitHub account", login)
	}
	return nil
}

// A NewApp is an App just made from its manifest, with the only copy of its private
// key. The client secret and the webhook secret are not read: gatepass does not need
// them.
type NewApp struct {
	Registration
	PrivateKey PEM `json:"pem"`
}

// Issuer returns the issuer of the App's JWTs: the client ID, or the App ID if an
// Enterprise Server has none.
func (m NewApp) Issuer() string {
	if m.ClientID != "" {
		return m.ClientID
	}
	return strconv.FormatInt(m.ID, 10)
}

// ConvertManifest exchanges the code that GitHub gave to the browser for the App that
// was made from a manifest. It needs neither ID nor Signer of a.
//
// A code works once, within an hour. The error is an [*Error]: of kind [CodeSpent] if
// the code is no longer valid; of kind [Unavailable] or [RateLimited] if another
// attempt may help, which is up to the caller. In the latter case the answer may be
// lost, and the next error CodeSpent.
func (a *App) ConvertManifest(ctx context.Context, code string) (NewApp, error) {
	const doing = "fetch the key of the new App"
	if err := CheckCode(code); err != nil {
		return NewApp{}, &Error{Op: doing, Err: err}
	}
	got, err := a.rest().attempt(ctx, call{
		doing: doing, method: http.MethodPost, want: http.StatusCreated, open: true,
		url: "/app-manifests/" + code + "/conversions",
	})
	if failure, ok := errors.AsType[*Error](err); ok && failure.Status != 0 && !isTransient(failure.Kind) {
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

// CheckCode returns an error unless text can be a code of the manifest flow, which at
// GitHub is 40 hexadecimal digits. The code becomes part of a URL.
func CheckCode(text string) error {
	if text == "" || len(text) > 128 || strings.ContainsFunc(text, func(r rune) bool {
		return !('0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || r == '-' || r == '_')
	}) {
		return errors.New("this is not a code of GitHub")
	}
	return nil
}

// parseNewApp parses the answer. It does not check that the key can sign: it is the
// only copy, and worth keeping as it is.
func parseNewApp(doing string, body []byte) (NewApp, error) {
	var m NewApp
	if err := decode(doing, body, &m); err != nil {
		return NewApp{}, err
	}
	if m.ID <= 0 || m.PrivateKey.Reveal() == "" {
		return NewApp{}, &Error{Kind: Unavailable, Op: doing, Err: errors.New("the answer has no App or no key")}
	}
	return m, nil
}

// A PEM is a private key as text. It does not print itself: fmt, slog and JSON show a
// placeholder. Only Reveal returns the text.
type PEM struct{ secret.Text }

// UnmarshalText stores the text.
func (p *PEM) UnmarshalText(text []byte) error {
	p.Text = secret.New(string(text))
	return nil
}
