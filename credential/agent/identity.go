package agent

import (
	"cmp"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// The groups of variables that a source and its transport may read. A source reads a
// string of them, in this order.
const (
	ReadsIdentity = "i" // GATEPASS_IDENTITY
	ReadsHome     = "h" // the home of ~/.aws and ~/.vault-token
	ReadsKeyring  = "d" // the session bus
	ReadsNetwork  = "n" // proxies and CA files
	ReadsVault    = "v"
	ReadsAWS      = "a"

	readsAll = ReadsIdentity + ReadsHome + ReadsKeyring + ReadsNetwork + ReadsVault + ReadsAWS
)

// variables are the names of each group, in the order of readsAll. A test compares them
// with what the agent's dependencies read.
var variables = [len(readsAll)][]string{
	{"GATEPASS_IDENTITY"},
	{"HOME"},
	{"DBUS_SESSION_BUS_ADDRESS"},
	{"HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "no_proxy", "REQUEST_METHOD", "SSL_CERT_FILE", "SSL_CERT_DIR", "GODEBUG"},
	{
		"VAULT_ADDR", "VAULT_TOKEN", "VAULT_NAMESPACE", "VAULT_CACERT", "VAULT_CAPATH", "VAULT_CLIENT_CERT", "VAULT_CLIENT_KEY", "VAULT_TLS_SERVER_NAME",
	},
	{
		"AWS_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "AWS_ACCOUNT_ID", "AWS_ACCOUNT_ID_ENDPOINT_MODE", "AWS_AUTH_SCHEME_PREFERENCE", "AWS_CA_BUNDLE", "AWS_CONFIG_FILE",
		"AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
		"AWS_DEFAULTS_MODE", "AWS_DEFAULT_PROFILE", "AWS_DEFAULT_REGION", "AWS_DISABLE_CLOCK_SKEW_CORRECTION", "AWS_DISABLE_REQUEST_COMPRESSION",
		"AWS_EC2_METADATA_DISABLED", "AWS_EC2_METADATA_SERVICE_ENDPOINT", "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "AWS_EC2_METADATA_V1_DISABLED",
		"AWS_ENABLE_DEFAULT_SOCKET_TIMEOUT_2026", "AWS_ENABLE_ENDPOINT_DISCOVERY", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SIGNIN", "AWS_ENDPOINT_URL_SSM", "AWS_ENDPOINT_URL_SSO", "AWS_ENDPOINT_URL_SSO_OIDC", "AWS_ENDPOINT_URL_STS",
		"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "AWS_LOGIN_CACHE_DIRECTORY", "AWS_MAX_ATTEMPTS", "AWS_PROFILE", "AWS_REGION",
		"AWS_REQUEST_CHECKSUM_CALCULATION", "AWS_REQUEST_MIN_COMPRESSION_SIZE_BYTES", "AWS_RESPONSE_CHECKSUM_VALIDATION", "AWS_RETRY_MODE",
		"AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME", "AWS_SDK_UA_APP_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY", "AWS_SESSION_TOKEN", "AWS_SHARED_CREDENTIALS_FILE",
		"AWS_USE_DUALSTACK_ENDPOINT", "AWS_USE_FIPS_ENDPOINT", "AWS_WEB_IDENTITY_TOKEN_FILE",
	},
}

// Variables lists the variables of the groups in reads.
func Variables(reads string) []string {
	var names []string
	for i := range readsAll {
		if strings.Contains(reads, readsAll[i:i+1]) {
			names = append(names, variables[i]...)
		}
	}
	return names
}

const keySize = 32

// identify returns a digest of the workspace file's name and the values that its source
// reads, in hexadecimal. It is safe to show: its key is random bytes that only this
// user can read, so no one else can test a guessed value against it.
func identify(directory, config, reads string, getenv func(string) string) (string, error) {
	key, err := readKey(directory + "/key")
	if err != nil {
		return "", err
	}
	b := appendText(appendText(append(make([]byte, 0, 2048), key...), config), reads)
	for i := range readsAll {
		if strings.IndexByte(reads, readsAll[i]) < 0 {
			continue
		}
		for _, name := range variables[i] {
			if value := getenv(name); value != "" {
				b = appendText(appendText(b, name), value)
			}
		}
	}
	sum := sum256(b)
	return hexadecimal(sum[:]), nil
}

func hexadecimal(bytes []byte) string {
	const digits = "0123456789abcdef"
	text := make([]byte, 0, 2*len(bytes))
	for _, c := range bytes {
		text = append(text, digits[c>>4], digits[c&15])
	}
	return string(text)
}

// appendText writes the length first, so that two different lists of texts never look
// the same.
func appendText(b []byte, s string) []byte {
	b = strconv.AppendInt(b, int64(len(s)), 10)
	return append(append(b, ' '), s...)
}

// readKey reads the key, and makes one if it is missing or incomplete.
func readKey(path string) ([]byte, error) {
	if key, ok := readKeyFile(path); ok {
		return key, nil
	}
	fresh, err := makeKey(path)
	if err != nil {
		return nil, err
	}
	defer syscall.Unlink(fresh)
	if err := syscall.Link(fresh, path); err != nil { // if several processes make one at the same time, the first key stays
		if key, ok := readKeyFile(path); ok {
			return key, nil
		}
		if err := syscall.Rename(fresh, path); err != nil {
			return nil, &os.PathError{Op: "rename", Path: path, Err: err}
		}
	}
	if key, ok := readKeyFile(path); ok {
		return key, nil
	}
	return nil, errNoPlace
}

// readKeyFile reads the key in three system calls, because every call to the agent needs
// it.
func readKeyFile(path string) ([]byte, bool) {
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, false
	}
	defer syscall.Close(fd)
	key := make([]byte, keySize+1)
	for {
		n, err := syscall.Read(fd, key)
		if err != syscall.EINTR {
			return key[:max(n, 0)], err == nil && n == keySize
		}
	}
}

// makeKey writes a new key to a new file beside path.
func makeKey(path string) (fresh string, err error) {
	var key [keySize]byte
	if err := readRandom(key[:]); err != nil {
		return "", err
	}
	fresh, err = beside(path)
	if err != nil {
		return "", err
	}
	file, err := os.OpenFile(fresh, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	_, err = file.Write(key[:])
	if err := cmp.Or(err, file.Close()); err != nil {
		_ = syscall.Unlink(fresh)
		return "", err
	}
	return fresh, nil
}

// beside returns a new name beside path. It is random: processes in two containers can
// share both the directory and a process id, and each needs its own file.
func beside(path string) (string, error) {
	var suffix [8]byte
	err := readRandom(suffix[:])
	return path + "." + hexadecimal(suffix[:]), err
}

func readRandom(bytes []byte) error {
	random, err := os.Open("/dev/urandom")
	if err != nil {
		return err
	}
	defer random.Close()
	for n := 0; n < len(bytes); {
		m, err := random.Read(bytes[n:])
		if err != nil {
			return err
		}
		n += m
	}
	return nil
}
