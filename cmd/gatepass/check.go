package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/gatepass/gatepass/broker"
	brokerconfig "github.com/gatepass/gatepass/broker/config"
	"github.com/gatepass/gatepass/config"
	"github.com/gatepass/gatepass/hooks/refs"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/internal/yamlfile"
	"github.com/gatepass/gatepass/workspace/profile"
	"github.com/urfave/cli/v2"
)

const checkFilesAbout = `Reads workspace files, profiles and configurations of brokers, and says what is
wrong and in which line. It tells by the keys of a file which of the three it is.
It asks and changes nothing. Who owns a file does not matter here: the programs
that use it look at that, and gatepass doctor says so.

The exit status is 1 where a file cannot be used. What is allowed but probably not
meant is a warning.

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

func checkCommand(out io.Writer) *cli.Command {
	return &cli.Command{
		Name: "check", Usage: "say what is wrong in a workspace file, a profile or a broker's configuration",
		UsageText: "gatepass check FILE... [--json]", Description: checkFilesAbout,
		Flags:  []cli.Flag{jsonFlag()},
		Action: func(c *cli.Context) error { return check(out, c) },
	}
}

func check(out io.Writer, c *cli.Context) error {
	if !c.Args().Present() {
		return usage(c, "name a FILE")
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
		err = writeJSON(out, report)
	} else {
		for _, f := range report {
			_, writeErr := io.WriteString(out, f.String())
			err = errors.Join(err, writeErr)
		}
	}
	if err == nil && failed {
		return &statusError{status: exitFailed}
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
		return "", bareError(err)
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

func bareError(err error) error {
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
