package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/internal/usererr"
)

const (
	maxText  = 4096 // bytes of an expression
	maxDepth = 50   // of its nesting
	// maxCost bounds an evaluation, in CEL's units (a comparison is about one, a
	// character of a text a tenth): some milliseconds.
	maxCost = 100_000

	maxShown = 3 // errors of one expression
)

// A Condition is a compiled expression. Compile makes it; the zero Condition
// matches nobody.
//
// It is an expression in CEL (https://cel.dev), for what claims and patterns cannot say:
//
//	claims.ref.startsWith('refs/heads/') && claims.repository_owner_id == '123'
//
// It has the variables claims (what was proved), method and subject. It reads nothing
// else, ends, and costs a bounded amount of work.
type Condition struct {
	text    string
	ast     *cel.Ast
	program cel.Program
}

var environment = sync.OnceValues(func() (*cel.Env, error) {
	return cel.NewEnv(
		cel.Variable("claims", cel.MapType(cel.StringType, cel.DynType)),
		cel.Variable("method", cel.StringType),
		cel.Variable("subject", cel.StringType),
		cel.ParserExpressionSizeLimit(maxText),
		cel.ParserRecursionLimit(maxDepth),
	)
})

// Compile returns the condition that an expression describes. It has to be true
// or false whatever the claims are. The error is one line with the places of what
// is wrong.
func Compile(text string) (*Condition, error) {
	env, err := environment()
	if err != nil {
		return nil, err
	}
	ast, issues := env.Compile(text)
	if issues.Err() != nil {
		return nil, places(issues)
	}
	if !ast.OutputType().IsExactType(cel.BoolType) {
		return nil, fmt.Errorf("the expression is of type %s, want bool: compare it with something", ast.OutputType())
	}
	program, err := env.Program(ast, cel.CostLimit(maxCost), cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return nil, errors.New("the expression cannot be used: " + usererr.Escape(err.Error()))
	}
	return &Condition{text: text, ast: ast, program: program}, nil
}

// places folds what the compiler says into one line.
func places(issues *cel.Issues) error {
	var bad []error
	for i, e := range issues.Errors() {
		if i == maxShown {
			break
		}
		bad = append(bad, fmt.Errorf("line %d, column %d of the expression: %s", e.Location.Line(), max(e.Location.Column(), 0)+1, usererr.Escape(e.Message)))
	}
	return usererr.Join(bad...)
}

// String returns the expression as it was written.
func (c *Condition) String() string { return c.text }

// Match implements [broker.Matcher]. An expression that cannot be evaluated, as
// where it names a claim that is missing, is an error.
func (c *Condition) Match(caller broker.Caller) (bool, error) {
	if c.program == nil {
		return false, nil
	}
	value, _, err := c.program.Eval(map[string]any{
		"claims": valueOf(caller.Claims), "method": caller.Method, "subject": caller.Subject,
	})
	if err != nil {
		return false, fmt.Errorf("evaluate the condition: %w", err)
	}
	is, ok := value.Value().(bool)
	if !ok {
		return false, errors.New("evaluate the condition: it is neither true nor false")
	}
	return is, nil
}

// valueOf makes CEL's numbers of JSON's. What no number of CEL holds without loss
// stays a text, and equals no number.
func valueOf(v any) any {
	switch v := v.(type) {
	case map[string]any:
		object := make(map[string]any, len(v))
		for name, member := range v {
			object[name] = valueOf(member)
		}
		return object
	case []any:
		list := make([]any, len(v))
		for i, member := range v {
			list[i] = valueOf(member)
		}
		return list
	case json.Number:
		return numberOf(v.String())
	}
	return v
}

func numberOf(text string) any {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n
	}
	if n, err := strconv.ParseUint(text, 10, 64); err == nil {
		return n
	}
	if strings.ContainsAny(text, ".eE") {
		if f, err := strconv.ParseFloat(text, 64); err == nil {
			return f
		}
	}
	return text
}

// Claims returns the names of the claims that the expression reads, sorted: the
// first name of each, "kubernetes.io" of claims['kubernetes.io'].namespace.
func (c *Condition) Claims() []string {
	var names []string
	c.visit(func(e expression) {
		if name, ok := e.claim(); ok {
			names = append(names, name)
		}
	})
	slices.Sort(names)
	return slices.Compact(names)
}

// Loose returns the patterns given to matches that need not match a whole text:
// CEL's matches is content with a part.
func (c *Condition) Loose() []string {
	var patterns []string
	c.visit(func(e expression) {
		if pattern, ok := e.pattern(); ok && !isWhole(pattern) {
			patterns = append(patterns, pattern)
		}
	})
	return patterns
}
