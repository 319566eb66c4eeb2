package policy

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/gatepass/gatepass/broker"
	brokerconfig "github.com/gatepass/gatepass/broker/config"
	"github.com/gatepass/gatepass/cmd/gatepass/command"
	"github.com/gatepass/gatepass/config"
	"github.com/gatepass/gatepass/hooks/refs"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/internal/yamlfile"
	"github.com/gatepass/gatepass/workspace/profile"
	"github.com/urfave/cli/v2"
)

const checkFilesAbout = `Checks workspace files, profiles and brokers' configurations, and names each
mistake with its line. The keys of a file decide which of the three it is. The
command makes no request and changes nothing. It does not check the owner and mode
of a file: the programs that use it and gatepass doctor do.

The exit code is 1 if a file cannot be used. A warning names something that is
allowed but probably a mistake.

Examples:
  gatepass check workspace.yaml
  gatepass check *.yaml --json`

// Kinds of configuration files.
const (
	kindWorkspace = "workspace file"
	kindProfile   = "profile"
	kindBroker    = "broker configuration"
)

// A checkedFile is the result for one file.
type checkedFile struct {
	File     string   `json:"file"`
	Kind     string   `json:"kind,omitempty"` // "" where it cannot be read
	OK       bool     `json:"ok"`
	Problem  string   `json:"problem,omitempty"` // one line; several mistakes are separated by " / " or ", "
	Warnings []string `json:"warnings"`
}

func CheckCommand(out io.Writer) *cli.Command {
	return &cli.Command{
		Name: "check", Usage: "check a workspace file, a profile or a broker's configuration",
		UsageText: "gatepass check FILE... [--json]", Description: checkFilesAbout,
		Flags:  []cli.Flag{command.JSONFlag()},
		Action: func(c *cli.Context) error { return check(out, c) },
	}
}

func check(out io.Writer, c *cli.Context) error {
	if !c.Args().Present() {
		return command.Usage(c, "name a FILE")
	}
	report := []checkedFile{}
	failed := false
	for _, path := range c.Args().Slice() {
		f := checkFile(path)
		failed = failed || !f.OK
		report = append(report, f)
	}
	var err error
	if c.Bool("json") {
		err = command.WriteJSON(out, report)
	} else {
		for _, f := range report {
			_, writeErr := io.WriteString(out, f.String())
			err = errors.Join(err, writeErr)
		}
	}
	if err == nil && failed {
		return &command.StatusError{Status: command.ExitFailed}
	}
	return err
}

func (f checkedFile) String() string {
	var b strings.Builder
	if f.OK {
		fmt.Fprintf(&b, "%s: ok, a %s\n", usererr.Escape(f.File), f.Kind)
	} else {
		fmt.Fprintf(&b, "%s: %s\n", usererr.Escape(f.File), usererr.Escape(f.Problem))
	}
	for _, text := range f.Warnings {
		fmt.Fprintf(&b, "  warning: %s\n", usererr.Escape(text))
	}
	return b.String()
}

func checkFile(path string) checkedFile {
	f := checkedFile{File: path, Warnings: []string{}}
	kind, err := kindOf(path)
	if err == nil {
		f.Kind = kind
		f.Warnings, err = map[string]func(string) ([]string, error){
			kindWorkspace: checkWorkspaceFile, kindProfile: checkProfile, kindBroker: checkBroker,
		}[kind](path)
	}
	if f.OK = err == nil; err != nil {
		f.Problem = why(err)
	}
	if f.Warnings == nil {
		f.Warnings = []string{}
	}
	return f
}

// why returns the reason of an error, without what the report says already.
func why(err error) string {
	e, ok := errors.AsType[*usererr.Error](err)
	switch {
	case ok && e.Reason != "":
		return e.Reason
	case ok && e.Err != nil:
		return e.Err.Error()
	}
	return err.Error()
}

// The keys that only one kind of file has.
var (
	profileKeys = []string{"spec", "kind", "metadata", "apiVersion", "extends"}
	brokerKeys  = []string{"listen", "callers", "profiles", "store", "audit", "operators", "tls", "github_url"}
)

