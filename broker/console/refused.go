package console

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/broker"
)

// unfolded is how many rows of a list are shown; the rest is folded.
const unfolded = 8

// A group is the entries of one list that say the same. It contains the latest of them.
type group struct {
	broker.Entry
	Times int
	First time.Time // time of the earliest entry
}

// A foldedList is a list that is shown in two parts.
type foldedList struct {
	Shown []group
	Rest  []group // folded
	Times int     // number of all entries
}

// fold groups entries that differ only in time and request, latest first.
func fold(entries []broker.Entry) foldedList {
	type alike struct{ who, subject, host, repository, ref, operation, reason, detail, outcome string }
	var groups []group
	at := map[alike]int{}
	for _, e := range entries {
		key := alike{e.Workspace, subjectOf(e), e.Host, e.Repository, e.Ref, e.Operation, e.Reason, e.Detail, e.Outcome}
		if i, known := at[key]; known {
			groups[i].Times++
			groups[i].First = e.Time
			continue
		}
		at[key] = len(groups)
		groups = append(groups, group{e, 1, e.Time})
	}
	n := min(unfolded, len(groups))
	return foldedList{groups[:n], groups[n:], len(entries)}
}

// subjectOf names the sender in an entry: the workspace, else its address or subject.
func subjectOf(e broker.Entry) string {
	for _, text := range []string{e.Workspace, e.Subject, e.Remote} {
		if text != "" {
			return text
		}
	}
	return "–"
}

// since counts the entries after a time.
func since(entries []broker.Entry, from time.Time) (n int) {
	for _, e := range entries {
		if e.Time.After(from) {
			n++
		}
	}
	return n
}

// unnamed matches the name that a rule without a name has in the audit log.
var unnamed = regexp.MustCompile(`^callers\[([0-9]+)\]$`)

// ruleName returns a rule's name for people: its own, or its number and its callers'
// method.
func ruleName(p *broker.Policy, name string) string {
	m := unnamed.FindStringSubmatch(name)
	if m == nil {
		return name
	}
	i, err := strconv.Atoi(m[1])
	if err != nil {
		return name
	}
	if i < len(p.Rules) && p.Rules[i].Name == name && p.Rules[i].Method != "" {
		return fmt.Sprintf("rule %d (%s)", i+1, p.Rules[i].Method)
	}
	return fmt.Sprintf("rule %d", i+1)
}

// A listView is a list with its titles.
type listView struct {
	ID, Title, Said, Caption string
	Entries                  foldedList
	Groups                   []group // the part to show
	Suffix                   string  // "" for the first part
}

// The template calls list and part.
func list(id, title, said, caption string, entries foldedList) listView {
	return listView{ID: id, Title: title, Said: said, Caption: caption, Entries: entries}
}

func part(l listView, groups []group, suffix string) listView {
	l.Groups, l.Suffix = groups, suffix
	return l
}

// entryView has the audit entries of one request, as far as this replica remembers
// them.
type entryView struct {
	Request string
	Lines   []string // JSON
}

// showEntry shows the entries that a row links to.
func (p webPages) showEntry(r request) error {
	if err := p.operator(&r); err != nil {
		return p.loginOr(r, err)
	}
	v := &entryView{Request: r.URL.Query().Get("request")}
	for _, list := range [][]broker.Entry{p.Recorder.Refused(), p.Recorder.Pushes(), p.Recorder.Gateway()} {
		for _, e := range list {
			if v.Request == "" || e.RequestID != v.Request {
				continue
			}
			text, err := json.MarshalIndent(e, "", "  ")
			if err != nil {
				return err
			}
			v.Lines = append(v.Lines, string(text))
		}
	}
	if v.Lines == nil {
		return p.show(r, http.StatusNotFound, view{Title: "No entry", Who: r.who.Name, Problem: &api.Problem{
			Title: "No entry", Detail: "This replica does not remember that request. The audit log has every request.",
		}})
	}
	return p.show(r, http.StatusOK, view{Title: "Audit entry", Who: r.who.Name, Entry: v})
}
