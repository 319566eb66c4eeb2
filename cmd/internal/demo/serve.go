package demo

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gatepass/gatepass/internal/shell"
	"github.com/gatepass/gatepass/internal/usererr"
)

// jobEvery is the time between two identity tokens of the CI job.
const jobEvery = 5 * time.Minute

// A playground is a GitHub, a store with an App, and a broker, which run until they are
// stopped, and the files that a shell needs to use them.
type playground struct {
	*demo
	broker   *brokerProcess
	issuer   *issuer
	address  string // the broker's page, API and gateway: "127.0.0.1:PORT"
	operator string // an operator's bearer token
}

// Serve starts a GitHub double, an App with its store, a broker with its git gateway,
// and the operators' page, all on this machine. It prints how to use them, runs them
// until ctx ends, and removes them. The error is one line for a person.
func Serve(ctx context.Context, o Options) error {
	if err := o.complete("gatepass-broker"); err != nil {
		return err
	}
	p, err := newPlayground(ctx, o)
	if err != nil {
		return usererr.Wrap("set up the playground", interrupted(ctx, err), "")
	}
	p.printIntro()
	err = p.wait(ctx)
	if err := errors.Join(err, p.close()); err != nil {
		return usererr.Wrap("run the playground", err, "")
	}
	p.printEnd()
	return nil
}

func newPlayground(ctx context.Context, o Options) (*playground, error) {
	d, err := newScratch(ctx, o)
	if err != nil {
		return nil, err
	}
	p := &playground{demo: d, operator: "operator-" + strings.ToLower(rand.Text())}
	if err := p.start(ctx); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

// start makes everything, in the order that a platform engineer would follow.
func (p *playground) start(ctx context.Context) (err error) {
	if err := p.openGitHub(); err != nil {
		return err
	}
	if p.address, err = freeAddress(); err != nil {
		return err
	}
	if p.issuer, err = newIssuer(filepath.Join(p.home, "jwks.json"), p.jobToken()); err != nil {
		return err
	}
	if err := errors.Join(p.issuer.issue(), p.writeFiles(ctx), p.writePlayground()); err != nil {
		return err
	}
	if err := p.do(ctx, "gatepass app add --app-client-id "+p.github.app.ClientID+" --private-key-file app.pem --non-interactive"); err != nil {
		return err
	}
	if p.broker, err = p.startBroker(); err != nil {
		return err
	}
	return errors.Join(p.installFor(ctx, "workspace"), p.installFor(ctx, "gateway"))
}

// do runs a command and shows no output.
func (p *playground) do(ctx context.Context, line string) error {
	out, err := p.quiet(ctx, p.home, line)
	if err != nil {
		return fmt.Errorf("%w: %s", err, usererr.Escape(strings.TrimSpace(out)))
	}
	return nil
}

// installFor sets up git for one of the workspace files, in a separate configuration,
// and writes the file that a shell reads to use both.
func (p *playground) installFor(ctx context.Context, name string) error {
	gitconfig := filepath.Join(p.home, name+".gitconfig")
	for key, value := range p.variables(name) {
		p.env[key] = value
	}
	common, err := os.ReadFile(filepath.Join(p.home, ".gitconfig"))
	if err == nil {
		err = os.WriteFile(gitconfig, common, 0o600)
	}
	if err == nil {
		err = p.do(ctx, "gatepass install --global")
	}
	if err != nil {
		return err
	}
	var text strings.Builder
	for _, key := range []string{"PATH", "GATEPASS_CONFIG", "GATEPASS_STORE", "GATEPASS_GITHUB_URL", "SSL_CERT_FILE", "GIT_CONFIG_GLOBAL", "XDG_RUNTIME_DIR"} {
		fmt.Fprintf(&text, "export %s=%s\n", key, shell.Quote(p.env[key]))
	}
	fmt.Fprintf(&text, "export BROKER=%s OPERATOR=%s\ncd %s\n", shell.Quote("http://"+p.address), shell.Quote(p.operator), shell.Quote(p.home))
	return os.WriteFile(filepath.Join(p.home, name+".sh"), []byte(text.String()), 0o600)
}

// variables are the environment variables that differ between the two workspaces.
func (p *playground) variables(name string) map[string]string {
	return map[string]string{
		"GATEPASS_CONFIG":   filepath.Join(p.home, name+".yaml"),
		"GIT_CONFIG_GLOBAL": filepath.Join(p.home, name+".gitconfig"),
	}
}

func (p *playground) jobToken() string { return filepath.Join(p.home, "job.jwt") }

// writePlayground writes the broker's file, its profile, and the workspace file of the
// CI job, whose git goes through the gateway.
func (p *playground) writePlayground() error {
	job := url.URL{Scheme: "broker+unix", Path: p.socket(), RawQuery: url.Values{"identity_file": {p.jobToken()}}.Encode()}
	gateway := fmt.Sprintf(`workspace: %s
hosts: [%q]
source: %q
gateway: http://%s
repos: [acme/widgets, "globex/*"]
refs: ["agent/**"]
`, "ci-7", p.github.host(), job.String(), p.address)
	hash := sha256.Sum256([]byte(p.operator))
	broker := fmt.Sprintf(`# What the broker does: docs/broker.md. The broker reads this file again when it changes.
listen: [%q, "http://%s"]
store: %q
github_url: https://%s
audit: %q
profiles: [%q]
gateway: {}
callers:
  - name: CI job                       # its identity is a token of an OpenID Connect issuer
    oidc: {issuer: %s, audience: gatepass, jwks_file: %q}
    claims: {repository: acme/widgets}
    workspace: "ci-{claim.run_id}"
    profile: playground
    tokens: none                       # it uses the gateway, and has no token
  - name: sandbox                      # a process of this user, at the broker's socket
    socket: {uid: %d}
    workspace: %s
    profile: playground
operators:
  - name: you
    token_sha256: %s
`, "unix://"+p.socket(), p.address, p.env["GATEPASS_STORE"], p.github.host(), filepath.Join(p.home, "audit.jsonl"),
		filepath.Join(p.home, "profile.yaml"), issuerName, p.issuer.keys, os.Getuid(), workspaceID, hex.EncodeToString(hash[:]))
	return errors.Join(
		os.WriteFile(filepath.Join(p.home, "gateway.yaml"), []byte(gateway), 0o600),
		os.WriteFile(filepath.Join(p.home, "profile.yaml"), []byte("metadata: {name: playground}\n"+profileText), 0o600),
		os.WriteFile(filepath.Join(p.home, "broker.yaml"), []byte(broker), 0o600),
	)
}

// wait renews the CI job's token until ctx or the broker ends.
func (p *playground) wait(ctx context.Context) error {
	renewal := time.NewTicker(jobEvery)
	defer renewal.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.broker.ended:
			return fmt.Errorf("gatepass-broker exited: %s", p.broker.lastWords())
		case <-renewal.C:
			if err := p.issuer.issue(); err != nil {
				return err
			}
		}
	}
}

