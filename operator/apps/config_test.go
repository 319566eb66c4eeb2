package apps

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/mint"
)

func variablesOf(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

// The files and variables in github-token-manager's documentation.
func TestConfigurationsOfTheSecondSystem(t *testing.T) {
	for _, c := range []struct {
		name, text string
		env        []string
		want       Config
	}{
		{
			"AWS", "app_id: 1234\ninstallation_id: 4567890\nprovider: aws\nkey: alias/github-token-manager\nvalidate_key: true  # optional\n", nil,
			Config{AppID: 1234, InstallationID: 4567890, Provider: "aws", Key: "alias/github-token-manager", ValidateKey: true},
		},
		{
			"Azure", "app_id: 1234\ninstallation_id: 4567890\nprovider: azure\nkey: https://team.vault.azure.net/keys/app\n", nil,
			Config{AppID: 1234, InstallationID: 4567890, Provider: "azure", Key: "https://team.vault.azure.net/keys/app"},
		},
		{
			"a file", "app_id: 1234\ninstallation_id: 4567890\nprovider: file\nkey: /config/private.key\n", nil,
			Config{AppID: 1234, InstallationID: 4567890, Provider: "file", Key: "/config/private.key"},
		},
		{
			"numbers as text", "app_id: \"1234\"\ninstallation_id: '4567890'\nkey: /config/private.key\n", nil,
			Config{AppID: 1234, InstallationID: 4567890, Key: "/config/private.key"},
		},
		{"a client ID", "client_id: Iv23liAbC\nkey: /config/private.key\n", nil, Config{ClientID: "Iv23liAbC", Key: "/config/private.key"}},
		{
			"variables alone", "",
			[]string{"GITHUB_APP_ID", "1234", "GITHUB_INSTALLATION_ID", "5", "KMS_PROVIDER", "vault", "KMS_KEY", "transit/sign/app"},
			Config{AppID: 1234, InstallationID: 5, Provider: "vault", Key: "transit/sign/app"},
		},
		{
			"a variable outranks the file", "app_id: 1\nkey: /a\n",
			[]string{"GTM_APP_ID", "2", "GITHUB_APP_ID", "3", "GTM_VALIDATE_KEY", "true"},
			Config{AppID: 2, Key: "/a", ValidateKey: true},
		},
		{"the path of a key in a variable", "app_id: 1\n", []string{"GITHUB_PRIVATE_KEY", "/config/private.key"}, Config{AppID: 1, Key: "/config/private.key"}},
		{"nothing", "", nil, Config{}},
		{"nothing but a comment", "# none\n", nil, Config{}},
	} {
		got, err := ParseConfig("c.yaml", []byte(c.text), variablesOf(c.env...))
		if err != nil || fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: ParseConfig = %+v, %v, want %+v", c.name, got, err, c.want)
		}
	}
	got, err := ParseConfig("c.yaml", []byte("vault:\n  auth: kubernetes\n  role: gatepass\n"), variablesOf())
	if err != nil || !got.IsZero() || got.Vault.query() != "auth=kubernetes&role=gatepass" {
		t.Errorf("ParseConfig of a login alone = %+v, %v", got, err)
	}
}

