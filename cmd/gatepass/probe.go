package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gatepass/gatepass/broker/probe"
	"github.com/gatepass/gatepass/cmd/gatepass/command"
	"github.com/gatepass/gatepass/config"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/credential/brokerclient"
	"github.com/gatepass/gatepass/credential/brokerclient/awsproof"
	"github.com/gatepass/gatepass/internal/exposition"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/mint"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/urfave/cli/v2"
)

const probeAbout = `Sends requests to a broker as a workspace does, and checks that it vends and
refuses what it should. This finds a policy that has become too wide, which no user
reports. Give the probe its own workspace, and an empty repository.

A file of cases is a list in YAML:

  - {repo: acme/canary, operation: read}
  - {repo: acme/canary, operation: write, refused: true}
  - {repo: acme/payroll, operation: read, refused: true}

The probe asks GitHub what a vended token opens. If the source has a bearer
identity, the probe also sends a request without one, which must be refused.

The exit code is 1 if a case fails. With --every, the probe runs until it is
stopped, prints changes, and serves metrics at --listen.

Examples:
  gatepass probe cases.yaml
  gatepass probe cases.yaml --source 'broker+https://broker.example?identity_file=/run/id'
  gatepass probe cases.yaml --every 1m --listen 127.0.0.1:9465`

// minProbe is the shortest interval between probes of a broker.
const minProbe = 10 * time.Second

// A probeCommand is "gatepass probe".
type probeCommand struct{ *command.Environment }

func (cmd probeCommand) command() *cli.Command {
	return &cli.Command{
		Name: "probe", Usage: "check that a broker vends and refuses what it should",
		UsageText: "gatepass probe CASES [--source URL] [--every TIME [--listen HOST:PORT]] [--json]", Description: probeAbout,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "source", Usage: "the broker's `URL`, as in a workspace file (default: the workspace file's source)"},
			command.GitHubFlag(),
			&cli.DurationFlag{Name: "every", Usage: "repeat the cases after this `TIME`"},
			&cli.StringFlag{Name: "listen", Usage: "serve metrics for Prometheus at `HOST:PORT`, with --every"},
			command.JSONFlag(),
		},
		Action: cmd.run,
	}
}

func (cmd probeCommand) run(c *cli.Context) error {
	if c.Args().Len() != 1 {
		return command.Usage(c, "name one file of cases")
	}
	if every := c.Duration("every"); every < 0 || every > 0 && every < minProbe || c.String("listen") != "" && every == 0 {
		return command.Usage(c, "--every must be at least "+minProbe.String()+", and --listen needs --every")
	}
	cases, err := loadProbeCases(c.Args().First())
	if err != nil {
		return usererr.Wrap("read the cases "+c.Args().First(), err, "correct the file")
	}
	prober, err := cmd.prober(c)
	if err != nil {
		return err
	}
	if c.Duration("every") == 0 {
		return cmd.once(c, prober, cases)
	}
	return cmd.repeat(c, prober, cases)
}

func loadProbeCases(path string) ([]probe.Case, error) {
	data, err := command.ReadBounded(path, probe.MaxCases)
	if err != nil {
		return nil, err
	}
	return probe.ParseCases(data)
}

// prober returns a prober for the source's broker, which also asks GitHub what a token
// opens.
func (cmd probeCommand) prober(c *cli.Context) (*probe.Prober, error) {
	source, id, err := cmd.source(c.String("source"))
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(source.Scheme, "broker+") {
		return nil, usererr.New("probe "+source.Scheme+"://", "this is not a broker", "name one with --source broker+https://… or broker+unix://…")
	}
	opener := &brokerclient.Opener{Methods: []brokerclient.Method{awsproof.Method}}
	broker, err := opener.Open(source, id)
	if err != nil {
		return nil, err
	}
	app := new(mint.App)
	github, err := cmd.GitHub(c)
	if err == nil && github != "" {
		app.URL, err = mint.APIURL(github)
	}
	if err != nil {
		return nil, err
	}
	p := &probe.Prober{Source: broker, Opened: func(ctx context.Context, t credential.Token) ([]string, error) {
		return app.TokenRepositories(ctx, t, 2)
	}}
	if anonymous, ok := broker.Unauthenticated(); ok {
		p.Unauthenticated = anonymous
	}
	return p, nil
}

// source returns the source of the option, or else of the workspace file.
func (cmd probeCommand) source(option string) (source *url.URL, workspace string, err error) {
	if option != "" {
		source, err = url.Parse(option)
		if err != nil {
			return nil, "", usererr.New("read --source", "it is not a URL", "write it as in a workspace file")
		}
		return source, "", nil
	}
	path, err := config.Path(cmd.Getenv)
	if err != nil {
		return nil, "", err
	}
	file, err := config.Load(path)
	if err != nil {
		return nil, "", err
	}
	if file.Source == nil {
		return nil, "", usererr.New("find the broker", path+" has no source", "name one with --source")
	}
	return file.Source, file.ID, nil
}

