package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gatepass/gatepass/cmd/gatepass/command"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/issuing/manifestflow"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
)

const (
	// fetchFor is how long the key is requested while GitHub fails. A code is valid for
	// an hour, but a person does not wait that long.
	fetchFor = 10 * time.Minute

	// Some servers of GitHub may not know a new App yet.
	proofs     = 5
	proveAgain = time.Second
)

// createReport is the JSON of "app create".
type createReport struct {
	KeyReport
	KeyIn   string `json:"key_in"`
	Install string `json:"install_url,omitempty"`
	Next    string `json:"next"`
}

// run goes from the page to an App that is in the store and works.
func (o *creation) run(ctx context.Context) (createReport, error) {
	page, err := manifestflow.Open(o.flow)
	if err != nil {
		return createReport{}, usererr.Wrap("create the App", err, "")
	}
	defer page.Close()
	o.announce(page.URL())
	code, err := page.Code(ctx)
	if err != nil {
		return createReport{}, o.noCode(err)
	}
	report, outcome, err := o.finish(ctx, code)
	if err != nil {
		outcome.Problem = err.Error()
	}
	page.Finish(outcome)
	return report, err
}

// announce prints the page's address before any other output.
func (o *creation) announce(address string) {
	o.say("open %s in a browser on this machine; it waits for five minutes\n", address)
	if o.browser {
		openBrowser(o.Getenv, address)
	}
	u, err := url.Parse(address)
	if err == nil && o.Getenv("SSH_CONNECTION") != "" {
		o.say("if the browser is on another machine, first run there: ssh -L %s:%s HOST\n", u.Port(), u.Host)
	}
}

// say prints progress, which is not part of the JSON.
func (o *creation) say(format string, args ...any) {
	to := o.Stdout
	if o.quiet {
		to = o.Stderr
	}
	fmt.Fprintf(to, format, args...)
}

// noCode returns the error for a flow that ended without a code. Almost certainly no
// App was made.
func (o *creation) noCode(err error) error {
	const what = "create the App"
	look := "if GitHub has created it anyway, delete it at " + o.settings
	switch {
	case errors.Is(err, manifestflow.ErrCancelled):
		return usererr.New(what, err.Error(), "")
	case errors.Is(err, manifestflow.ErrLate):
		return usererr.New(what, "GitHub sent no answer in time", "run it again; "+look)
	}
	return &usererr.Error{Op: what, Reason: "interrupted", Hint: look, Err: err}
}

// finish fetches the key, stores it and proves it. Once the fetch has begun, an
// interrupt must not lose the key.
func (o *creation) finish(ctx context.Context, code string) (createReport, manifestflow.Outcome, error) {
	made, err := o.fetch(ctx, code)
	if err != nil {
		return createReport{}, manifestflow.Outcome{}, err
	}
	outcome := manifestflow.Outcome{App: made.Name, Install: o.installPage(made.Registration)}
	key, err := o.keep(ctx, made)
	if err != nil {
		if u, ok := errors.AsType[*notStoredError](err); ok {
			outcome.Command = u.command
		}
		return createReport{}, outcome, err
	}
	outcome.KeptIn, outcome.Command = o.flow.KeyGoes, o.next(ctx)
	report, err := o.prove(ctx, made, key)
	report.KeyIn, report.Install, report.Next = o.flow.KeyGoes, outcome.Install, outcome.Command
	return report, outcome, err
}

// fetch asks for the key until GitHub returns it or refuses it for good, or patience
// ends. It never cancels a request: the answer has the only copy of the key.
func (o *creation) fetch(ctx context.Context, code string) (mint.NewApp, error) {
	app, err := o.anonymous()
	if err != nil {
		return mint.NewApp{}, err
	}
	until := time.Now().Add(o.patience)
	for attempt := 1; ; attempt++ {
		made, err := app.ConvertManifest(context.WithoutCancel(ctx), code)
		if err == nil {
			return made, nil
		}
		pause, ok := retryAfter(err, attempt)
		if !ok || time.Now().Add(pause).After(until) {
			return mint.NewApp{}, o.unfetched(err)
		}
		if attempt == 1 {
			fmt.Fprintf(o.Stderr, "gatepass: %s (trying again until %s)\n", usererr.Escape(err.Error()), until.Format("15:04"))
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return mint.NewApp{}, o.unfetched(err)
		}
	}
}