// kindOf tells the kind of a file by its top-level keys. A file with none of them is a
// workspace file.
func kindOf(path string) (string, error) {
	data, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		return "", plainError(err)
	}
	keys, err := yamlfile.Keys(data)
	if err != nil {
		return "", err
	}
	switch {
	case hasAny(keys, profileKeys):
		return kindProfile, nil
	case hasAny(keys, brokerKeys):
		return kindBroker, nil
	}
	return kindWorkspace, nil
}

func hasAny(keys map[string]bool, of []string) bool {
	for _, key := range of {
		if keys[key] {
			return true
		}
	}
	return false
}

func plainError(err error) error {
	if pathErr, ok := errors.AsType[*os.PathError](err); ok {
		return pathErr.Err
	}
	return err
}

func checkWorkspaceFile(path string) ([]string, error) {
	f, err := config.LoadDraft(path)
	if err != nil {
		return nil, err
	}
	policy, err := refs.Compile(f.Refs)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, r := range policy.Rules() {
		for _, text := range warnings(r) {
			found = append(found, r.Ref+": "+text)
		}
	}
	return found, nil
}

func checkProfile(path string) ([]string, error) {
	p, err := profile.Load(path)
	if err != nil {
		return nil, err
	}
	return p.Warnings, nil
}

// checkBroker checks the broker's file, reads its profiles and compiles its rules.
func checkBroker(path string) ([]string, error) {
	f, err := brokerconfig.LoadDraft(path)
	if err != nil {
		return nil, err
	}
	anybody := func(brokerconfig.Caller) (broker.Identifier, error) { return nil, nil }
	if _, err := f.PolicyBy(anybody); err != nil {
		return nil, err
	}
	found := f.Warnings()
	for _, finding := range brokerconfig.Lint(f) {
		text := finding.Rule + ": " + finding.Text
		if finding.Level == brokerconfig.Failure {
			return found, errors.New(text)
		}
		found = append(found, text)
	}
	return found, nil
}

const lintAbout = `Checks a broker's configuration and its profiles for rules that are probably
mistakes: rules that no caller reaches, rules that match everyone, names that can
belong to another account tomorrow, patterns that match more than they seem to,
adjacent claims in a workspace's ID, and rules that can build one ID from
different claims. It makes no request. The exit code is 1 if there are failures;
warnings are not failures.

Examples:
  gatepass policy lint
  gatepass policy lint --broker broker.yaml --json`

func brokerFlag() cli.Flag {
	return &cli.StringFlag{Name: "broker", Value: brokerconfig.DefaultPath, Usage: "the broker's `FILE`", TakesFile: true}
}

func (cmd commands) lintCommand() *cli.Command {
	return &cli.Command{
		Name: "lint", Usage: "find probable mistakes in a broker's rules",
		UsageText: "gatepass policy lint [--broker FILE] [--json]", Description: lintAbout,
		Flags:  []cli.Flag{brokerFlag(), command.JSONFlag()},
		Action: cmd.lint,
	}
}

type lintReport struct {
	Broker   string                 `json:"broker"`
	Rules    int                    `json:"rules"`
	Failures int                    `json:"failures"`
	Warnings int                    `json:"warnings"`
	Findings []brokerconfig.Finding `json:"findings"`
}

func (cmd commands) lint(c *cli.Context) error {
	if err := command.NoArguments(c); err != nil {
		return err
	}
	file, err := brokerconfig.LoadDraft(c.String("broker"))
	if err != nil {
		return err
	}
	report := lintReport{Broker: c.String("broker"), Rules: len(file.Callers), Findings: brokerconfig.Lint(file)}
	for _, f := range report.Findings {
		if f.Level == brokerconfig.Failure {
			report.Failures++
		} else {
			report.Warnings++
		}
	}
	if c.Bool("json") {
		err = command.WriteJSON(cmd.Stdout, report)
	} else {
		_, err = io.WriteString(cmd.Stdout, report.text(cmd.Screen()))
	}
	if err == nil && report.Failures > 0 {
		return &command.StatusError{Status: command.ExitFailed}
	}
	return err
}

