package doctor

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/workspace"
	"github.com/gatepass/gatepass/workspace/profile"
)

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

// entriesOf returns a folder with entries of these names.
func entriesOf(t *testing.T, texts string) *folder {
	t.Helper()
	f := &folder{written: noon.Add(-30 * time.Minute)}
	for text := range strings.FieldsSeq(texts) {
		name, err := store.ParseName("sandbox/x/" + text)
		if err != nil {
			t.Fatal(err)
		}
		f.names = append(f.names, name)
	}
	return f
}

func TestFolderDebris(t *testing.T) {
	fresh := func(f *folder) { f.written = noon.Add(-time.Minute) }
	expired := func(f *folder) { f.written = noon.Add(-tokenLife) }
	for _, c := range []struct {
		name, entries string
		change        func(*folder)
		isShared      bool
		want          string // kind and what Fix does, or why it leaves it; "" for nothing
	}{
		{"a workspace", "workspace github-token github-tokens/acme", nil, false, ""},
		{"a workspace without tokens", "workspace", nil, false, ""},
		{"a token", "github-token", nil, false, "tokens: revokes and deletes it"},
		{"a token and its copy", "github-token github-tokens/acme", nil, false, "tokens: revokes and deletes it"},
		{"two tokens", "github-tokens/acme github-tokens/octo", nil, false, "tokens: revokes and deletes them"},
		{"a replaced token", "superseded/0123456789abcdef", nil, false, "tokens: revokes and deletes it"},
		{"a broker's", "vended/0123456789abcdef github-token", nil, false, ""},
		{"a lock that is held", "lock github-token", func(f *folder) { f.lock = held }, false, ""},
		{"a lock that is left over", "lock", func(f *folder) { f.lock = leftOver }, false, "lock: removes it"},
		{"a token with one", "lock github-token", func(f *folder) { f.lock = leftOver }, false, "tokens: revokes and deletes it"},
		{"a workspace with one", "lock workspace", func(f *folder) { f.lock = leftOver }, false, "lock: removes it"},
		{"the folder cannot be read", "github-token", func(f *folder) { f.err = errors.New("no") }, false, ""},
		{"somebody else's as well", "github-token other", nil, false, "tokens, left: below sandbox/x are other entries that gatepass did not write"},
		{"only somebody else's", "other", nil, false, ""},
		{"just written", "github-token", fresh, false, "tokens: revokes and deletes it"},
		{"perhaps another system's", "github-token", nil, true, ""},
		{"perhaps another system's, with more", "github-token other", nil, true, ""},
		{"not refreshed by another system", "github-token", expired, true, "tokens: revokes and deletes it"},
	} {
		f := &facts{now: noon}
		f.store.isShared = c.isShared
		f.ledger.folders = map[string]*folder{"x": entriesOf(t, c.entries)}
		if c.change != nil {
			c.change(f.ledger.folders["x"])
		}
		got := ""
		for _, thing := range f.leftovers() {
			got += string(thing.Kind)
			if thing.Left != "" {
				got += ", left: " + thing.Left
			} else {
				got += ": " + thing.Does
			}
		}
		if got != c.want {
			t.Errorf("%s: debris = %q, want %q", c.name, got, c.want)
		}
	}
}

// An incomplete list does not show what is missing.
func TestNothingIsDebrisWhereTheLedgerWasNotReadToItsEnd(t *testing.T) {
	f := &facts{now: noon}
	f.ledger.folders = map[string]*folder{"x": entriesOf(t, "github-token")}
	if things := f.leftovers(); len(things) != 1 {
		t.Errorf("debris = %+v, want the token", things)
	}
	f.ledger.err = errors.New("the connection broke")
	if things := f.leftovers(); len(things) != 0 {
		t.Errorf("debris = %+v, want none", things)
	}
}

func TestEnds(t *testing.T) {
	for _, c := range []struct {
		name   string
		left   time.Duration
		margin time.Duration
		level  Level // "" for nothing
	}{
		{"fresh", time.Hour, 0, ""},
		{"due for a refresh", 15 * time.Minute, 0, ""},
		{"half of the margin", 10 * time.Minute, 0, ""},
		{"less than half of the margin", 10*time.Minute - time.Second, 0, Warning},
		{"over", 0, 0, Failure},
		{"long over", -time.Hour, 0, Failure},
		{"a margin of its own", 20 * time.Minute, 50 * time.Minute, Warning},
		{"a short margin of its own", 2 * time.Minute, 2 * time.Minute, ""},
	} {
		f := &facts{now: noon}
		f.ledger.records = []*workspace.Record{record(t, "acme/x", c.left)}
		f.ledger.records[0].Margin = c.margin
		var got Level
		if found := f.checkExpiry(); len(found) > 0 {
			got = found[0].Level
		}
		if got != c.level {
			t.Errorf("%s: judgeEnds = %q, want %q", c.name, got, c.level)
		}
	}
}

