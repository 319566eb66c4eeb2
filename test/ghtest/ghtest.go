// Package ghtest runs GitHub's command line, gh, as in a plain clone: against the double
// of GitHub itself, or against what stands before it.
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

// A Program is one gh.
type Program struct{ Name, Path string }

// Programs are the gh's of make test-real: Debian's on PATH, and the newest of the module
// proxy. Elsewhere Need skips them, for they take seconds. A chroot has Debian's only.
func Programs() []Program {
	debian := ""
	if os.Getenv("GATEPASS_TEST_BIN_DIR") != "" {
		debian, _ = exec.LookPath("gh")
	}
	return []Program{{"Debian's gh", debian}, {"the newest gh", os.Getenv(NewestVariable)}}
}

// Need skips the test where the program is not there.
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

// A Place is a host that answers as a GitHub Enterprise Server does, as gh reaches it. gh
// forgets the port of a remote's URL, so Host is a name without one, and gh and git go
// through a proxy that leads all names to Addr.
type Place struct {
	Program Program
	Host    string
	Addr    string // host and port
	CA      []byte // to trust, in PEM
	Token   string // GH_ENTERPRISE_TOKEN
	Pages   string // the URL that the addresses of pages begin with, such as https://github.com

	home  string
	proxy string
	t     *testing.T
}

// Start makes the home folder and the proxy, until the test ends.
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

// Try runs gh or, where args begin with "git", git in a folder, and returns what it
// prints to standard output and to standard error.
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

// Run is Try for what must succeed. It returns standard output.
func (p *Place) Run(dir string, args ...string) string {
	p.t.Helper()
	out, errs, err := p.Try(dir, args...)
	if err != nil {
		p.t.Fatalf("%s: %v\n%s%s", strings.Join(args, " "), err, out, errs)
	}
	return out
}

// Shows is Run for what must also print each of the words.
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
