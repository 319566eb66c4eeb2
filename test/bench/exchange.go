package main

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"time"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/test/fakegithub"
)

// An exchanger returns a token for a repository in exchange for an identity.
type exchanger func(client *http.Client, identity, repo string) (token string, err error)

// A task is a set of exchanges that are counted together: every workspace asks for
// every repository, as often as times says.
type task struct {
	what       string
	workspaces []int
	repos      []string // of acme
	times      int
	together   bool // all at once; otherwise one after another
}

// tasks use different repositories, so that a task can reuse only what the program
// learned about the owner in the task before.
func (b vendBench) tasks() []task {
	n, few := b.runs(100), b.runs(10)
	var many []int
	var several []string
	for k := range n {
		many = append(many, 100+k)
	}
	for k := range few {
		several = append(several, fmt.Sprintf("several-%d", k))
	}
	return []task{
		{"the first", []int{0}, []string{"first"}, 1, false},
		{fmt.Sprintf("%d of one workspace", n), []int{1}, []string{"one"}, n, false},
		{fmt.Sprintf("%d workspaces at once", n), many, []string{"together"}, 1, true},
		{fmt.Sprintf("%d repositories %d times", few, few), []int{2}, several, few, false},
	}
}

// An usage is what a task cost.
type taskCost struct {
	requests, mints int
	took            []time.Duration // only if one after another; without the first
}

// exchange makes our broker and octo-sts do the same work with the same GitHub, which
// answers as slowly as github.com.
func (b vendBench) exchange() ([]row, error) {
	tasks := b.tasks()
	v, err := b.openExchange(tasks)
	if err != nil {
		return nil, err
	}
	defer v.close()
	ours, err := v.measureTasks(tasks, v.client, v.exchange)
	if err != nil {
		return nil, err
	}
	v.stop()
	version, theirs, why := b.measureOctoSTS(v, tasks)
	if why != nil && b.ctx.Err() != nil {
		return nil, b.ctx.Err()
	}
	return besideOctoSTS(tasks, ours, theirs, version, why), nil
}

// openExchange starts the broker, with a policy of octo-sts in each repository, and an
// issuer whose keys octo-sts can fetch.
func (b vendBench) openExchange(tasks []task) (*brokerSetup, error) {
	gh, err := fakegithub.New(fakegithub.Options{Delay: requestDelay, RateLimit: 100_000, Names: []string{githubAPI}})
	if err != nil {
		return nil, err
	}
	v := &brokerSetup{fleet: &fleet{github: gh}}
	v.issuing = httptest.NewTLSServer(http.HandlerFunc(v.issue))
	v.issuer = v.issuing.URL
	for _, t := range tasks {
		for _, name := range t.repos {
			v.repos = append(v.repos, name)
			repo := fakegithub.Repository{Owner: "acme", Name: name, Files: octoPolicy(v.issuer)}
			if _, err := gh.AddRepository(repo); err != nil {
				v.close()
				return nil, err
			}
		}
	}
	return v, b.open(v)
}

