package config

import (
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
)

// An expression is a node of the syntax tree.
type expression struct{ ast.Expr }

// visit shows all expressions inside.
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

// pattern returns the literal pattern of a call of matches.
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
