package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/internal/usererr"
)

const (
	maxText  = 4096 // bytes in an expression
	maxDepth = 50   // levels of nesting
	// maxCost limits an evaluation, in CEL's units: a comparison costs about one, a
	// character of a text a tenth. It allows some milliseconds.
	maxCost = 100_000

	maxShown = 3 // errors shown for one expression
)

// A Condition is a compiled expression. Compile makes it; the zero Condition matches no
// caller.
//
// It is a CEL expression (https://cel.dev), for what claims and patterns cannot
// express:
//
//	claims.ref.startsWith('refs/heads/') && claims.repository_owner_id == '123'
//
// Its variables are claims (what was proved), method and subject. It reads nothing
// else, always ends, and costs a bounded amount of work.
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

// Compile compiles an expression. Its result must be a boolean for all claims. The
// error is one line with the positions of the mistakes.
func Compile(text string) (*Condition, error) {
	env, err := environment()
	if err != nil {
		return nil, err
	}
	ast, issues := env.Compile(text)
	if issues.Err() != nil {
		return nil, compileErrors(issues)
	}
	if !ast.OutputType().IsExactType(cel.BoolType) {
		return nil, fmt.Errorf("the expression has the type %s; it must be bool, such as a comparison", ast.OutputType())
	}
	program, err := env.Program(ast, cel.CostLimit(maxCost), cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return nil, errors.New("the expression cannot be used: " + usererr.Escape(err.Error()))
	}
	return &Condition{text: text, ast: ast, program: program}, nil
}

// compileErrors returns the compiler's messages as one line.
func compileErrors(issues *cel.Issues) error {
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

// Match implements [broker.Matcher]. It returns an error if the expression cannot be
// evaluated, for example because a claim is missing.
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
		return false, errors.New("evaluate the condition: its result is neither true nor false")
	}
	return is, nil
}

// valueOf converts JSON's numbers to CEL's. A number that CEL cannot hold exactly stays
// a text, which equals no number.
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

// Claims returns the names of the claims that the expression reads, sorted. Of a path
// it returns the first name, such as "kubernetes.io" for
// claims['kubernetes.io'].namespace.
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

// LoosePatterns returns the patterns in calls of matches that can match a part of a text: CEL's
// matches does not require a whole match.
func (c *Condition) LoosePatterns() []string {
	var patterns []string
	c.visit(func(e expression) {
		if pattern, ok := e.pattern(); ok && !isAnchored(pattern) {
			patterns = append(patterns, pattern)
		}
	})
	return patterns
}

// An expression is a node of the syntax tree.
type expression struct{ ast.Expr }

// visit calls show for all expressions inside.
func (c *Condition) visit(show func(expression)) {
	if c.ast == nil {
		return
	}
	root := ast.NavigateAST(c.ast.NativeRep())
	ast.PostOrderVisit(root, ast.NewExprVisitor(func(e ast.Expr) { show(expression{e}) }))
}

// claim returns the name in claims.name, claims['name'] and 'name' in claims.
func (e expression) claim() (string, bool) {
	switch e.Kind() {
	case ast.SelectKind:
		if isClaims(e.AsSelect().Operand()) {
			return e.AsSelect().FieldName(), true
		}
	case ast.CallKind:
		args := e.AsCall().Args()
		switch e.AsCall().FunctionName() {
		case operators.Index:
			if isClaims(args[0]) {
				return literal(args[1])
			}
		case operators.In:
			if isClaims(args[1]) {
				return literal(args[0])
			}
		}
	}
	return "", false
}

// pattern returns the pattern of a call of matches, if it is a literal.
func (e expression) pattern() (string, bool) {
	if e.Kind() != ast.CallKind || e.AsCall().FunctionName() != "matches" {
		return "", false
	}
	args := e.AsCall().Args()
	return literal(args[len(args)-1])
}

func isClaims(e ast.Expr) bool { return e.Kind() == ast.IdentKind && e.AsIdent() == "claims" }

func literal(e ast.Expr) (string, bool) {
	if e.Kind() != ast.LiteralKind {
		return "", false
	}
	text, ok := e.AsLiteral().Value().(string)
	return text, ok
}

// A shape describes the syntax of a pattern.
type shape struct {
	anchors  bool // ^ or $, which have no effect here
	anyOne   bool // a dot that matches any one character: probably a literal dot was meant
	crossing bool // a repetition that matches colons
}

func shapeOf(pattern string) shape {
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return shape{} // it compiled before
	}
	var s shape
	s.inspect(re, false)
	return s
}

func (s *shape) inspect(re *syntax.Regexp, isRepeated bool) {
	switch re.Op {
	case syntax.OpBeginText, syntax.OpEndText, syntax.OpBeginLine, syntax.OpEndLine:
		s.anchors = true
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		s.anyOne = s.anyOne || !isRepeated
		s.crossing = s.crossing || isRepeated
	case syntax.OpCharClass:
		s.crossing = s.crossing || isRepeated && hasRune(re.Rune, ':')
	case syntax.OpStar, syntax.OpPlus, syntax.OpQuest, syntax.OpRepeat:
		isRepeated = isRepeated || re.Op != syntax.OpQuest
	}
	for _, sub := range re.Sub {
		s.inspect(sub, isRepeated)
	}
}

// hasRune reports whether a class, given as pairs of first and last rune, contains r.
func hasRune(ranges []rune, r rune) bool {
	for i := 0; i+1 < len(ranges); i += 2 {
		if ranges[i] <= r && r <= ranges[i+1] {
			return true
		}
	}
	return false
}

// isAnchored reports whether a pattern matches only whole texts. Anchors at its two ends
// are not enough: "^a|b$" matches texts that only begin with a.
func isAnchored(pattern string) bool {
	re, err := syntax.Parse(pattern, syntax.Perl)
	return err == nil && isAt(re, syntax.OpBeginText, 0) && isAt(re, syntax.OpEndText, -1)
}

// isAt reports whether every text that re matches has the anchor at one end: at its
// first part, or if part is less than 0 at its last.
func isAt(re *syntax.Regexp, anchor syntax.Op, part int) bool {
	switch re.Op {
	case anchor:
		return true
	case syntax.OpCapture:
		return isAt(re.Sub[0], anchor, part)
	case syntax.OpConcat:
		if part < 0 {
			return isAt(re.Sub[len(re.Sub)-1], anchor, part)
		}
		return isAt(re.Sub[0], anchor, part)
	case syntax.OpAlternate:
		for _, one := range re.Sub {
			if !isAt(one, anchor, part) {
				return false
			}
		}
		return true
	}
	return false
}
