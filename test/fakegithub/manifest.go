package fakegithub

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// maxAppName is the longest name of an App, in characters
// (https://docs.github.com/apps/creating-github-apps/registering-a-github-app/registering-a-github-app).
const maxAppName = 34

// An appManifest describes an App to be registered. The names are those of
// https://docs.github.com/apps/sharing-github-apps/registering-a-github-app-from-a-manifest#github-app-manifest-parameters.
type appManifest struct {
	Name           string          `json:"name"`
	URL            string          `json:"url"`
	Hook           *hookAttributes `json:"hook_attributes"`
	RedirectURL    string          `json:"redirect_url"`
	CallbackURLs   []string        `json:"callback_urls"`
	SetupURL       string          `json:"setup_url"`
	Description    string          `json:"description"`
	Public         *bool           `json:"public"`
	Events         []string        `json:"default_events"`
	Permissions    Permissions     `json:"default_permissions"`
	OAuthOnInstall bool            `json:"request_oauth_on_install"`
	SetupOnUpdate  bool            `json:"setup_on_update"`
}

type hookAttributes struct {
	URL    string `json:"url"`
	Active *bool  `json:"active"`
}

// parseManifest parses a manifest. A problem is in the words of GitHub's page, or
// begins with "fakegithub:" if GitHub would accept the manifest.
func parseManifest(text string) (m appManifest, problem string) {
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		return m, "fakegithub: the manifest is not a JSON object of known parameters: " + err.Error()
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return m, "fakegithub: something follows the manifest"
	}
	return m, m.problem()
}

func (m appManifest) problem() string {
	switch {
	case m.URL == "":
		return `Error "url" wasn't supplied.`
	case m.Hook != nil && m.Hook.URL == "": // GitHub's message names the key without its parent
		return `Error "url" wasn't supplied.`
	case !isWebURL(m.URL) || m.Hook != nil && !isWebURL(m.Hook.URL):
		return "Error URL must be a valid URL"
	case m.RedirectURL == "":
		return "fakegithub: redirect_url is missing, so that no program gets the code"
	case !isWebURL(m.RedirectURL) || strings.Contains(m.RedirectURL, "#"):
		return "Error redirect URL must be a valid URL"
	case m.Public == nil:
		return "fakegithub: public is neither true nor false"
	case len(m.Permissions) == 0:
		return "fakegithub: the App asks for no permissions, and could do nothing"
	case len(m.Events) > 0 && m.Hook == nil:
		return "Error default events are not supported without a webhook"
	}
	return m.Permissions.unknown()
}

func isWebURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != ""
}

// checkAppName returns GitHub's message about an App's name, or "".
func checkAppName(name string) string {
	switch {
	case strings.TrimSpace(name) == "":
		return "Name can't be blank"
	case utf8.RuneCountInString(name) > maxAppName:
		return fmt.Sprintf("Name is too long (maximum is %d characters)", maxAppName)
	case appSlug(name) == "":
		return "Name must contain at least one alphanumeric character"
	}
	return ""
}

// appSlug returns a name in lower case, with hyphens for spaces and special characters.
func appSlug(name string) string {
	words := strings.FieldsFunc(strings.ToLower(name), func(r rune) bool {
		return !('a' <= r && r <= 'z' || '0' <= r && r <= '9')
	})
	return strings.Join(words, "-")
}

// unknown returns GitHub's message about a permission or a level that does not exist;
// "" if all exist.
func (p Permissions) unknown() string {
	for _, name := range slices.Sorted(maps.Keys(p)) {
		if !slices.Contains(strings.Fields(permissionLevels[name]), p[name]) {
			return fmt.Sprintf("Error default permission records resource is not included in the list (%s: %s)", name, p[name])
		}
	}
	return ""
}

// permissionLevels are the levels of every permission of a GitHub App, from
// the description's app-permissions.
var permissionLevels = map[string]string{
	"actions": "read write", "administration": "read write", "artifact_metadata": "read write", "attestations": "read write",
	"checks": "read write", "code_quality": "read write", "codespaces": "read write", "contents": "read write",
	"dependabot_secrets": "read write", "deployments": "read write", "discussions": "read write", "environments": "read write",
	"issues": "read write", "merge_queues": "read write", "metadata": "read write", "packages": "read write", "pages": "read write",
	"pull_requests": "read write", "repository_custom_properties": "read write", "repository_hooks": "read write",
	"repository_projects": "read write admin", "secret_scanning_alerts": "read write", "secrets": "read write",
	"security_events": "read write", "single_file": "read write", "statuses": "read write", "vulnerability_alerts": "read write",
	"workflows": "write", "custom_properties_for_organizations": "read write", "members": "read write",
	"organization_administration": "read write", "organization_custom_roles": "read write", "organization_custom_org_roles": "read write",
	"organization_custom_properties": "read write admin", "organization_copilot_seat_management": "read write",
	"organization_copilot_agent_settings": "read write", "organization_announcement_banners": "read write",
	"organization_events": "read", "organization_hooks": "read write", "organization_personal_access_tokens": "read write",
	"organization_personal_access_token_requests": "read write", "organization_plan": "read", "organization_projects": "read write admin",
	"organization_packages": "read write", "organization_secrets": "read write", "organization_self_hosted_runners": "read write",
	"organization_user_blocking": "read write", "email_addresses": "read write", "followers": "read write", "git_ssh_keys": "read write",
	"gpg_keys": "read write", "interaction_limits": "read write", "profile": "write", "starring": "read write",
	"enterprise_custom_properties_for_organizations": "read write admin",
}

// codeLife is how long the code of a manifest is valid.
const codeLife = time.Hour

// convertManifest exchanges a code for the App's secrets, once.
func convertManifest(c call) answer {
	if no := c.decode(&struct{}{}); no != nil {
		return no.answer()
	}
	if c.token != nil {
		return loudly("a code is converted without any other credential").answer()
	}
	code := c.r.PathValue("code")
	found := c.s.state.conversions[code]
	if found == nil || c.s.Now().Sub(found.created) > codeLife {
		return notFound.answer()
	}
	delete(c.s.state.conversions, code)
	body := maps.Clone(c.showApp(found.app))
	delete(body, "installations_count") // GitHub shows it only to the App
	body["pem"] = string(found.pem)
	body["client_secret"] = randomBase62(40)
	body["webhook_secret"] = nil // there is no webhook
	return answer{status: http.StatusCreated, body: body}
}