func TestConfigurationsThatAreRefused(t *testing.T) {
	pem := strings.ReplaceAll(string(pemText(keys[0])), "\n", "\n  ")
	for _, c := range []struct {
		name, text string
		env        []string
		want       string
	}{
		{"an unknown key", "app_id: 1\nkey: /a\nprivate_key: x\n", nil, `unknown key "private_key"; known are app_id,`},
		{"no mapping", "- app_id\n", nil, "it must be a mapping such as app_id: 12345"},
		{"a list", "app_id: [1]\nkey: /a\n", nil, "the value of app_id on line 1 has the wrong type"},
		{"a negative id", "app_id: -1\nkey: /a\n", nil, "the value of app_id on line 1 has the wrong type"},
		{"broken YAML", "app_id: 1\n key: /a\n", nil, "c.yaml: yaml: "},
		{"a key twice", "app_id: 1\napp_id: 2\nkey: /a\n", nil, "c.yaml: "},
		{"two documents", "app_id: 1\nkey: /a\n---\napp_id: 2\n", nil, "it must have one document only"},
		{"both ids", "app_id: 1\nclient_id: Iv1\nkey: /a\n", nil, "both app_id and client_id"},
		{"no id", "key: /a\n", nil, "it does not name an App"},
		{"no key", "app_id: 1\n", nil, "it has no key"},
		{"a relative path", "app_id: 1\nkey: private.key\n", nil, "provider file: key must be an absolute path; write key: /PATH of the private key"},
		{"a URL as a path", "app_id: 1\nkey: file:///private.key\n", nil, "provider file: key must be an absolute path; write key: /PATH of the private key"},
		{"an unknown provider", "app_id: 1\nprovider: awskms\nkey: alias/app\n", nil, "provider awskms: unknown provider"},
		{"the provider of objects", "app_id: 1\nprovider: secret\nkey: /a\n", nil, "provider secret: unknown provider"},
		{"a key of another provider", "app_id: 1\nprovider: aws\nkey: https://team.vault.azure.net/keys/app\n", nil, "this is not a key of provider aws; write alias/NAME"},
		{"a private key in the file", "app_id: 1\nkey: |\n  " + pem, nil, "key must not be the private key itself; write the private key to a file that only the operator can read, and write key: /PATH"},
		{"a private key in a variable", "app_id: 1\n", []string{"GITHUB_PRIVATE_KEY", string(pemText(keys[0]))}, "key must not be the private key itself; write the private key to a file that only the operator can read, and write key: /PATH"},
		{"a private key in the wrong place", "app_id: |\n  " + pem + "\nkey: /a\n", nil, "the value of app_id on line 1 has the wrong type"},
		{"a private key as a key", "? |\n  " + pem + "\n: 1\n", nil, "unknown key"},
		{"a variable of the wrong kind", "key: /a\n", []string{"GITHUB_APP_ID", "Iv1.abc"}, "read GITHUB_APP_ID: its value is not a valid app_id"},
		{"not a login", "vault:\n  auth: magic\n", nil, "unknown login method magic"},
		{"a login without a role", "vault:\n  auth: kubernetes\n", nil, "auth=kubernetes needs role"},
		{"a setting of something else", "vault:\n  field: token\n", nil, "unknown key field"},
	} {
		got, err := ParseConfig("c.yaml", []byte(c.text), variablesOf(c.env...))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: ParseConfig = %+v, %v, want %q", c.name, got, err, c.want)
			continue
		}
		if strings.Contains(err.Error(), "MII") || strings.ContainsAny(err.Error(), "\r\n") {
			t.Errorf("%s: the error shows a key or has more than a line: %q", c.name, err)
		}
	}
}

func FuzzParseConfig(f *testing.F) {
	for _, text := range []string{"app_id: 1\nkey: /a\n", "vault: {auth: kubernetes, role: x}\n", "a: &a [*a]\n", "app_id: !!binary x\n", "key: |\n  -----BEGIN\n", "<<: {app_id: 1}\nkey: /a"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseConfig("c.yaml", []byte(text), variablesOf())
		if err != nil {
			if strings.ContainsAny(err.Error(), "\r\n") {
				t.Errorf("ParseConfig(%q) = %q", text, err)
			}
			return
		}
		if !c.IsZero() && (c.id() == "" || c.Key == "") {
			t.Errorf("ParseConfig(%q) = %+v", text, c)
		}
	})
}