// close ends what was started, the broker first, and both workspaces' agents.
func (p *playground) close() error {
	err := p.broker.stop()
	if p.env["GIT_CONFIG_GLOBAL"] != "" {
		for key, value := range p.variables("workspace") {
			p.env[key] = value
		}
		err = errors.Join(err, p.endAgent())
		for key, value := range p.variables("gateway") {
			p.env[key] = value
		}
	}
	return errors.Join(err, p.demo.close())
}

// printIntro prints what runs and what to try.
func (p *playground) printIntro() {
	t := p.show
	t.home = "" // absolute paths, because the commands are for another shell
	t.paragraph(bold, "A playground is running: a double of GitHub, an App in a store, a broker with its git gateway.")
	t.paragraph("", "GitHub           https://"+p.github.host()+"   acme/widgets, acme/payroll, globex/gadgets")
	t.paragraph("", "operators' page  http://"+p.address+"   token: "+p.operator)
	t.paragraph("", "files            "+p.home+"   broker.yaml, profile.yaml, workspace.yaml, gateway.yaml, audit.jsonl")
	t.paragraph("", "")
	p.try(1, "A sandbox: clone, push an allowed branch, and try a refused one", []string{
		". " + shell.Quote(filepath.Join(p.home, "workspace.sh")),
		"git clone " + p.github.url("acme/widgets") + " && cd widgets",
		"git commit --allow-empty -m 'Try it'",
		"git push origin HEAD:agent/try",
		"git push origin HEAD:main",
	})
	p.try(2, "Revoke its tokens and block it, on the page or with", []string{
		`curl -sS -X POST -H "Authorization: Bearer $OPERATOR" $BROKER/v1/workspaces/` + workspaceID + "/revoke",
		"git fetch # the token is revoked",
		"git fetch # and the broker refuses another",
		`curl -sS -X DELETE -H "Authorization: Bearer $OPERATOR" $BROKER/v1/workspaces/` + workspaceID + "/block # unblocks it",
	})
	p.try(3, "A CI job without any token: git goes through the gateway, which decides on pushes", []string{
		". " + shell.Quote(filepath.Join(p.home, "gateway.sh")),
		"git clone " + p.github.url("acme/widgets") + " job && cd job",
		"git commit --allow-empty -m 'Try the gateway'",
		"git push --no-verify origin HEAD:main",
		"gatepass token --repo acme/widgets",
	})
	p.try(4, "The issuing side: a workspace whose tokens are delivered to the store", []string{
		"cd " + shell.Quote(p.home) + " && gatepass workspace create profile.yaml --id sb-2",
		"gatepass workspace show sb-2",
		"gatepass workspace destroy sb-2",
	})
	p.try(5, "What was decided, and why", []string{
		"gatepass audit search audit.jsonl",
		"gatepass policy explain",
		"gatepass doctor --online",
	})
	t.paragraph(bold, "ctrl-C stops it and removes everything.")
}

func (p *playground) try(n int, what string, commands []string) {
	p.show.paragraph(bold, "# "+string(rune('0'+n))+". "+what)
	for _, c := range commands {
		p.show.copied(c)
	}
	p.show.paragraph("", "")
}

// printEnd prints what remains.
func (p *playground) printEnd() {
	if p.opts.Keep {
		p.show.paragraph("", "kept: "+p.dir)
		return
	}
	p.show.paragraph("", "The playground has stopped, and all its files are deleted.")
}
