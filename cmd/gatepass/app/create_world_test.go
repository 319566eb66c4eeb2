package app

import (
	"bufio"
	"bytes"
	"errors"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/fakegithub"
)

// A createWorld is a GitHub at which octocat, who owns acme, is signed in, and a place
// for an empty store.
type createWorld struct {
	*fakegithub.Server
	t             *testing.T
	ca, home, dir string // dir is the store's
	variables     []string
}

func newCreateWorld(t *testing.T) *createWorld {
	t.Helper()
	gh, err := fakegithub.New(fakegithub.Options{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { gh.Close() })
	w := &createWorld{Server: gh, t: t, ca: filepath.Join(t.TempDir(), "ca.pem"), home: t.TempDir()}
	w.dir = filepath.Join(w.home, "store")
	if err := errors.Join(os.WriteFile(w.ca, gh.CAPEM(), 0o600), gh.SignIn("octocat", "acme")); err != nil {
		t.Fatal(err)
	}
	return w
}

// A creating is a running "gatepass app create".
type creating struct {
	w            *createWorld
	cmd          *exec.Cmd
	address      string // of its page; "" if it ended before
	first        string // the line with the address
	stdout, errs bytes.Buffer
	read         chan struct{} // closed when that stream has ended
}

// start runs the program until it has printed its page's address: on standard error if
// standard output is for JSON.
func (w *createWorld) start(args ...string) *creating {
	w.t.Helper()
	c := &creating{w: w, read: make(chan struct{})}
	c.cmd = exec.CommandContext(w.t.Context(), "gatepass", append([]string{"app", "create"}, args...)...)
	c.cmd.Dir = w.t.TempDir()
	c.cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "GOGC=" + os.Getenv("GOGC"), "HOME=" + w.home, "SSL_CERT_FILE=" + w.ca,
		"GATEPASS_GITHUB_URL=" + w.URL(), "GATEPASS_STORE=file://" + w.dir,
	}, w.variables...)
	says, pipe := &c.stdout, c.cmd.StdoutPipe
	c.cmd.Stderr = &c.errs
	if slices.Contains(args, "--json") {
		says, pipe = &c.errs, c.cmd.StderrPipe
		c.cmd.Stdout, c.cmd.Stderr = &c.stdout, nil
	}
	stream, err := pipe()
	if err == nil {
		err = c.cmd.Start()
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = c.cmd.Process.Kill() })
	r := bufio.NewReader(io.TeeReader(stream, says))
	c.first, _ = r.ReadString('\n')
	c.address = regexp.MustCompile(`http://127\.0\.0\.1:\d+/\w+/`).FindString(c.first)
	go func() { _, _ = io.Copy(io.Discard, r); close(c.read) }()
	return c
}

// wait returns the program's output and its exit code.
func (c *creating) wait() (stdout, stderr string, status int) {
	c.w.t.Helper()
	select {
	case <-c.read:
	case <-time.After(time.Minute):
		c.w.t.Fatal("the program does not end")
	}
	err := c.cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		status = exit.ExitCode()
	} else if err != nil {
		c.w.t.Fatal(err)
	}
	return c.stdout.String(), c.errs.String(), status
}

func (c *creating) interrupt() {
	c.w.t.Helper()
	if err := c.cmd.Process.Signal(syscall.SIGINT); err != nil {
		c.w.t.Fatal(err)
	}
}

// A person has a browser.
type person struct {
	t      *testing.T
	client *http.Client
}

func (w *createWorld) person() *person {
	w.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	client := w.Client()
	client.Jar = jar
	w.t.Cleanup(client.CloseIdleConnections)
	return &person{w.t, client}
}

// A page is what the person sees, and its address.
type page struct {
	url  *url.URL
	text string
}

func (p *person) read(response *http.Response, err error) page {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return page{response.Request.URL, string(body)}
}

func (p *person) open(address string) page {
	p.t.Helper()
	return p.read(p.client.Get(address))
}

var (
	formTag  = regexp.MustCompile(`(?s)<form method="post" action="([^"]*)">(.*?)</form>`)
	inputTag = regexp.MustCompile(`<input [^>]*?name="([^"]*)" value="([^"]*)">`)
)

// submit presses the button of the page's form number n, with some fields set.
func (p *person) submit(at page, n int, set map[string]string) page {
	p.t.Helper()
	forms := formTag.FindAllStringSubmatch(at.text, -1)
	if len(forms) <= n {
		p.t.Fatalf("%s has no form %d:\n%s", at.url, n, at.text)
	}
	action, err := at.url.Parse(html.UnescapeString(forms[n][1]))
	if err != nil {
		p.t.Fatal(err)
	}
	values := url.Values{}
	for _, input := range inputTag.FindAllStringSubmatch(forms[n][2], -1) {
		values.Set(input[1], html.UnescapeString(input[2]))
	}
	for k, v := range set {
		values.Set(k, v)
	}
	request, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, action.String(), strings.NewReader(values.Encode()))
	if err != nil {
		p.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Origin", at.url.Scheme+"://"+at.url.Host)
	return p.read(p.client.Do(request))
}

// create goes through all pages, and returns the last one.
func (p *person) create(address, name string) page {
	p.t.Helper()
	asked := p.submit(p.open(address), 0, nil)
	set := map[string]string{}
	if name != "" {
		set["name"] = name
	}
	return p.submit(asked, 0, set)
}

// keeps returns the store's content, by name.
func (w *createWorld) keeps() map[string]string {
	w.t.Helper()
	s, err := issuing.OpenStore("file://" + w.dir)
	if err != nil {
		w.t.Fatal(err)
	}
	all := map[string]string{}
	for name, err := range s.List(w.t.Context(), store.Everything()) {
		if err != nil {
			w.t.Fatal(err)
		}
		entry, err := s.Get(w.t.Context(), name)
		if err != nil {
			w.t.Fatal(err)
		}
		all[name.String()] = entry.Value.Reveal()
	}
	return all
}

// proves asks GitHub whose key it is.
func (w *createWorld) proves(id, pem string) mint.Registration {
	w.t.Helper()
	key, err := mint.ParseKey([]byte(pem))
	if err != nil {
		w.t.Fatal(err)
	}
	app := &mint.App{ID: id, Signer: key, URL: w.URL() + "/api/v3", Client: w.Client(), Now: w.Now}
	self, err := app.Self(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return self
}

// showsNoSecret fails if a text contains a part of a key.
func (w *createWorld) showsNoSecret(pem string, texts ...string) {
	w.t.Helper()
	for _, text := range texts {
		for line := range strings.Lines(pem) {
			if line = strings.TrimSpace(line); line != "" && strings.Contains(text, line) {
				w.t.Errorf("%s shows the key", text)
			}
		}
		if strings.Contains(text, "PRIVATE KEY") || strings.Contains(text, "client_secret") {
			w.t.Errorf("%s shows a secret", text)
		}
	}
}

// askedForKeys counts the requests that return a key.
func (w *createWorld) askedForKeys() int {
	return w.Count(func(r fakegithub.Request) bool { return strings.HasSuffix(r.Path, "/conversions") })
}