// A Secret that is mounted changes by swapping one link.
func TestReloadOfAMountedSecret(t *testing.T) {
	dir := t.TempDir()
	mount := func(version, text string) {
		t.Helper()
		if err := os.Mkdir(filepath.Join(dir, version), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, version, "gatepass.yaml"), text)
		if err := os.Symlink(version, filepath.Join(dir, "..tmp")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	mount("..1", "app_id: 1\nkey: /a\n")
	if err := os.Symlink("..data/gatepass.yaml", filepath.Join(dir, "gatepass.yaml")); err != nil {
		t.Fatal(err)
	}
	c, err := OpenConfig(filepath.Join(dir, "gatepass.yaml"), variablesOf())
	if err != nil || c.Current().AppID != 1 {
		t.Fatalf("OpenConfig = %+v, %v", c, err)
	}
	check := func(name string, wantChanged, wantErr bool, want ID) {
		t.Helper()
		changed, err := c.Reload()
		if changed != wantChanged || (err != nil) != wantErr || c.Current().AppID != want {
			t.Errorf("%s: Reload = %v, %v with app_id %d; want %v, an error: %v, and %d", name, changed, err, c.Current().AppID, wantChanged, wantErr, want)
		}
	}
	check("nothing new", false, false, 1)
	mount("..2", "app_id: 2\nkey: /a\n")
	check("another one", true, false, 2)
	mount("..3", "app_id: 3\nkye: /a\n")
	check("a bad one", false, true, 2)
	check("it is said once", false, false, 2)
	mount("..4", "app_id: 4\nkey: /a\n")
	check("a good one again", true, false, 4)
	if err := os.Remove(filepath.Join(dir, "..data")); err != nil {
		t.Fatal(err)
	}
	check("it is gone", false, true, 4)
	check("that is said once", false, false, 4)
}

func TestWhereTheConfigurationIs(t *testing.T) {
	if _, err := OpenConfig(filepath.Join(t.TempDir(), "none.yaml"), variablesOf()); err == nil || !strings.Contains(err.Error(), "--config") {
		t.Errorf("OpenConfig of a file that is not there = %v, want --config named", err)
	}
	c, err := OpenConfig("", variablesOf("GITHUB_APP_ID", "7", "KMS_KEY", "/a"))
	if err != nil || c.Current().AppID != 7 {
		t.Errorf("OpenConfig without a file = %+v, %v, want the variables", c, err)
	}
	var none *ConfigFile
	if changed, err := none.Reload(); changed || err != nil || !none.Current().IsZero() {
		t.Errorf("no ConfigFile: Reload = %v, %v", changed, err)
	}
}

// Others who can write to the file would choose whose key signs.
func TestAConfigurationOthersCanChange(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gatepass.yaml")
	write(t, path, "app_id: 1\nkey: /a\n")
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenConfig(path, variablesOf()); err == nil || !strings.Contains(err.Error(), "other users can write to it") {
		t.Errorf("OpenConfig of a file that all can write = %v", err)
	}
}

// A path is never taken for a key, nor a key for a path: with a Secret whose "PEM" was
// a path, github-token-manager read its own key.
func TestTheKeysFile(t *testing.T) {
	w := newWorld(t)
	w.own(t)
	for name, c := range map[string]struct {
		text, want string
		mode       os.FileMode
	}{
		"a path in it":        {w.config, "it has no PEM block", 0o600},
		"a certificate":       {"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", `its PEM block is "CERTIFICATE"`, 0o600},
		"others can read it":  {string(pemText(keys[0])), "other users can read it", 0o644},
		"others can write it": {string(pemText(keys[0])), "other users can write to it", 0o622},
	} {
		path := filepath.Join(t.TempDir(), "key")
		write(t, path, c.text)
		if err := os.Chmod(path, c.mode); err != nil {
			t.Fatal(err)
		}
		var m material
		if err := readFile(definition{key: path}, &m); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: readFile = %v, want %q", name, err, c.want)
		}
	}
}

// The configuration is changed: the operator's App is another one at once.
func TestAnotherConfiguration(t *testing.T) {
	w := newWorld(t)
	w.own(t)
	app, err := w.registry.Get(t.Context(), Ref{})
	if err != nil || app.ID == w.app.ClientID {
		t.Fatalf("Get = %v, %v", app, err)
	}
	write(t, w.config, "client_id: "+w.app.ClientID+"\nkey: "+w.key+"\n")
	if changed, err := w.registry.Own.Reload(); !changed || err != nil {
		t.Fatalf("Reload = %v, %v", changed, err)
	}
	next, err := w.registry.Get(t.Context(), Ref{})
	if err != nil || next.ID != w.app.ClientID {
		t.Fatalf("Get = %v, %v, want the client ID", next, err)
	}
	if _, err := next.Mint(t.Context(), w.grant()); err != nil {
		t.Errorf("Mint = %v", err)
	}
	if mint.DefaultGitHub == next.GitHub {
		t.Errorf("GitHub = %s, want the operator's", next.GitHub)
	}
}

// The page is what people copy from.
func TestThePageHasEverySetting(t *testing.T) {
	text, err := os.ReadFile("../../docs/operator-apps.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	names := slices.Clone(known)
	for _, v := range variables {
		names = append(names, v.names...)
	}
	for _, name := range names {
		if !strings.Contains(page, name) {
			t.Errorf("docs/operator-apps.md does not name %s", name)
		}
	}
}
