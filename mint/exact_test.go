package mint

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// silent is a network on which nothing may be asked.
type silent struct{ t *testing.T }

func (s silent) RoundTrip(r *http.Request) (*http.Response, error) {
	s.t.Errorf("GitHub was asked %s %s, want nothing", r.Method, r.URL)
	return nil, errors.New("nothing may be asked")
}

func installations(logins ...string) []Installation {
	var all []Installation
	for i, login := range logins {
		all = append(all, Installation{ID: int64(i + 1), Account: Account{Login: login}})
	}
	return all
}

// Exact names, and ids, need no list of repositories, and no token to read it with.
func TestExactNamesAskNobody(t *testing.T) {
	app := &App{Client: &http.Client{Transport: silent{t}}}
	many := make([]string, MaxRepositories+1)
	for i := range many {
		many[i] = fmt.Sprint("acme/r", i)
	}
	for _, c := range []struct {
		name     string
		patterns []string
		want     string // the repositories, or a part of the error
	}{
		{"two names", []string{"acme/widgets", "acme/Gadgets"}, "[widgets Gadgets] []"},
		{"a name twice", []string{"acme/widgets", "ACME/Widgets"}, "[widgets] []"},
		{"two ids", []string{"acme/widgets#7", "acme/gadgets#8"}, "[] [widgets#7 gadgets#8]"},
		{"500 names", many[:MaxRepositories], "[r0 r1 "},
		{"501 names", many, "501 repositories are more than the 500"},
		{"an id twice", []string{"acme/widgets#7", "acme/gadgets#7"}, "id 7 is given twice"},
	} {
		grants, err := app.Resolve(t.Context(), parse(t, c.patterns...), contents("read"), installations("Acme"))
		got := fmt.Sprint(err)
		if err == nil {
			got = fmt.Sprint(grants[0].Repositories.names, " ", grants[0].Repositories.pins)
		}
		if !strings.Contains(got, c.want) {
			t.Errorf("%s: Resolve = %.200s, want %s", c.name, got, c.want)
		}
	}
}

func TestEverythingIsSaidOutLoud(t *testing.T) {
	app := &App{Client: &http.Client{Transport: silent{t}}}
	suspended := Installation{ID: 9, Account: Account{Login: "idle"}, SuspendedAt: time.Now()}
	const note = "* means every repository that the App may reach on "
	for _, c := range []struct {
		name      string
		installed []Installation
		want      string
	}{
		{"two accounts", installations("zeta", "Beta"), "Beta [" + note + "Beta]; zeta [" + note + "zeta]; "},
		{"one suspended", append(installations("Beta"), suspended), "Beta [" + note + "Beta left out, because suspended: idle]; "},
		{"all suspended", []Installation{suspended}, "every installation of the App is suspended: idle"},
		{"none", nil, "not installed on any account"},
	} {
		grants, err := app.Resolve(t.Context(), parse(t, "*"), contents("read"), c.installed)
		got := fmt.Sprint(err)
		if err == nil {
			got = ""
			for _, g := range grants {
				got += fmt.Sprintf("%s %s; ", g.Owner, g.Notes)
			}
		}
		if !strings.Contains(got, c.want) {
			t.Errorf("%s: Resolve = %s, want %s", c.name, got, c.want)
		}
	}
}
