package app

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/gatepass/gatepass/cmd/gatepass/command"
	"github.com/gatepass/gatepass/internal/redact"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/workspace/profile"
	"github.com/urfave/cli/v2"
)

const appStatusAbout = `Shows the App in the store, whether GitHub accepts its key, where it is installed,
what each account granted, and which installations the store has. Nothing is
changed, no token is minted, and no secret is shown.

The granted permissions are compared with what the profiles need or, without
--profile, with what the App requests. For each missing permission, the output has
the address where to add it to the App, or where the account approves it.

Every App of the pool is shown. If an account has not granted something to another
App than the first one, that App is not used for it. This is a note, not a failure.

The exit code is 1 if something prevents tokens from being minted.

Examples:
  gatepass app status
  gatepass app status --profile agent.yaml --profile review.yaml`

func (cmd commands) statusCommand() *cli.Command {
	return &cli.Command{
		Name:        "status",
		Usage:       "show the App, its key, its installations and permissions",
		UsageText:   "gatepass app status [--profile FILE]... [--store URL] [--github-url URL] [--json]",
		Description: appStatusAbout,
		Flags: command.IssuingFlags(
			&cli.StringSliceFlag{Name: "profile", Usage: "a profile's `FILE`, to check that its tokens can be minted; may be repeated", TakesFile: true},
		),
		Action: cmd.status,
	}
}

// StatusReport is the JSON of "app status".
type StatusReport struct {
	OK             bool                `json:"ok"` // tokens can be minted
	App            *appReport          `json:"app,omitempty"`
	Key            keyStatus           `json:"key"`
	Store          string              `json:"store"`
	GitHub         string              `json:"github"`
	Public         *bool               `json:"public,omitempty"` // any account can install the App; absent if GitHub does not say
	Rate           *rateReport         `json:"rate,omitempty"`
	Needed         map[string]string   `json:"needed,omitempty"`
	Installations  []issuing.Installed `json:"installations"`
	Legacy         int64               `json:"legacy_installation_id,omitempty"`
	Problems       []issuing.Problem   `json:"problems"`
	SettingsURL    string              `json:"settings_url,omitempty"`
	PermissionsURL string              `json:"permissions_url,omitempty"`
	Pool           []poolReport        `json:"pool,omitempty"` // the other Apps of the pool

	clientID  string
	publicURL string // the page that makes the App public
}

// poolReport is the statusReport of an App other than the first.
type poolReport struct {
	Name string `json:"name"`
	StatusReport
}

type keyStatus struct {
	keySummary
	Signer string `json:"signer,omitempty"` // its URL; "" if the key is in the store
	Proved bool   `json:"proved"`
}

type rateReport struct {
	Limit     int       `json:"limit"`
	Remaining int       `json:"remaining"`
	Reset     time.Time `json:"reset"`
}

func (cmd commands) status(c *cli.Context) error {
	if err := command.NoArguments(c); err != nil {
		return err
	}
	var needs issuing.Needs
	for _, path := range c.StringSlice("profile") {
		p, err := profile.Load(path)
		if err != nil {
			return err
		}
		for _, warning := range p.Warnings {
			cmd.Note(path + ": " + warning)
		}
		needs.Profiles = append(needs.Profiles, p)
	}
	stop := cmd.Wait("GitHub and the store, for the state of the App")
	report, err := cmd.statusOf(c, needs)
	stop()
	if err != nil {
		return err
	}
	if c.Bool("json") {
		err = command.WriteJSON(cmd.Stdout, report)
	} else {
		err = report.print(cmd.Stdout, cmd.Screen())
	}
	if err != nil || report.OK {
		return err
	}
	return usererr.New("app status", command.Count(report.problems(), "thing")+"  prevents tokens from being minted", "")
}

// problems counts the problems of all Apps.
func (r StatusReport) problems() int {
	n := len(r.Problems)
	for _, p := range r.Pool {
		n += len(p.Problems)
	}
	return n
}

// statusOf examines all Apps of the store.
func (cmd commands) statusOf(c *cli.Context, needs issuing.Needs) (StatusReport, error) {
	s, app, err := cmd.StoredApp(c)
	if err != nil {
		return StatusReport{}, err
	}
	ctx, cancel := context.WithTimeout(c.Context, discoverWait)
	defer cancel()
	report, err := cmd.statusOfOne(ctx, c, issuing.Member{Store: s, App: app}, needs)
	if err != nil {
		return report, err
	}
	github, err := cmd.GitHub(c)
	if err != nil {
		return report, err
	}
	all, err := issuing.Members(ctx, s, github)
	if err != nil {
		return report, err
	}
	needs.IsPart = true
	for _, m := range all[1:] {
		one, err := cmd.statusOfOne(ctx, c, m, needs)
		if err != nil {
			return report, err
		}
		report.Pool = append(report.Pool, poolReport{m.Name, one})
		report.OK = report.OK && one.OK
	}
	return report, nil
}

func (cmd commands) statusOfOne(ctx context.Context, c *cli.Context, m issuing.Member, needs issuing.Needs) (StatusReport, error) {
	if m.Err != nil {
		return StatusReport{Store: cmd.StoreURL(c), Problems: []issuing.Problem{{Text: m.Err.Error()}}, Installations: []issuing.Installed{}}, nil
	}
	signerURL, err := issuing.SignerURL(ctx, m.Store)
	if err != nil {
		return StatusReport{}, err
	}
	status, err := issuing.Examine(ctx, m.Store, m.App, needs)
	if err != nil {
		return StatusReport{}, err
	}
	report := newStatusReport(m.App, status)
	report.Store, report.Key.Signer = cmd.StoreURL(c), redact.Text(signerURL, command.MaxURL)
	return report, nil
}

