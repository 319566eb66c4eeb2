package apps

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/gatepass/gatepass/internal/filestamp"
	"github.com/gatepass/gatepass/internal/redact"
	"github.com/gatepass/gatepass/internal/trustedfile"
	"github.com/gatepass/gatepass/internal/usererr"
	v1 "github.com/gatepass/gatepass/operator/api/v1"
	"go.yaml.in/yaml/v3"
)

// A Config is the operator's own configuration: the App for tokens that name none, and
// how all Apps log in to Vault. The zero Config names no App.
type Config struct {
	AppID          ID         `yaml:"app_id"`
	ClientID       string     `yaml:"client_id"` // alternative to AppID
	InstallationID ID         `yaml:"installation_id"`
	Provider       string     `yaml:"provider"` // file (default), aws, gcp, azure or vault
	Key            string     `yaml:"key"`      // a path for file, otherwise as in an App's spec
	ValidateKey    bool       `yaml:"validate_key"`
	Vault          VaultLogin `yaml:"vault"`
}

// A VaultLogin says how the operator logs in to Vault, for its own key and those of all
// Apps with provider: vault. Its keys are the query parameters of a Vault URL: addr,
// namespace, ca_file, auth, auth_mount, role and so on. Settings that it lacks come
// from the environment: VAULT_ADDR, VAULT_TOKEN and so on.
type VaultLogin map[string]string

// query returns the login as the query of a URL.
func (l VaultLogin) query() string {
	values := url.Values{}
	for key, value := range l {
		values.Set(key, value)
	}
	return values.Encode()
}

// An ID is a GitHub ID. It may be written as a number or as text, because some
// templates quote it.
type ID int64

// UnmarshalYAML implements yaml.Unmarshaler.
func (n *ID) UnmarshalYAML(node *yaml.Node) error {
	return n.set(node.Value)
}

func (n *ID) set(text string) error {
	i, err := strconv.ParseInt(text, 10, 64)
	if err != nil || i < 0 {
		return errors.New("want a number")
	}
	*n = ID(i)
	return nil
}

// IsZero reports whether c names no App.
func (c Config) IsZero() bool {
	return c.AppID == 0 && c.ClientID == "" && c.InstallationID == 0 && c.Key == ""
}

func (c Config) id() string {
	if c.AppID != 0 {
		return strconv.FormatInt(int64(c.AppID), 10)
	}
	return c.ClientID
}

// The environment variables outrank the file, as in github-token-manager. The first one
// that is set counts.
var variables = []struct {
	setting string
	names   []string
	set     func(c *Config, value string) error
}{
	{"app_id", []string{"GTM_APP_ID", "GITHUB_APP_ID"}, func(c *Config, v string) error { return c.AppID.set(v) }},
	{"installation_id", []string{"GTM_INSTALLATION_ID", "GITHUB_INSTALLATION_ID"}, func(c *Config, v string) error { return c.InstallationID.set(v) }},
	{"provider", []string{"GTM_PROVIDER", "KMS_PROVIDER"}, func(c *Config, v string) error { c.Provider = v; return nil }},
	{"key", []string{"GTM_KEY", "KMS_KEY", "GITHUB_PRIVATE_KEY"}, func(c *Config, v string) error { c.Key = v; return nil }},
	{"validate_key", []string{"GTM_VALIDATE_KEY"}, func(c *Config, v string) (err error) {
		c.ValidateKey, err = strconv.ParseBool(v)
		return err
	}},
}

// ParseConfig reads the text of the configuration file, which may be empty, and
// github-token-manager's environment variables. what names the file in errors. An error
// never contains a value of the file.
func ParseConfig(what string, text []byte, getenv func(string) string) (Config, error) {
	c, err := decode(text)
	if err != nil {
		return Config{}, usererr.Wrap(what, err, "")
	}
	for _, v := range variables {
		for _, name := range v.names {
			value := getenv(name)
			if value == "" {
				continue
			}
			if err := v.set(&c, value); err != nil {
				return Config{}, usererr.New("read "+name, "its value is not a valid "+v.setting, "correct it, or unset it")
			}
			break
		}
	}
	if err := c.check(); err != nil {
		return Config{}, usererr.Wrap(what, err, "")
	}
	return c, nil
}

// known are the keys of the file.
var known = []string{"app_id", "client_id", "installation_id", "provider", "key", "validate_key", "vault"}

func decode(text []byte) (Config, error) {
	var c Config
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var node yaml.Node
	if err := dec.Decode(&node); errors.Is(err, io.EOF) {
		return c, nil
	} else if err != nil {
		return c, errors.New(redact.Text(err.Error(), 200))
	}
	var keys map[string]yaml.Node
	if node.Decode(&keys) != nil {
		return c, errors.New("it must be a mapping such as app_id: 12345")
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if !slices.Contains(known, key) {
			return c, fmt.Errorf("unknown key %q; known are %s", redact.Text(key, 40), strings.Join(known, ", "))
		}
	}
	for _, key := range known {
		value, ok := keys[key]
		if !ok {
			continue
		}
		one := yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Content: []*yaml.Node{{Kind: yaml.ScalarNode, Tag: "!!str", Value: key}, &value}}
		if one.Decode(&c) != nil {
			return c, fmt.Errorf("the value of %s on line %d has the wrong type", key, value.Line)
		}
	}
	if dec.Decode(&node) == nil {
		return c, errors.New("it must have one document only")
	}
	return c, nil
}

