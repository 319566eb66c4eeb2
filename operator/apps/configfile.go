package apps

import (
	"errors"
	"io/fs"
	"os"
	"sync"

	"github.com/gatepass/gatepass/internal/filestamp"
	"github.com/gatepass/gatepass/internal/trustedfile"
	"github.com/gatepass/gatepass/internal/usererr"
)

// DefaultConfigs are where the configuration is where no option says so. The first one
// that is there counts.
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

// state is which candidate is there, and what it looked like.
type state struct {
	path  string // "" where there is no file
	stamp filestamp.Stamp
}

// OpenConfig reads the configuration at path. With "" it reads the first of
// [DefaultConfigs] that exists; without one there is no error.
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

// Current returns the latest good configuration.
func (c *ConfigFile) Current() Config {
	if c == nil {
		return Config{}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.config
}

// Reload reads the file again if it changed, and reports whether there is another
// configuration now. A bad file is an error once, and leaves the latest good one in
// use; so does a file that is gone.
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
		return false, usererr.New("read the configuration "+was.path, "it is gone", "put it back; the latest good configuration stays in use until a restart")
	}
	config, err := c.parse(now.path)
	if err != nil {
		return false, usererr.Wrap("keep the latest good configuration", err, "")
	}
	c.config = config
	return true, nil
}

// look finds the file. A Secret that is mounted changes by its links.
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