func newStatusReport(app *issuing.App, st issuing.Status) StatusReport {
	r := StatusReport{
		OK: len(st.Problems) == 0, GitHub: redact.Text(app.GitHub, command.MaxURL), Needed: st.Needed, Installations: st.Installations,
		Legacy: st.Legacy, Problems: st.Problems, clientID: app.ID,
	}
	if st.Proof.Key != nil {
		r.Key.keySummary = summarize(st.Proof.Key)
	}
	if st.Refused == nil {
		self := newAppReport(st.Proof.App)
		r.App, r.Key.Proved, r.Public = &self, true, st.Proof.IsPublic
		r.SettingsURL, r.PermissionsURL = issuing.SettingsURL(app.GitHub, st.Proof.App), issuing.PermissionsURL(app.GitHub, st.Proof.App)
		r.publicURL = issuing.PublicURL(app.GitHub, st.Proof.App)
		if rate, said := app.Rate(); said {
			r.Rate = &rateReport{rate.Limit, rate.Remaining, rate.Reset.UTC()}
		}
	}
	if r.Problems == nil {
		r.Problems = []issuing.Problem{}
	}
	if r.Installations == nil {
		r.Installations = []issuing.Installed{}
	}
	return r
}

func (r StatusReport) print(out io.Writer, s command.Screen) error {
	var b strings.Builder
	r.printOne(&b, s)
	for _, p := range r.Pool {
		fmt.Fprintf(&b, "\n%s in the pool: ", p.Name)
		p.printOne(&b, s)
		for _, problem := range p.Problems {
			r.Problems = append(r.Problems, issuing.Problem{Text: "App " + p.Name + ": " + problem.Text, Fix: problem.Fix})
		}
	}
	if r.OK {
		b.WriteString("\n" + s.Paint(command.Green, "nothing prevents tokens from being minted") + "\n")
	} else {
		b.WriteString("\n" + s.Paint(command.Red, "what prevents tokens from being minted:") + "\n")
	}
	for _, p := range r.Problems {
		line := "  " + usererr.Escape(p.Text)
		if p.Fix != "" {
			line += "; " + usererr.Escape(p.Fix)
		}
		b.WriteString(line + "\n")
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// printOne writes the status of one App.
func (r StatusReport) printOne(b *strings.Builder, s command.Screen) {
	r.printApp(b)
	r.printInstallations(b, s)
	b.WriteString(r.whyFew())
	if r.Legacy != 0 {
		fmt.Fprintf(b, "%s has %d; gatepass does not use it\n", store.LegacyInstallation(), r.Legacy)
	}
}

func (r StatusReport) printApp(b *strings.Builder) {
	name, lines := "unknown: GitHub does not accept this key", [][2]string{{"client ID", r.clientID}}
	if a := r.App; a != nil {
		name = a.Name
		lines = [][2]string{{"slug", a.Slug}, {"owner", a.Owner}, {"App ID", fmt.Sprint(a.ID)}, {"client ID", a.ClientID}, {"page", a.URL}, {"settings", r.SettingsURL}}
	}
	if r.App != nil {
		lines = append(lines, [2]string{"public", r.reach()})
	}
	key := "none could be read"
	if r.Key.Fingerprint != "" {
		key = r.Key.text()
	}
	proved := ", accepted by GitHub"
	if !r.Key.Proved {
		proved = ", not checked at GitHub"
	}
	lines = append(lines, [2]string{"key", key + ", " + keyPlace(r.Key.Signer) + proved}, [2]string{"store", r.Store}, [2]string{"GitHub", r.GitHub})
	if r.Rate != nil {
		lines = append(lines, [2]string{"requests", fmt.Sprintf("%d of %d left until %s", r.Rate.Remaining, r.Rate.Limit, r.Rate.Reset.Format(time.RFC3339))})
	}
	if r.App != nil {
		lines = append(lines, [2]string{"asks for", mint.LevelsText(r.App.Permissions)}, [2]string{"needed", mint.LevelsText(r.Needed)})
	}
	fmt.Fprintf(b, "the App %s\n", usererr.Escape(name))
	b.WriteString(command.Pairs(lines...))
}

// reach says who can install the App.
func (r StatusReport) reach() string {
	switch {
	case r.Public == nil:
		return "unknown: GitHub does not say; check the App's settings"
	case *r.Public:
		return "yes, every account can install it"
	}
	return "no, only " + r.App.Owner + " can install it"
}

// whyFew explains why a private App has at most one installation.
func (r StatusReport) whyFew() string {
	installed := 0
	for _, i := range r.Installations {
		if i.ID != 0 {
			installed++
		}
	}
	if r.Public == nil || *r.Public || installed > 1 {
		return ""
	}
	return usererr.Escape(fmt.Sprintf("the App is private: only %s can install it; for repositories of other accounts, make it public: %s", r.App.Owner, r.publicURL)) + "\n"
}

func (r StatusReport) printInstallations(b *strings.Builder, s command.Screen) {
	if len(r.Installations) == 0 {
		return
	}
	b.WriteByte('\n')
	t := command.NewTable("ACCOUNT", "TYPE", "ID", "STORED", "REPOSITORIES", "STATE", "GRANTED", "NOTE")
	for _, i := range r.Installations {
		note := i.Note
		if len(i.Lacking) > 0 {
			note = strings.TrimPrefix(note+"; lacks "+mint.LevelsText(i.Lacking), "; ")
		}
		t.Row(i.Account, i.Type, command.Number(i.ID), command.Number(i.Stored), i.Selection, string(i.State), mint.LevelsText(i.Granted), note)
	}
	b.WriteString(t.Text(s))
}
