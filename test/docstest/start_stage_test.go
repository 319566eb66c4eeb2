package docstest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/test/fakegithub"
	"github.com/gatepass/gatepass/test/freeport"
	"github.com/gatepass/gatepass/test/testkey"
)

// A stage is where the commands of a quick start run: a home and system folders of its
// own, the double of GitHub, and a CI system. What the page calls github.com,
// broker.example and /etc/gatepass is there under other names.
type stage struct {
	t                   *testing.T
	dir                 string
	github              *fakegithub.Server
	ci                  *issuer
	broker              string // HOST:PORT
	archive, archiveSum string // the programs: URL and checksum
	env                 []string
	here                *strings.Replacer
	groups              []int // process groups of what runs on
	cwd                 string
	output              string // of the last commands
	ran                 int
	notRun              int
}

// newStage makes the stage. Programs of the project come from bin.
func newStage(t *testing.T, bin string, a packed) *stage {
	t.Helper()
	dir, err := os.MkdirTemp("", "gps") // short: sockets are in it
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{t: t, dir: dir}
	t.Cleanup(s.close)
	for _, sub := range []string{"home", "home/work", "bin", "etc/gatepass", "run", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(dir, "run"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.cwd = s.project()
	s.script("sudo", `exec "$@"`)
	s.script("apt-get", ":") // what it would install is there
	s.openGitHub()
	if s.broker, err = freeport.Address(); err != nil {
		t.Fatal(err)
	}
	_, port, _ := strings.Cut(s.broker, ":")
	s.broker = "localhost:" + port
	s.ci = newIssuer(t, s.github)
	s.serveArchive(a)
	s.certify()
	s.environment(bin)
	s.here = strings.NewReplacer(s.names(port)...)
	return s
}

// names are those of the pages, and what they are here.
func (s *stage) names(port string) []string {
	at := func(path string) string { return filepath.Join(s.dir, path) }
	uid := strconv.Itoa(os.Getuid())
	return []string{
		"0.0.0.0:8443", "127.0.0.1:" + port, "broker.example:8443", s.broker,
		"https://token.actions.githubusercontent.com", s.ci.url, "https://gitlab.com", s.ci.url,
		"https://downloads.example/gatepass-linux-amd64.tar.gz", s.archive, "SHA256_OF_THE_ARCHIVE", s.archiveSum,
		"github.com", s.githubHost(),
		"/etc/gatepass", at("etc/gatepass"), "/var/lib/gatepass", at("lib"), "/var/log/gatepass", at("log"), "/run/gatepass", at("run/gatepass"),
		"/tmp/gatepass", at("tmp/gatepass"),
		"uid: 1000", "uid: " + uid, "owner=1000", "owner=" + uid,
	}
}

func (s *stage) githubHost() string {
	return strings.Replace(s.github.Host(), "127.0.0.1", "localhost", 1)
}

// script puts a program of the machine's that the stage cannot have on PATH.
func (s *stage) script(name, body string) {
	if err := os.WriteFile(filepath.Join(s.dir, "bin", name), []byte("#!/bin/sh\n"+body+"\n"), 0o755); err != nil {
		s.t.Fatal(err)
	}
}

// openGitHub starts the double with the repositories that the pages name, and an App
// whose credentials are in the stage.
func (s *stage) openGitHub() {
	var err error
	if s.github, err = fakegithub.New(fakegithub.Options{}); err != nil {
		s.t.Fatal(err)
	}
	key := testkey.RSA(2048, 0)
	app, err := s.github.AddApp(fakegithub.App{Slug: "gatepass", Keys: []*rsa.PublicKey{&key.PublicKey}, Permissions: fakegithub.Permissions{"contents": "write"}})
	if err != nil {
		s.t.Fatal(err)
	}
	_, repo := s.github.AddRepository(fakegithub.Repository{Owner: "acme", Name: "widgets"})
	_, installed := s.github.AddInstallation(fakegithub.Installation{AppID: app.ID, Account: "acme", RepositorySelection: "all"})
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	if err := errors.Join(repo, installed, os.WriteFile(filepath.Join(s.dir, "app.pem"), text, 0o600)); err != nil {
		s.t.Fatal(err)
	}
	s.env = append(s.env, "TEST_CLIENT_ID="+app.ClientID, "TEST_KEY="+filepath.Join(s.dir, "app.pem"))
}

// certify makes the broker's certificate, and the file of authorities that everything
// here trusts.
func (s *stage) certify() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	about := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "broker.example"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, about, about, key.Public(), key)
	if err != nil {
		s.t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		s.t.Fatal(err)
	}
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	err = errors.Join(
		os.WriteFile(filepath.Join(s.dir, "etc/gatepass/tls.crt"), certificate, 0o644),
		os.WriteFile(filepath.Join(s.dir, "etc/gatepass/tls.key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600),
		os.WriteFile(filepath.Join(s.dir, "ca.pem"), append(certificate, s.github.CAPEM()...), 0o644),
	)
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) environment(bin string) {
	home, ca := filepath.Join(s.dir, "home"), filepath.Join(s.dir, "ca.pem")
	s.env = append(s.env,
		"PATH="+filepath.Join(s.dir, "bin")+":"+bin+":"+os.Getenv("PATH"), "HOME="+home, "TMPDIR="+filepath.Join(s.dir, "tmp"),
		"XDG_RUNTIME_DIR="+filepath.Join(s.dir, "run"), "LC_ALL=C", "USER=you", "GATEPASS_AGENT_IDLE=1m",
		"GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "GIT_SSL_CAINFO="+ca, "SSL_CERT_FILE="+ca, "CURL_CA_BUNDLE="+ca,
		"GATEPASS_GITHUB_URL=https://"+s.githubHost(),
	)
	config := "[user]\n\tname = Somebody\n\temail = somebody@example.com\n[init]\n\tdefaultBranch = main\n[advice]\n\tdetachedHead = false\n"
	if err := os.WriteFile(filepath.Join(home, ".gitconfig"), []byte(config), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// packed is an archive of the programs as "make dist" makes it: its path, and its checksum.
type packed struct{ path, sum string }

// pack makes the archive in a folder. Only what runs in a workspace is in it.
func pack(t *testing.T, bin string) packed {
	t.Helper()
	const name = "gatepass-linux-amd64"
	dir := t.TempDir()
	if err := os.Symlink(bin, filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, name+".tar.gz")
	args := []string{"-C", dir, "-h", "-I", "gzip -1", "-cf", path}
	for _, program := range []string{"gatepass", "gatepass-agent", "gatepass-askpass", "gatepass-pre-push", "git-credential-gatepass"} {
		args = append(args, name+"/"+program)
	}
	if out, err := exec.CommandContext(t.Context(), "tar", args...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	out, err := exec.CommandContext(t.Context(), "sha256sum", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	sum, _, _ := strings.Cut(string(out), " ")
	return packed{path, sum}
}

// serveArchive has the double serve the archive from another address.
func (s *stage) serveArchive(a packed) {
	url, err := s.github.ServeBeside("downloads", http.FileServer(http.Dir(filepath.Dir(a.path))))
	if err != nil {
		s.t.Fatal(err)
	}
	s.archive, s.archiveSum = url+"/"+filepath.Base(a.path), a.sum
}