// once runs the cases once and prints every result.
func (cmd probeCommand) once(c *cli.Context, p *probe.Prober, cases []probe.Case) error {
	stop := cmd.Wait(fmt.Sprintf("the broker, for %d cases", len(cases)))
	results := p.Run(c.Context, cases)
	stop()
	if err := printResults(cmd.Stdout, cmd.Screen(), results, c.Bool("json")); err != nil {
		return err
	}
	for _, r := range results {
		if r.State != probe.Passed {
			return &command.StatusError{Status: command.ExitFailed}
		}
	}
	return nil
}

// printResults prints all results at once.
func printResults(out io.Writer, s command.Screen, results []probe.Result, asJSON bool) error {
	if asJSON {
		return command.WriteJSON(out, results)
	}
	t := command.NewTable("RESULT", "CASE", "DETAIL")
	for _, r := range results {
		t.Row(stateText(r.State), r.Case, r.Detail)
	}
	_, err := io.WriteString(out, t.Text(s))
	return err
}

func stateText(s probe.State) string {
	if s == probe.Violated {
		return "VIOLATED"
	}
	return string(s)
}

// A watcher holds the latest results and serves them as metrics.
type watcher struct {
	last    []probe.Result
	metrics *prometheus.Registry
	// By case, and without samples before the first round. ended has no label.
	passed, violated, took, ended *prometheus.GaugeVec
}

func newWatcher() *watcher {
	v := &watcher{metrics: exposition.New()}
	gauges := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return promauto.With(v.metrics).NewGaugeVec(prometheus.GaugeOpts{Namespace: "gatepass_probe", Name: name, Help: help}, labels)
	}
	v.passed = gauges("passed", "Whether the broker answered as it should: 1 or 0.", "case")
	v.violated = gauges("violated", "Whether the broker vended a token that it should not have: 1 or 0.", "case")
	v.took = gauges("duration_seconds", "How long the case took.", "case")
	v.ended = gauges("last_round_timestamp_seconds", "When the last round ended.")
	return v
}

// repeat runs the cases at intervals until its context ends, and prints results that
// change.
func (cmd probeCommand) repeat(c *cli.Context, p *probe.Prober, cases []probe.Case) error {
	v := newWatcher()
	stop, err := v.serve(c.Context, c.String("listen"))
	if err != nil {
		return err
	}
	defer stop()
	tick := time.NewTicker(c.Duration("every"))
	defer tick.Stop()
	for {
		results := p.Run(c.Context, cases)
		if c.Context.Err() != nil {
			return nil
		}
		if err := printChanges(cmd.Stdout, v.take(results), c.Bool("json")); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-c.Context.Done():
			return nil
		}
	}
}

// take records results, and returns those whose state changed.
func (v *watcher) take(results []probe.Result) []probe.Result {
	var changed []probe.Result
	for i, r := range results {
		if v.last == nil || v.last[i].State != r.State {
			changed = append(changed, r)
		}
	}
	v.last = results
	v.show(results)
	return changed
}

// show sets the metrics. People read them with curl, so it escapes the names.
func (v *watcher) show(results []probe.Result) {
	for _, r := range results {
		name := usererr.Escape(r.Case)
		v.passed.WithLabelValues(name).Set(is(r.State == probe.Passed))
		v.violated.WithLabelValues(name).Set(is(r.State == probe.Violated))
		v.took.WithLabelValues(name).Set(r.Took.Seconds())
	}
	v.ended.WithLabelValues().Set(exposition.Seconds(time.Now()))
}

func is(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// printChanges prints one line for each changed result.
func printChanges(out io.Writer, changed []probe.Result, asJSON bool) error {
	for _, r := range changed {
		if asJSON {
			if err := command.WriteJSON(out, r); err != nil {
				return err
			}
			continue
		}
		line := time.Now().UTC().Format(time.RFC3339) + " " + stateText(r.State) + ": " + r.Case
		if r.Detail != "" {
			line += ": " + r.Detail
		}
		if _, err := fmt.Fprintln(out, usererr.Escape(line)); err != nil {
			return err
		}
	}
	return nil
}

// serve serves metrics at address until stop is called; "" serves nothing.
func (v *watcher) serve(ctx context.Context, address string) (stop func(), err error) {
	if address == "" {
		return func() {}, nil
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", exposition.Handler(v.metrics))
	return exposition.Listen(ctx, address, mux, "name another address with --listen")
}