// retryAfter reports whether to ask GitHub again, and after what pause.
func retryAfter(err error, attempt int) (pause time.Duration, ok bool) {
	e, is := errors.AsType[*mint.Error](err)
	if !is || e.Kind != mint.Unavailable && e.Kind != mint.RateLimited {
		return 0, false
	}
	return max(min(time.Duration(attempt)*time.Second, 15*time.Second), e.RetryAfter), true
}

// unfetched returns the error for an App that GitHub made but whose key did not arrive.
func (o *creation) unfetched(err error) error {
	return usererr.Wrap("create the App", err, "GitHub has created it: create a private key for it at "+o.settings+", then run gatepass app add"+o.nextOptions)
}

// prove signs with the stored key, to check that GitHub accepts it as the App's.
func (o *creation) prove(ctx context.Context, made mint.NewApp, key issuing.Signer) (createReport, error) {
	ctx, cancel := context.WithTimeout(ctx, checkWait)
	defer cancel()
	app, err := issuing.NewApp(made.Issuer(), key, o.github)
	if err != nil {
		return createReport{}, err
	}
	app.Client = o.client
	proof, err := app.Prove(ctx)
	for n := 1; n < proofs && isBadKey(err); n++ {
		select {
		case <-time.After(proveAgain):
		case <-ctx.Done():
		}
		proof, err = app.Prove(ctx)
	}
	if err != nil {
		return createReport{}, usererr.Wrap("create the App: its key is stored in "+o.flow.KeyGoes, err, "")
	}
	o.warnOfWider(proof.App)
	return createReport{KeyReport: KeyReport{newAppReport(proof.App), summarize(proof.Key)}}, nil
}

func isBadKey(err error) bool {
	e, ok := errors.AsType[*mint.Error](err)
	return ok && e.Kind == mint.BadKey
}

// warnOfWider warns about permissions that GitHub gave beyond those requested.
func (o *creation) warnOfWider(self mint.Registration) {
	if wider := o.flow.Manifest.Permissions.Wider(self.Permissions); len(wider) > 0 {
		fmt.Fprintf(o.Stderr, "gatepass: the App has more permissions than requested: %s; remove them at %s\n", usererr.Escape(strings.Join(wider, ", ")), usererr.Escape(issuing.PermissionsURL(o.github, self)))
	}
}

// installPage is the page that installs the App; "" if the App's page is not at this
// GitHub.
func (o *creation) installPage(app mint.Registration) string {
	if !strings.HasPrefix(app.HTMLURL, o.github+"/") {
		return ""
	}
	return issuing.InstallURL(app)
}

// next is the command to run once the App is installed. It prunes the installations of
// an earlier App, which this one cannot use.
func (o *creation) next(ctx context.Context) string {
	for _, err := range o.store.List(ctx, store.Installations()) {
		if err == nil {
			return "gatepass app discover --prune" + o.nextOptions
		}
	}
	return "gatepass app discover" + o.nextOptions
}

func (o *creation) print(r createReport) error {
	text := usererr.Escape
	var b strings.Builder
	fmt.Fprintf(&b, "the App %s is ready\n", text(r.App.Name))
	b.WriteString(command.Pairs([][2]string{
		{"owner", r.App.Owner},
		{"client ID", r.App.ClientID},
		{"key", r.Key.text()},
		{"kept in", r.KeyIn},
		{"page", r.App.URL},
	}...))
	if r.Install != "" {
		fmt.Fprintf(&b, "install it: %s\n", text(r.Install))
	}
	fmt.Fprintf(&b, "then run: %s\n", text(r.Next))
	_, err := o.Stdout.Write([]byte(b.String()))
	return err
}

// keepWait limits how long storing the key may take.
const keepWait = 2 * time.Minute

// keep imports the key into the KMS, if there is one, and writes the credentials to the
// store. The error is an [*notStoredError].
func (o *creation) keep(ctx context.Context, made mint.NewApp) (issuing.Signer, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepWait)
	defer cancel()
	kept := issuing.Credentials{ID: made.Issuer(), PrivateKey: store.NewSecret(made.PrivateKey.Reveal()), GitHub: o.github}
	key, err := mint.ParseKey([]byte(made.PrivateKey.Reveal()))
	if err != nil {
		return nil, o.rescue(made, kept, usererr.Wrap("read the new App's key", err, ""))
	}
	var signs issuing.Signer = key
	if o.kms != nil {
		if err := o.kms.Import(ctx, key); err != nil {
			return nil, o.rescue(made, kept, err)
		}
		if signs, err = issuing.OpenSigner(o.keyTo); err != nil {
			return nil, o.rescue(made, kept, err)
		}
		kept.PrivateKey, kept.Signer = store.Secret{}, o.keyTo
	}
	if err := o.save(ctx, kept); err != nil {
		return nil, o.rescue(made, kept, err)
	}
	return signs, nil
}

