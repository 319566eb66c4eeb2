package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/internal/yamlfile"
)

// An Audit says where the audit log is: a path, or a mapping with these keys.
type Audit struct {
	File        string `yaml:"file"`
	MaxSize     Size   `yaml:"max_size"`    // size from which a new file begins; 0 leaves rotation to others
	CloudEvents string `yaml:"cloudevents"` // URL that gets each line as a CloudEvent
	OTLP        string `yaml:"otlp"`        // URL that gets each line as an OTLP log record, http(s)://…/v1/logs
}

// UnmarshalYAML reads a path or a mapping.
func (a *Audit) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.ScalarNode {
		a.File = node.Value
		return nil
	}
	if err := onlyKeys(node, "file", "max_size", "cloudevents", "otlp"); err != nil {
		return err
	}
	type plain Audit
	return node.Decode((*plain)(a))
}

// onlyKeys refuses unknown keys of a mapping that is decoded by hand, where KnownFields
// has no effect.
func onlyKeys(node *yaml.Node, known ...string) error {
	if node.Kind != yaml.MappingNode {
		return yamlfile.At(node, "want a string or a mapping")
	}
	for i := 0; i < len(node.Content); i += 2 {
		if key := node.Content[i]; !slices.Contains(known, key.Value) {
			return yamlfile.UnknownKey(key, known)
		}
	}
	return nil
}

func (a Audit) check() error {
	if a.File == "" {
		return errors.New("audit is missing: write the path of the audit log")
	}
	if !filepath.IsAbs(a.File) {
		return fmt.Errorf("audit: %s is not absolute", a.File)
	}
	for _, to := range []string{a.CloudEvents, a.OTLP} {
		if u, err := url.Parse(to); to != "" && (err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil) {
			return errors.New("audit: a copy must go to https://HOST/PATH")
		}
	}
	return nil
}

// A Size is a number of bytes: 4096, 64KiB, 100MB.
type Size int64

var sizeUnits = []struct {
	suffix string
	bytes  int64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"", 1}}

// UnmarshalYAML reads a number with or without a unit.
func (s *Size) UnmarshalYAML(node *yaml.Node) error {
	for _, unit := range sizeUnits {
		number, ok := strings.CutSuffix(node.Value, unit.suffix)
		if !ok || node.Kind != yaml.ScalarNode {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
		if err != nil || n < 0 || n > (1<<50)/unit.bytes {
			break
		}
		*s = Size(n * unit.bytes)
		return nil
	}
	return yamlfile.At(node, "want a size such as 4096, 64KiB or 100MB")
}

// A Mode is a file's permission bits, in octal: 0660.
type Mode os.FileMode

// UnmarshalYAML reads octal digits, with or without quotes.
func (m *Mode) UnmarshalYAML(node *yaml.Node) error {
	n, err := strconv.ParseUint(strings.TrimPrefix(node.Value, "0o"), 8, 16)
	if err != nil || n > 0o777 || node.Kind != yaml.ScalarNode {
		return yamlfile.At(node, "want a mode such as 0660")
	}
	*m = Mode(n)
	return nil
}

// A Log configures the broker's own log, on standard error.
type Log struct {
	Format string `yaml:"format"` // text or json; "" means text
	Level  string `yaml:"level"`  // debug, info, warn or error; "" means info
}

func (l Log) check() error {
	if !slices.Contains([]string{"", "text", "json"}, l.Format) {
		return errors.New("log: format must be text or json")
	}
	if !slices.Contains([]string{"", "debug", "info", "warn", "error"}, l.Level) {
		return errors.New("log: level must be debug, info, warn or error")
	}
	return nil
}

// Limits bound what callers can use. A field that is 0 means its default.
type Limits struct {
	Requests          int     `yaml:"requests"`           // concurrent, of all callers; default 512
	WorkspaceRequests int     `yaml:"workspace_requests"` // concurrent, of one workspace; default 64
	WorkspaceRate     float64 `yaml:"workspace_rate"`     // requests per second of one workspace, on average; default 20
	WorkspaceBurst    int     `yaml:"workspace_burst"`    // requests in a burst; default 200

	UnauthRate  float64 `yaml:"stranger_rate"`  // requests per second without an identity, of one address, on average; default 5
	UnauthBurst int     `yaml:"stranger_burst"` // requests in a burst; default 50

	Connections int           `yaml:"connections"`         // of one listener; default 4096
	HeaderSize  Size          `yaml:"header_size"`         // of a request's headers; default 32KiB
	ReadHeader  time.Duration `yaml:"read_header_timeout"` // 10s
	Read        time.Duration `yaml:"read_timeout"`        // for a whole request; default 30s
	Write       time.Duration `yaml:"write_timeout"`       // for an answer, from the end of the request's headers; default 60s
	Idle        time.Duration `yaml:"idle_timeout"`        // of a connection between requests; default 2m
	Drain       time.Duration `yaml:"drain_timeout"`       // for running requests at shutdown; default 20s, and 5m with a gateway
}

func setDefault[T int | float64 | Size | time.Duration](v *T, to T) {
	if *v == 0 {
		*v = to
	}
}

// The defaults of Limits.Drain. A push may take minutes.
const (
	drainRequests  = 20 * time.Second
	drainTransfers = 5 * time.Minute
)

// withDefaults fills in missing values.
func (l Limits) withDefaults(drain time.Duration) Limits {
	setDefault(&l.Requests, 512)
	workspace, stranger := broker.DefaultLimits(), broker.DefaultUnauthLimits()
	setDefault(&l.WorkspaceRequests, workspace.Requests)
	setDefault(&l.WorkspaceRate, workspace.Rate)
	setDefault(&l.WorkspaceBurst, workspace.Burst)
	setDefault(&l.UnauthRate, stranger.Rate)
	setDefault(&l.UnauthBurst, stranger.Burst)
	setDefault(&l.Connections, 4096)
	setDefault(&l.HeaderSize, 32<<10)
	setDefault(&l.ReadHeader, 10*time.Second)
	setDefault(&l.Read, 30*time.Second)
	setDefault(&l.Write, time.Minute)
	setDefault(&l.Idle, 2*time.Minute)
	setDefault(&l.Drain, drain)
	return l
}

func (l Limits) check() error {
	if min(l.Requests, l.WorkspaceRequests, l.WorkspaceBurst, l.UnauthBurst, l.Connections) < 0 || min(l.WorkspaceRate, l.UnauthRate) < 0 || l.HeaderSize < 0 || min(l.ReadHeader, l.Read, l.Write, l.Idle, l.Drain) < 0 {
		return errors.New("limits: they must not be below 0")
	}
	return nil
}

// CheckListen returns an error unless address is valid in listen: https://HOST:PORT,
// unix:///PATH, or http://HOST:PORT of a loopback address.
func CheckListen(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "":
		return fmt.Errorf("listen: %q is not an address; write https://HOST:PORT or unix:///PATH", address)
	case u.Scheme == "unix":
		return checkSocket(u)
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		return fmt.Errorf("listen: %s would send tokens in the clear; write https:// or unix://, or http:// with a loopback address", address)
	case u.Scheme != "https" && u.Scheme != "http" || u.Port() == "" || strings.Trim(u.Path, "/") != "":
		return fmt.Errorf("listen: %q is not an address; write https://HOST:PORT or unix:///PATH", address)
	}
	return nil
}

