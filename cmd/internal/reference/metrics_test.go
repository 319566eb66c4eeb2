package reference

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// A metric is one that a program exposes to Prometheus.
type metric struct {
	Name   string
	Help   string
	Labels []string
}

// metricFiles are the source files that make metrics, and the prefix of their names
// there.
var metricFiles = []struct {
	title  string
	prefix string
	file   string
}{
	{"The broker", "gatepass_broker_", "broker/serve/metrics.go"},
	{"The broker", "gatepass_broker_", "broker/serve/gateway.go"},
	{"The broker", "gatepass_broker_app_", "broker/serve/metrics_apps.go"},
	{"The refresher", "", "cmd/gatepass-refresher/metrics.go"},
	{"The operator", "gatepass_operator_", "operator/metrics.go"},
	{"`gatepass probe`", "gatepass_probe_", "cmd/gatepass/probe.go"},
	{"The refresher and `gatepass probe`", "", "internal/exposition/exposition.go"},
}

// metricsPage returns the page of the metrics, in Markdown, from the source in root.
func metricsPage(root string) (string, error) {
	var b strings.Builder
	b.WriteString("# Metrics\n\nWhat `/metrics` shows to Prometheus. Alerts are in [deploy/prometheus](../../deploy/prometheus).\n")
	title := ""
	for _, f := range metricFiles {
		found, err := metricsIn(filepath.Join(root, f.file), f.prefix)
		if err != nil {
			return "", err
		}
		if f.title != title {
			title = f.title
			fmt.Fprintf(&b, "\n## %s\n\n", title)
			if f.prefix == "gatepass_operator_" {
				b.WriteString("Each is there under the name without `gatepass_operator_` as well, which `github-token-manager` gave it.\n\n")
			}
			b.WriteString("| metric | labels | is |\n|---|---|---|\n")
		}
		for _, m := range found {
			labels := ""
			if len(m.Labels) > 0 {
				labels = "`" + strings.Join(m.Labels, "`, `") + "`"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", m.Name, labels, strings.TrimSuffix(cell(m.Help), "."))
		}
	}
	return b.String(), nil
}

// metricsIn finds the metrics that a source file makes: a name and a sentence next to
// each other, as arguments or as the fields Name and Help.
func metricsIn(file, prefix string) ([]metric, error) {
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		return nil, err
	}
	shared := descLabels(parsed)
	var all []metric
	labelled := map[ast.Node][]string{}
	ast.Inspect(parsed, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			if m, ok := positional(n.Args); ok {
				all = append(all, m)
			}
			if len(n.Args) == 2 {
				labelled[n.Args[0]] = listOf(n.Args[1])
			}
		case *ast.CompositeLit:
			if m, ok := positional(n.Elts); ok {
				all = append(all, m)
			} else if m, ok := fields(n); ok {
				m.Labels = append(m.Labels, labelled[n]...)
				all = append(all, m)
			}
		}
		return true
	})
	for i := range all {
		all[i].Name = prefix + all[i].Name
		if all[i].Labels == nil {
			all[i].Labels = shared
		}
	}
	return all, nil
}

var (
	metricName = regexp.MustCompile(`^[a-z][a-z0-9_]+$`)
	sentence   = regexp.MustCompile(`^[A-Z].*\.$`)
)

// positional finds a name and a sentence in a list; texts after them are labels.
func positional(list []ast.Expr) (metric, bool) {
	for i := 1; i < len(list); i++ {
		name, help := literal(list[i-1]), literal(list[i])
		if !metricName.MatchString(name) || !sentence.MatchString(help) {
			continue
		}
		m := metric{Name: name, Help: help}
		for _, more := range list[i+1:] {
			if label := literal(more); metricName.MatchString(label) {
				m.Labels = append(m.Labels, label)
			}
			m.Labels = append(m.Labels, listOf(more)...)
		}
		return m, true
	}
	return metric{}, false
}

// fields finds the fields Name and Help of a composite, and constant labels.
func fields(c *ast.CompositeLit) (m metric, ok bool) {
	for _, e := range c.Elts {
		kv, isField := e.(*ast.KeyValueExpr)
		if !isField {
			continue
		}
		key, isName := kv.Key.(*ast.Ident)
		if !isName {
			continue
		}
		switch key.Name {
		case "Name":
			m.Name = literal(kv.Value)
		case "Help":
			m.Help = literal(kv.Value)
		case "ConstLabels":
			if labels, isMap := kv.Value.(*ast.CompositeLit); isMap {
				for _, l := range labels.Elts {
					m.Labels = append(m.Labels, literal(l.(*ast.KeyValueExpr).Key))
				}
			}
		}
	}
	return m, m.Name != "" && m.Help != ""
}

// descLabels returns the labels in a file whose descriptions are all made by one call
// of NewDesc.
func descLabels(file *ast.File) (labels []string) {
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) != 4 {
			return true
		}
		if f, ok := call.Fun.(*ast.SelectorExpr); ok && f.Sel.Name == "NewDesc" && literal(call.Args[1]) == "" {
			labels = listOf(call.Args[2])
		}
		return true
	})
	return labels
}

// listOf returns the strings of a list of strings.
func listOf(e ast.Expr) (all []string) {
	list, ok := e.(*ast.CompositeLit)
	if !ok {
		return nil
	}
	for _, item := range list.Elts {
		if text := literal(item); text != "" {
			all = append(all, text)
		}
	}
	return all
}

// literal returns the value of a string literal, "" for anything else. Of a sum it
// returns the last part: the other one is a prefix.
func literal(e ast.Expr) string {
	if sum, ok := e.(*ast.BinaryExpr); ok {
		return literal(sum.Y)
	}
	basic, ok := e.(*ast.BasicLit)
	if !ok || basic.Kind != token.STRING {
		return ""
	}
	text, err := strconv.Unquote(basic.Value)
	if err != nil {
		return ""
	}
	return text
}