// issue answers the requests for an issuer's metadata and keys (OpenID Connect
// Discovery 1.0).
func (v *brokerSetup) issue(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q,"id_token_signing_alg_values_supported":["RS256"]}`, v.issuer, v.issuer+"/keys")
	case "/keys":
		_, _ = w.Write(v.jwks())
	default:
		http.NotFound(w, r)
	}
}

// measureOctoSTS makes octo-sts do the tasks, or returns why octo-sts is missing.
func (b vendBench) measureOctoSTS(v *brokerSetup, tasks []task) (version string, bills []taskCost, why error) {
	program, err := b.octoSTS()
	if err != nil {
		return "", nil, err
	}
	if version, err = octoModule.Version(octoPackage); err != nil {
		return "", nil, err
	}
	v.fleet.github.ResetRequests()
	o, err := b.startOctoSTS(program, v)
	if err != nil {
		return "", nil, err
	}
	defer o.stop()
	client := func() *http.Client { return &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{}} }
	bills, err = v.measureTasks(tasks, client, o.exchange)
	return version, bills, err
}

// measureTasks does the tasks. Requests from before the first task count as the first task's.
func (v *brokerSetup) measureTasks(tasks []task, client func() *http.Client, exchange exchanger) ([]taskCost, error) {
	var bills []taskCost
	for _, t := range tasks {
		took, err := v.do(t, client, exchange)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", t.what, err)
		}
		paid := taskCost{requests: len(v.fleet.github.Requests()), took: took}
		paid.mints, _ = v.fleet.asked()
		bills = append(bills, paid)
		v.fleet.github.ResetRequests()
	}
	return bills, nil
}

// do makes the exchanges of a task, and checks what the tokens open.
func (v *brokerSetup) do(t task, client func() *http.Client, exchange exchanger) ([]time.Duration, error) {
	if t.together {
		return nil, v.doTogether(t, client, exchange)
	}
	var took []time.Duration
	c := client()
	defer c.CloseIdleConnections()
	for _, workspace := range t.workspaces {
		for _, repo := range t.repos {
			for range t.times {
				start := time.Now()
				token, err := exchange(c, v.identity(workspace), "acme/"+repo)
				took = append(took, time.Since(start))
				if err == nil {
					err = v.opens(token, "acme/"+repo)
				}
				if err != nil {
					return nil, err
				}
			}
		}
	}
	return took[1:], nil
}

// doTogether starts all workspaces of a task at once, each with its own connection.
func (v *brokerSetup) doTogether(t task, client func() *http.Client, exchange exchanger) error {
	for _, workspace := range t.workspaces {
		v.identity(workspace) // signing is not measured
	}
	repo := "acme/" + t.repos[0]
	return allAtOnce(len(t.workspaces), func(k int) error {
		c := client()
		defer c.CloseIdleConnections()
		token, err := exchange(c, v.identity(t.workspaces[k]), repo)
		if err != nil {
			return err
		}
		return v.opens(token, repo)
	})
}

// opens checks a token: it must be live, and must read this repository and no other.
func (v *brokerSetup) opens(token, repo string) error {
	hash := fakegithub.Hash(token)
	for _, live := range v.fleet.github.Tokens() {
		if live.Hash != hash {
			continue
		}
		may := fakegithub.Permissions{"contents": "read", "metadata": "read"}
		if !slices.Equal(live.Repositories, []string{repo}) || !maps.Equal(live.Permissions, may) {
			return fmt.Errorf("a token for %s opens %v with %v", repo, live.Repositories, live.Permissions)
		}
		return nil
	}
	return fmt.Errorf("a token for %s is not live", repo)
}

// besideOctoSTS returns two rows for each task, and one for the time. Without the peer,
// the rows have our figures and the reason.
func besideOctoSTS(tasks []task, ours, theirs []taskCost, version string, why error) []row {
	var rows []row
	for i, t := range tasks {
		what := "exchange, " + t.what
		requests := row{Promise: what + ": requests", Ours: count(ours[i].requests, unitRequests)}
		mints := row{Promise: what + ": tokens minted", Ours: count(ours[i].mints, unitRequests)}
		if why != nil {
			requests.Verdict, mints.Verdict = missing, missing
		} else {
			name := octoProgram + " " + version
			requests = requests.beside(name, count(theirs[i].requests, unitRequests)).judged(fewerThanPeer())
			mints = mints.beside(name, count(theirs[i].mints, unitRequests)).judged(fewerThanPeer())
		}
		rows = append(rows, requests, mints)
	}
	if why != nil {
		rows[len(rows)-1].Note = octoProgram + " is missing: " + usererr.Escape(why.Error())
		return rows
	}
	const warm = 1 // the task that repeats its requests
	took := row{Promise: "exchange, a warm one: time", Ours: timingOf(ours[warm].took).figure()}
	took = took.beside(octoProgram+" "+version, timingOf(theirs[warm].took).figure())
	took.Note = fmt.Sprintf("GitHub takes %v to answer here; ours over TLS, the peer without, as it leaves that to what is before it", requestDelay)
	return append(rows, took)
}