// record returns a record with a token for acme that expires after that time.
func record(t *testing.T, repositories string, left time.Duration) *workspace.Record {
	t.Helper()
	r := &workspace.Record{ID: "x", Access: profile.Access{Permissions: mint.PermissionLevels(map[string]string{"contents": "read"})}}
	for text := range strings.FieldsSeq(repositories) {
		p, err := mint.ParsePattern(text)
		if err != nil {
			t.Fatal(err)
		}
		r.Repositories = append(r.Repositories, p)
	}
	r.Tokens = []workspace.Token{{Owner: "Acme", State: workspace.Delivered, Hash: "h", Installation: 1, Expires: noon.Add(left), Changed: noon}}
	return r
}

func TestWhyPending(t *testing.T) {
	on := func(login string, change func(*mint.Installation)) []mint.Installation {
		i := mint.Installation{ID: 7, Account: mint.Account{Login: login}, Permissions: map[string]string{"contents": "write"}}
		if change != nil {
			change(&i)
		}
		return []mint.Installation{i}
	}
	denied := usererr.New("check the key", "GitHub does not take it", "")
	for _, c := range []struct {
		name         string
		repositories string
		app          appFacts
		want         string
	}{
		{"no App", "octo/x", appFacts{err: denied}, "no App can be used"},
		{"a bad key", "octo/x", appFacts{refused: denied}, "the App's key does not work"},
		{"GitHub is down", "octo/x", appFacts{refused: &mint.Error{Kind: mint.Unavailable}}, ""},
		{"GitHub's list broke off", "octo/x", appFacts{foundErr: denied}, ""},
		{"not installed", "octo/x", appFacts{}, "the App is not installed on octo"},
		{"installed, in another case", "octo/x", appFacts{found: on("Octo", nil)}, ""},
		{"suspended", "octo/x", appFacts{found: on("octo", func(i *mint.Installation) { i.SuspendedAt = noon })}, "the installation on octo is suspended"},
		{"not granted", "octo/x", appFacts{found: on("octo", func(i *mint.Installation) { i.Permissions = nil })}, "octo has not granted contents: read"},
		{"the one of two that has a token", "acme/x octo/x", appFacts{found: on("octo", nil)}, ""},
		{"everything, and nothing is installed", "*", appFacts{}, "the store has no installation"},
	} {
		f := &facts{now: noon, app: c.app}
		r := record(t, c.repositories, time.Hour)
		if c.repositories == "*" {
			r.Tokens = nil
		}
		if got, _ := f.whyPending(r, lackingOwners(r)); got != c.want {
			t.Errorf("%s: whyPending = %q, want %q", c.name, got, c.want)
		}
	}
}

func TestJudgeInstallations(t *testing.T) {
	acme := mint.Installation{ID: 1, Account: mint.Account{Login: "acme"}, Permissions: map[string]string{"contents": "write"}}
	octo := mint.Installation{ID: 2, Account: mint.Account{Login: "octo"}, Permissions: map[string]string{"contents": "write"}}
	knows := func(logins ...string) (all []issuing.Stored) {
		for at, login := range logins {
			name, err := store.Installation(login)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, issuing.Stored{Name: name, ID: int64(at + 1)})
		}
		return all
	}
	for _, c := range []struct {
		name         string
		repositories string // of the one workspace; "" for none
		found        []mint.Installation
		stored       []issuing.Stored
		want         string
	}{
		{"all is known", "acme/x", []mint.Installation{acme}, knows("acme"), "ok: the App is installed on acme, and the store has these installations"},
		{"one that is not needed", "acme/x", []mint.Installation{acme, octo}, knows("acme"), "ok: the App is installed on acme, and the store has these installations / ok: the App is installed on octo too; gatepass app discover would add them"},
		{"one that is named, which finds it", "octo/x", []mint.Installation{acme, octo}, knows("acme"), "ok: the App is installed on acme, and the store has these installations / ok: the App is installed on octo too; gatepass app discover would add them"},
		{"one of all", "*", []mint.Installation{acme, octo}, knows("acme"), "ok: the App is installed on acme, and the store has these installations / warning: the store has no installation of the App on octo"},
		{"before there are workspaces", "", []mint.Installation{octo}, nil, "warning: the store has no installation of the App on octo"},
		{"nowhere", "", nil, nil, "failure: the App is not installed on any account"},
	} {
		f := &facts{now: noon}
		f.app.found, f.app.stored, f.app.github = c.found, c.stored, "https://github.test"
		f.app.proof.App.Permissions = map[string]string{"contents": "write"}
		if c.repositories != "" {
			f.ledger.records = []*workspace.Record{record(t, c.repositories, time.Hour)}
		}
		var texts []string
		for _, found := range f.checkInstallations() {
			texts = append(texts, string(found.Level)+": "+found.Text)
		}
		if got := strings.Join(texts, " / "); got != c.want {
			t.Errorf("%s: judgeInstallations = %q, want %q", c.name, got, c.want)
		}
	}
}

func TestThese(t *testing.T) {
	for want, names := range map[string][]string{
		"":                     nil,
		"a":                    {"a"},
		"a, b, c":              {"a", "b", "c"},
		"a, b, c and 1 other":  {"a", "b", "c", "d"},
		"a, b, c and 2 others": {"a", "b", "c", "d", "e"},
	} {
		if got := these(names); got != want {
			t.Errorf("these(%q) = %q, want %q", names, got, want)
		}
	}
}