func (o *creation) save(ctx context.Context, kept issuing.Credentials) error {
	if o.pool != "" {
		return issuing.AddToPool(ctx, o.all, o.pool, kept, o.mode)
	}
	return issuing.Save(ctx, o.store, kept, o.mode)
}

// A notStoredError reports an App that was made but not stored. It says where the key is,
// and which command finishes the job.
type notStoredError struct {
	app, where, command string
	file                bool // where is a file, to be deleted in the end
	why                 error
}

func (e *notStoredError) Error() string {
	do := e.where + ": when that is fixed, run " + e.command
	if e.file {
		do += ", and delete that file"
	}
	return usererr.Wrap("keep the new App "+e.app, e.why, do).Error()
}

func (e *notStoredError) Unwrap() error { return e.why }

// rescue writes a key that could not be stored to a file of the user's.
func (o *creation) rescue(made mint.NewApp, kept issuing.Credentials, why error) error {
	e := &notStoredError{app: made.Name, why: why}
	options := o.nextOptions
	if o.github != mint.DefaultGitHub {
		options += " --github-url " + usererr.Quote(o.github)
	}
	if o.mode == store.Replace || errors.Is(why, store.ErrExists) {
		options += " --force"
	}
	add := "gatepass app add --app-client-id " + usererr.Quote(kept.ID)
	if kept.Signer != "" {
		e.where, e.command = "its key is in "+o.flow.KeyGoes, add+" --signer "+usererr.Quote(kept.Signer)+options
		return e
	}
	path, err := o.rescueFile(made)
	if err != nil {
		e.where = "its key could not be written to a file either (" + err.Error() + ") and is lost; create another at " + issuing.SettingsURL(o.github, made.Registration)
		e.command = add + " --private-key-file PEM" + options
		return e
	}
	e.file, e.where = true, "its only key is in "+path+" (mode 0600)"
	e.command = add + " --private-key-file " + usererr.Quote(path) + options
	if o.kms != nil {
		e.command = "gatepass app key import --private-key-file " + usererr.Quote(path) + " --to " + usererr.Quote(o.keyTo) + " && " + add + " --signer " + usererr.Quote(o.keyTo) + options
	}
	return e
}

// rescueFile writes the key where the user will find it: in the home directory, else in
// the working directory, which may be a repository, else in the temporary directory.
func (o *creation) rescueFile(made mint.NewApp) (path string, err error) {
	var tried []error
	here, _ := os.Getwd() // an empty path is skipped
	for _, dir := range []string{o.Getenv("HOME"), here, os.TempDir()} {
		if !filepath.IsAbs(dir) {
			continue
		}
		path, err := writeOwn(dir, fileName(made), made.PrivateKey.Reveal())
		if err == nil {
			return path, nil
		}
		tried = append(tried, err)
	}
	return "", usererr.Join(tried...)
}

// fileName returns a safe file name for the App's key, whatever the App is called.
func fileName(made mint.NewApp) string {
	slug := strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' {
			return r
		}
		return -1
	}, made.Slug)
	if slug = strings.Trim(slug[:min(len(slug), 64)], "-"); slug == "" {
		slug = fmt.Sprintf("github-app-%d", made.ID)
	}
	return slug + ".private-key"
}

// writeOwn writes a new file that only its owner can use. It does not overwrite an
// existing file.
func writeOwn(dir, name, text string) (path string, err error) {
	for n := 1; n < 100; n++ {
		path = filepath.Join(dir, name+".pem")
		if n > 1 {
			path = filepath.Join(dir, fmt.Sprintf("%s-%d.pem", name, n))
		}
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		_, err = f.WriteString(text)
		if err = usererr.Join(err, f.Sync(), f.Close()); err != nil {
			return "", usererr.Join(err, os.Remove(path))
		}
		return path, nil
	}
	return "", fmt.Errorf("%s has one hundred files of that name; delete some", dir)
}