func (r lintReport) text(s command.Screen) string {
	sum := fmt.Sprintf("%s: %d rules, %d failures, %d warnings\n", usererr.Escape(r.Broker), r.Rules, r.Failures, r.Warnings)
	if len(r.Findings) == 0 {
		return sum
	}
	t := command.NewTable("LEVEL", "RULE", "CHECK", "FINDING")
	for _, f := range r.Findings {
		t.Row(f.Level, f.Rule, f.Check, f.Text)
	}
	return t.Text(s) + sum
}

const testAbout = `Tests cases against a broker's rules and profiles, with the broker's own code. It
makes no request: the claims of a case count as proved. The exit code is 1 if a
case does not have the wanted result.

A file of cases is a list in YAML:

  - name: the main branch of widgets
    given:
      method: oidc
      issuer: https://token.actions.githubusercontent.com
      claims: {repository_id: "123456", ref: refs/heads/main}
    asks: {repo: acme/widgets, operation: write}
    want: {workspace: ci-123456, profile: ci, rule: "callers[0]"}
  - name: and no other repository
    given: {method: socket, claims: {uid: 1000}}
    asks: {repo: acme/secrets, operation: read}
    refused: repository

Reasons: host, identity, rule, repository, permission, request.

Examples:
  gatepass policy test --broker broker.yaml cases.yaml`

func (cmd commands) testCommand() *cli.Command {
	return &cli.Command{
		Name: "test", Usage: "test cases against a broker's rules",
		UsageText: "gatepass policy test [--broker FILE] CASES... [--json]", Description: testAbout,
		Flags:  []cli.Flag{brokerFlag(), command.JSONFlag()},
		Action: cmd.test,
	}
}

// maxCases is the largest file of cases, in bytes.
const maxCases = 4 << 20

type testReport struct {
	Broker   string                 `json:"broker"`
	Passed   int                    `json:"passed"`
	Failed   int                    `json:"failed"`
	Outcomes []brokerconfig.Outcome `json:"outcomes"`
}

func (cmd commands) test(c *cli.Context) error {
	if !c.Args().Present() {
		return command.Usage(c, "a file of cases is missing")
	}
	file, err := brokerconfig.LoadDraft(c.String("broker"))
	if err != nil {
		return err
	}
	tester, err := brokerconfig.NewTester(file)
	if err != nil {
		return err
	}
	report := testReport{Broker: c.String("broker")}
	for _, path := range c.Args().Slice() {
		cases, err := loadCases(path)
		if err != nil {
			return usererr.Wrap("read the cases "+path, err, "correct the file")
		}
		for _, one := range cases {
			report.add(tester.Try(c.Context, one))
		}
	}
	if c.Bool("json") {
		err = command.WriteJSON(cmd.Stdout, report)
	} else {
		_, err = io.WriteString(cmd.Stdout, report.text(cmd.Screen()))
	}
	if err == nil && report.Failed > 0 {
		return &command.StatusError{Status: command.ExitFailed}
	}
	return err
}

func loadCases(path string) ([]brokerconfig.Case, error) {
	data, err := command.ReadBounded(path, maxCases)
	if err != nil {
		return nil, err
	}
	return brokerconfig.ParseCases(data)
}

func (r *testReport) add(o brokerconfig.Outcome) {
	r.Outcomes = append(r.Outcomes, o)
	if o.Passed {
		r.Passed++
	} else {
		r.Failed++
	}
}

func (r testReport) text(s command.Screen) string {
	t := command.NewTable("RESULT", "CASE", "OUTCOME")
	for _, o := range r.Outcomes {
		if o.Passed {
			t.Row("passed", o.Case, o.Got)
		} else {
			t.Row("FAILED", o.Case, o.Got+"; wanted "+o.Wanted)
		}
	}
	return t.Text(s) + fmt.Sprintf("%d passed, %d failed\n", r.Passed, r.Failed)
}
