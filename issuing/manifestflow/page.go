package manifestflow

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatepass/gatepass/internal/brand"
	"github.com/gatepass/gatepass/internal/usererr"
)

//go:embed page.html
var pageText string

// style is embedded in every page, so that no stylesheet must be served. The content
// policy allows it by its hash.
//
//go:embed page.css
var ownStyle string

var (
	style        = brand.Palette + ownStyle
	pageTemplate = template.Must(template.New("page").Parse(strings.NewReplacer("STYLE", style, "MARK", string(brand.Mark)).Replace(pageText)))
	styleHash    = sha256.Sum256([]byte(style))
)

// contentPolicy allows a page only its style, and forms that go here and to GitHub.
func (s *Server) contentPolicy() string {
	github, _ := url.Parse(s.action) // made by mint.SettingsURL
	return "default-src 'none'; base-uri 'none'; frame-ancestors 'none'" +
		"; style-src 'sha256-" + base64.StdEncoding.EncodeToString(styleHash[:]) + "'" +
		"; form-action 'self' https://" + github.Host
}

// A page is the template's data: a form, or some text.
type page struct {
	Title   string
	Bad     bool
	Text    []string
	Link    *link
	Then    string // the text before Command
	Command string // a command to copy and run
	Refresh bool
	Form    *form
}

type link struct{ URL, Text string }

// A form is the form that asks for confirmation.
type form struct {
	Name, Owner, GitHub, Home string
	Public, Org               bool
	Account                   string // the account that may install a private App
	Permissions               []permission
	KeyGoes                   string
	Until                     time.Time
	Action, Manifest, Cancel  string
}

// A permission is a row of the table, in words.
type permission struct{ Name, Level, Means string }

func (s *Server) form() page {
	home, _ := url.Parse(s.action)
	f := &form{
		Name: usererr.Escape(s.flow.Manifest.Name), Owner: "your account", Account: "your account", Org: s.flow.Org != "",
		GitHub: home.Host, Home: "https://" + home.Host + "/", Public: s.flow.Manifest.Public,
		Permissions: inWords(s.flow.Manifest.Permissions.Levels()), KeyGoes: usererr.Escape(s.flow.KeyGoes),
		Until: s.until, Action: s.action, Manifest: s.manifest, Cancel: s.cancelPath(),
	}
	if f.Org {
		f.Owner, f.Account = "the organization "+s.flow.Org, s.flow.Org
	}
	return page{Title: "Create a GitHub App", Form: f}
}

// titles and uses describe GitHub's permissions, and what gatepass uses them for at
// each level.
var (
	titles = map[string]string{
		"contents": "Code", "issues": "Issues", "pull_requests": "Pull requests", "checks": "Checks",
		"workflows": "Workflow files", "actions": "Actions", "metadata": "Metadata",
	}
	uses = map[string]string{
		"contents read": "clone and fetch", "contents write": "clone, fetch and push", "issues write": "write issues and comments",
		"pull_requests write": "open, review and comment on pull requests", "checks write": "report what checks found",
		"workflows write": "push changes of .github/workflows", "actions write": "start, rerun and cancel workflow runs",
	}
	levelWords = map[string]string{"read": "read", "write": "read and write", "admin": "everything"}
)

// inWords returns the rows of the table. The last one is what GitHub adds by itself.
func inWords(levels map[string]string) []permission {
	var rows []permission
	for _, name := range slices.Sorted(maps.Keys(levels)) {
		title := titles[name]
		if title == "" {
			title = strings.ReplaceAll(name, "_", " ")
		}
		rows = append(rows, permission{title, levelWords[levels[name]], uses[name+" "+levels[name]]})
	}
	if _, asked := levels["metadata"]; !asked {
		rows = append(rows, permission{titles["metadata"], levelWords["read"], "see names of repositories; GitHub adds this to every App"})
	}
	return rows
}

// An Outcome is the result of exchanging the code.
type Outcome struct {
	App     string // the App's name; "" if GitHub made none
	KeptIn  string // where its key is stored; "" if it is not
	Install string // the page for installing the App; "" if unknown
	Problem string // one line; "" on success
	Command string // the command to run next
}

func (o Outcome) page() page {
	name := usererr.Escape(o.App)
	p := page{Title: name + " is ready", Command: o.Command}
	if o.Problem != "" {
		p.Bad, p.Title, p.Text, p.Then = true, o.title(name), []string{usererr.Escape(o.Problem)}, "When that is fixed, run:"
		return p
	}
	p.Text = []string{"Its key is stored in " + usererr.Escape(o.KeptIn) + ".", "Install the App on the accounts whose repositories it may reach."}
	p.Then = "When it is installed, run this, and close the page:"
	if o.Install != "" {
		p.Link = &link{o.Install, "Install " + name}
	}
	return p
}

// title returns a title that says how far the setup came.
func (o Outcome) title(name string) string {
	switch {
	case name == "":
		return "The App is not set up"
	case o.KeptIn == "":
		return name + " is made, but not set up"
	}
	return name + " is set up, but GitHub has not confirmed its key"
}

// The pages without a form.
var (
	foreignPage = page{Title: "This page belongs to another browser", Bad: true, Text: []string{
		"Another browser or window has opened it, or this browser keeps no cookies for 127.0.0.1.",
		"Continue where it was opened first. Or run the command again with --no-browser, and open the new address here.",
	}}
	wrongStatePage = page{Title: "This answer is not for this page", Bad: true, Text: []string{
		"This browser was sent here with a state that this page did not give to GitHub. Nothing was changed.",
	}}
	noCodePage    = page{Title: "The answer has no code", Bad: true, Text: []string{"GitHub sends a code when it has made the App. This answer has none. Go back and try again."}}
	usedPage      = page{Title: "This page was used already", Bad: true, Text: []string{"It accepts one answer. The terminal shows the result."}}
	cancelledPage = page{Title: "Cancelled", Text: []string{"No App was made. You can close this page."}}
	workingPage   = page{Title: "Fetching the key", Refresh: true, Text: []string{"GitHub has made the App. gatepass fetches and stores its key; the terminal says what it waits for."}}
)

// render sends a page in one piece.
func (s *Server) render(w http.ResponseWriter, status int, p page) {
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, p); err != nil {
		http.Error(w, "the page cannot be shown", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(b.Len()))
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes())
}
