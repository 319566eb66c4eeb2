package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/gatepass/gatepass/credential/agent"
	"github.com/gatepass/gatepass/test/fakegithub"
)

// maxScratch is the longest path of the scratch folder, in bytes. It leaves 39 of the
// 103 bytes that all systems allow for the path of the agent's socket.
const maxScratch = 64

// closeWait limits how long the agent may take to end.
const closeWait = 10 * time.Second

// A demo is one run: the folder, the GitHub, the source, and the results.
type demo struct {
	opts   Options
	show   *printer
	dir    string // the scratch folder
	home   string // HOME below it
	env    map[string]string
	github *github
	source *source
	git    version
	report Report

	outputs []string // of all commands so far
}

func newDemo(ctx context.Context, o Options) (*demo, error) {
	d, err := newScratch(ctx, o)
	if err != nil {
		return nil, err
	}
	if err := d.setUp(ctx); err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

// newScratch makes the scratch folder and an environment that uses only it.
func newScratch(ctx context.Context, o Options) (*demo, error) {
	dir, err := scratch()
	if err != nil {
		return nil, err
	}
	d := &demo{opts: o, dir: dir, home: filepath.Join(dir, "home")}
	d.show = &printer{w: o.Story, colour: o.Colour, home: d.home}
	d.env = map[string]string{
		"PATH":                o.BinDir + string(os.PathListSeparator) + o.Path,
		"HOME":                d.home,
		"TMPDIR":              filepath.Join(dir, "tmp"),
		"XDG_RUNTIME_DIR":     filepath.Join(dir, "run"),
		"LC_ALL":              "C",
		"GATEPASS_CONFIG":     filepath.Join(d.home, "workspace.yaml"),
		"GATEPASS_AGENT_IDLE": "1m", // so that the agent ends even if this process is killed
		"GIT_CONFIG_NOSYSTEM": "1",
		"GIT_TERMINAL_PROMPT": "0",
	}
	for _, sub := range []string{"home", "run", "tmp", "github"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, errors.Join(err, d.close())
		}
	}
	out, err := d.quiet(ctx, d.home, "git version")
	if err != nil {
		return nil, errors.Join(err, d.close())
	}
	d.git = parseVersion(out)
	d.report.Git = d.git.text
	return d, nil
}

// scratch makes the folder, in /tmp if the usual place has too long a path.
func scratch() (string, error) {
	const pattern = "gatepass-demo-"
	dir, err := os.MkdirTemp("", pattern)
	if err != nil || len(dir) <= maxScratch {
		return dir, err
	}
	if err := os.Remove(dir); err != nil {
		return "", err
	}
	return os.MkdirTemp("/tmp", pattern)
}

// setUp starts the GitHub and the source, and writes the files.
func (d *demo) setUp(ctx context.Context) (err error) {
	if err := d.openGitHub(); err != nil {
		return err
	}
	if d.source, err = serveSource(d.github, d.socket(), d.records()); err != nil {
		return err
	}
	return d.writeFiles(ctx)
}

// openGitHub starts the double.
func (d *demo) openGitHub() error {
	git, err := d.opts.git()
	if err != nil {
		return err
	}
	d.github, err = newGitHub(fakegithub.Options{Git: git, Root: filepath.Join(d.dir, "github")})
	return err
}

func (d *demo) socket() string { return filepath.Join(d.dir, "broker.sock") }

// workspaceFile returns the workspace file, with the lines of more added.
func (d *demo) workspaceFile(more string) string {
	source := url.URL{Scheme: "broker+unix", Path: d.socket()}
	return fmt.Sprintf(`workspace: %s
hosts: [%q]
source: %s
repos: [acme/widgets, "globex/*"]
refs: ["agent/**"]
`, workspaceID, d.github.host(), source.String()) + more
}

// writeFiles writes the workspace file, and git's configuration except for gatepass's
// part.
func (d *demo) writeFiles(ctx context.Context) error {
	ca := filepath.Join(d.home, "github-ca.pem")
	// gatepass itself, on the issuing side, trusts only the double
	d.env["SSL_CERT_FILE"], d.env["GATEPASS_GITHUB_URL"] = ca, "https://"+d.github.host()
	d.env["GATEPASS_STORE"] = "file://" + filepath.Join(d.home, "store")
	err := errors.Join(
		os.WriteFile(filepath.Join(d.home, "app.pem"), d.github.pem, 0o600),
		os.WriteFile(filepath.Join(d.home, "profile.yaml"), []byte(profileText), 0o644),
		os.WriteFile(d.env["GATEPASS_CONFIG"], []byte(d.workspaceFile("")), 0o644),
		os.WriteFile(ca, d.github.CAPEM(), 0o644),
	)
	for _, setting := range [][2]string{
		{"user.name", "Sandbox"},
		{"user.email", "sandbox@example.com"},
		{"http.https://" + d.github.host() + "/.sslCAInfo", ca},
	} {
		if err == nil {
			_, err = d.quiet(ctx, d.home, `git config --global "$1" "$2"`, setting[0], setting[1])
		}
	}
	return err
}

// close ends what was started and removes the scratch folder. It also works after the
// context has ended, and if newDemo failed halfway.
func (d *demo) close() error {
	errs := []error{d.endAgent()}
	if d.source != nil {
		errs = append(errs, d.source.close())
	}
	if d.github != nil {
		errs = append(errs, d.github.Close())
	}
	if d.opts.Keep {
		d.report.Scratch = d.dir
		return errors.Join(errs...)
	}
	return errors.Join(append(errs, os.RemoveAll(d.dir))...)
}

// endAgent tells the agent to stop, and kills its process if it does not.
func (d *demo) endAgent() error {
	reply, found, err := d.ask(agent.Status)
	if err != nil || !found {
		return err
	}
	var state agent.State
	if err := json.Unmarshal(reply.Stdout, &state); err != nil {
		return fmt.Errorf("read the agent's state: %w", err)
	}
	_, _, _ = d.ask(agent.Stop) // the check below shows whether it worked
	for until := time.Now().Add(closeWait); time.Now().Before(until); time.Sleep(5 * time.Millisecond) {
		if _, found, err := d.ask(agent.Status); err == nil && !found {
			return nil
		}
	}
	if state.PID > 1 {
		_ = syscall.Kill(state.PID, syscall.SIGKILL)
	}
	return fmt.Errorf("the agent did not end within %v; it was killed", closeWait)
}

func (d *demo) ask(operation string) (agent.Reply, bool, error) {
	call := agent.Call{Operation: operation, Config: d.env["GATEPASS_CONFIG"]}
	return agent.AskRunning(call, d.getenv, time.Now().Add(closeWait))
}

func (d *demo) getenv(name string) string { return d.env[name] }

// A version is a git version.
type version struct {
	major, minor int
	text         string // "2.39.5"
}

func parseVersion(out string) version {
	v := version{text: strings.TrimPrefix(strings.TrimSpace(out), "git version ")}
	_, _ = fmt.Sscanf(v.text, "%d.%d", &v.major, &v.minor) // on an error, it counts as an old git
	return v
}

func (v version) atLeast(major, minor int) bool {
	return v.major > major || v.major == major && v.minor >= minor
}