func (c Config) check() error {
	if strings.Contains(c.Key, "-----BEGIN") {
		return errors.New("key must not be the private key itself; write the private key to a file that only the operator can read, and write key: /PATH")
	}
	if c.IsZero() {
		return c.checkVault()
	}
	switch provider := v1.Provider(c.Provider); {
	case c.AppID != 0 && c.ClientID != "":
		return errors.New("it has both app_id and client_id; keep one of them")
	case c.AppID == 0 && c.ClientID == "":
		return errors.New("it does not name an App; write app_id or client_id")
	case strings.ContainsFunc(c.ClientID, notInID) || len(c.ClientID) > 100:
		return errors.New("client_id is not a GitHub client ID; copy it from the App's settings at GitHub")
	case c.Key == "":
		return errors.New("it has no key; write key: /PATH of the private key, or the key of a KMS and its provider")
	case provider == "" || provider == ProviderFile:
		if !filepath.IsAbs(c.Key) {
			return errors.New("provider file: key must be an absolute path; write key: /PATH of the private key")
		}
	default:
		if _, err := SignerURL(provider, c.Key, c.Vault.query()); err != nil {
			return err
		}
	}
	return c.checkVault()
}

// checkVault opens a key without contacting Vault, to check that the login is complete.
func (c Config) checkVault() error {
	if len(c.Vault) == 0 {
		return nil
	}
	err := openKMS(definition{provider: v1.ProviderVault, key: "transit/sign/any", vault: c.Vault.query()}, &material{})
	if err != nil {
		return fmt.Errorf("vault: %w", err)
	}
	return nil
}

// DefaultConfigs are the default paths of the configuration. The first one that exists
// counts.
var DefaultConfigs = []string{"/config/gatepass.yaml", "/config/gtm.yaml"}

// maxConfig bounds the file, in bytes.
const maxConfig = 64 << 10

// A ConfigFile is the operator's own configuration, read again when it changes. A nil
// ConfigFile has no App.
type ConfigFile struct {
	paths  []string // candidates
	getenv func(string) string

	mu     sync.Mutex // guards the rest
	seen   state
	config Config
}

// state names the candidate file that exists, and what identifies its version.
type state struct {
	path  string // "" if no file exists
	stamp filestamp.Stamp
}

// OpenConfig reads the configuration at path, or, if path is "", the first of
// [DefaultConfigs] that exists. It is not an error if none exists.
func OpenConfig(path string, getenv func(string) string) (*ConfigFile, error) {
	c := &ConfigFile{paths: DefaultConfigs, getenv: getenv}
	if path != "" {
		c.paths = []string{path}
		if _, err := os.Stat(path); err != nil {
			return nil, usererr.Wrap("read the configuration", err, "correct --config")
		}
	}
	c.seen = c.look()
	var err error
	if c.config, err = c.parse(c.seen.path); err != nil {
		return nil, err
	}
	return c, nil
}

// Current returns the latest valid configuration.
func (c *ConfigFile) Current() Config {
	if c == nil {
		return Config{}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.config
}

// Reload reads the file again if it changed, and reports whether the configuration
// changed. A bad or missing file is reported as an error once; the latest valid
// configuration stays in use.
func (c *ConfigFile) Reload() (changed bool, err error) {
	if c == nil {
		return false, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.look()
	if now == c.seen {
		return false, nil
	}
	was := c.seen
	c.seen = now
	if now.path == "" {
		return false, usererr.New("read the configuration "+was.path, "it was deleted", "restore it; the last good configuration stays in use until a restart")
	}
	config, err := c.parse(now.path)
	if err != nil {
		return false, usererr.Wrap("keep the last good configuration", err, "")
	}
	c.config = config
	return true, nil
}

// look finds the file. Kubernetes updates a mounted Secret by changing symbolic links.
func (c *ConfigFile) look() state {
	for _, path := range c.paths {
		if stamp, err := filestamp.Of(path); !errors.Is(err, fs.ErrNotExist) {
			return state{path, stamp}
		}
	}
	return state{}
}

// parse reads one file; "" is none.
func (c *ConfigFile) parse(path string) (Config, error) {
	if path == "" {
		return ParseConfig("the variables of the environment", nil, c.getenv)
	}
	text, err := trustedfile.Read("the configuration", path, trustedfile.Writing, maxConfig)
	if err != nil {
		return Config{}, err
	}
	return ParseConfig(path, text, c.getenv)
}