// isLoopback reports whether host is an address that other machines cannot reach. A
// name is not: what it resolves to can change.
func isLoopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return err == nil && address.IsLoopback()
}

func checkSocket(u *url.URL) error {
	if u.Host != "" || u.Path == "/" || !filepath.IsAbs(u.Path) || filepath.Clean(u.Path) != u.Path || len(u.Path) > 107 {
		return fmt.Errorf("listen: %q is not a socket; write unix:///PATH of up to 107 bytes", u.String())
	}
	return nil
}

// checkRunning returns an error if a setting of the program is wrong, such as listen,
// audit or limits.
func (f *File) checkRunning() error {
	bad := []error{
		yamlfile.Key("audit", f.Audit.check()), yamlfile.Key("log", f.Log.check()), yamlfile.Key("limits", f.Limits.check()),
		yamlfile.Key("gateway", f.Gateway.check()), yamlfile.Key("metrics", f.checkMetrics()), yamlfile.Key("pprof", f.checkPprof()),
	}
	needsTLS := false
	for _, address := range f.Listen {
		bad = append(bad, CheckListen(address))
		needsTLS = needsTLS || strings.HasPrefix(address, "https:")
	}
	if needsTLS && (f.TLS.CertFile == "" || f.TLS.KeyFile == "") {
		bad = append(bad, errors.New("tls: https needs cert_file and key_file"))
	}
	return usererr.Join(bad...)
}

func (f *File) checkMetrics() error {
	if f.Metrics == "" {
		return nil
	}
	if u, err := url.Parse(f.Metrics); err == nil && u.Scheme == "unix" {
		return checkSocket(u)
	}
	if host, _, err := net.SplitHostPort(f.Metrics); err != nil || strings.Contains(host, "/") {
		return errors.New("metrics: want HOST:PORT or unix:///PATH")
	}
	return nil
}

func (f *File) checkPprof() error {
	if f.Pprof == "" {
		return nil
	}
	u, err := url.Parse(f.Pprof)
	if err != nil || u.Scheme != "unix" {
		return errors.New("pprof: it must be a socket, unix:///PATH")
	}
	return checkSocket(u)
}
