// Package ghtest runs GitHub's command line, gh, as in an ordinary clone: against the
// GitHub double itself, or against a server in front of it.
package ghtest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/test/connectproxy"
)

// NewestVariable is the environment variable with the path of the newest gh.
const NewestVariable = "GATEPASS_TEST_GH"

// A Program is one version of gh.
type Program struct{ Name, Path string }

// Programs are the versions of gh that make test-real provides: Debian's on PATH, and
// the newest from the module proxy. Without make test-real, Need skips them, because
// they take seconds. A chroot has only Debian's.
func Programs() []Program {
	debian := ""
	if os.Getenv("GATEPASS_TEST_BIN_DIR") != "" {
		debian, _ = exec.LookPath("gh")
	}
	return []Program{{"Debian's gh", debian}, {"the newest gh", os.Getenv(NewestVariable)}}
}

// Need skips the test if the program does not exist.
func (p Program) Need(t *testing.T) {
	t.Helper()
	switch {
	case p.Path != "":
	case os.Getenv("GATEPASS_TEST_CHROOT") != "":
		t.Skipf("this chroot does not have %s", p.Name)
	default:
		t.Skipf("missing: %s; make test-real has it", p.Name)
	}
}

// A Place is a host that answers like a GitHub Enterprise Server, as gh reaches it. gh
// drops the port of a remote's URL, so Host is a name without a port, and gh and git
// use a proxy that leads all names to Addr.
type Place struct {
	Program Program
	Host    string
	Addr    string // host and port
	CA      []byte // certificate to trust, PEM
	Token   string // GH_ENTERPRISE_TOKEN
	Pages   string // beginning of the URLs of pages, such as https://github.com

	home  string
	proxy string
	t     *testing.T
}

// Start makes the home folder and the proxy. Both end with the test.
func (p *Place) Start(t *testing.T) {
	t.Helper()
	p.t, p.home = t, t.TempDir()
	proxy := connectproxy.New(t, "")
	proxy.LeadTo(p.Addr)
	p.proxy = proxy.URL
	p.write("ca.pem", string(p.CA))
	p.write(".gitconfig", fmt.Sprintf("[user]\n\tname = T\n\temail = t@example.com\n[http]\n\tsslCAInfo = %s\n\tproxy = %s\n[credential]\n\thelper = \"!%s auth git-credential\"\n",
		filepath.Join(p.home, "ca.pem"), p.proxy, p.Program.Path))
}

func (p *Place) write(name, text string) {
	p.t.Helper()
	if err := os.WriteFile(filepath.Join(p.home, name), []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// Try runs gh, or git if args begin with "git", in a folder, and returns its standard
// output and standard error.
func (p *Place) Try(dir string, args ...string) (stdout, stderr string, err error) {
	program := p.Program.Path
	if args[0] == "git" {
		program, args = "git", args[1:]
	}
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + p.home, "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "LC_ALL=C.UTF-8", "NO_COLOR=1",
		"GH_HOST=" + p.Host, "GH_ENTERPRISE_TOKEN=" + p.Token, "GH_NO_UPDATE_NOTIFIER=1", "GH_TELEMETRY=false", "GH_PROMPT_DISABLED=1", "GH_DEBUG=" + os.Getenv("GH_DEBUG"),
		"SSL_CERT_FILE=" + filepath.Join(p.home, "ca.pem"), "HTTPS_PROXY=" + p.proxy, "https_proxy=" + p.proxy,
	}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

// Run is Try for a command that must succeed. It returns standard output.
func (p *Place) Run(dir string, args ...string) string {
	p.t.Helper()
	out, errs, err := p.Try(dir, args...)
	if err != nil {
		p.t.Fatalf("%s: %v\n%s%s", strings.Join(args, " "), err, out, errs)
	}
	return out
}

// Shows is Run for a command that must also print each of the words.
func (p *Place) Shows(dir, words string, args ...string) string {
	p.t.Helper()
	out := p.Run(dir, args...)
	for word := range strings.SplitSeq(words, "|") {
		if !strings.Contains(out, word) {
			p.t.Errorf("%s prints no %q:\n%s", strings.Join(args, " "), word, out)
		}
	}
	return out
}
