package render

import (
	"fmt"
	"slices"
	"strings"
	"text/template"
	"text/template/parse"
)

// maxSteps is how many template nodes may be evaluated for one Secret. A node in a
// range counts as often as the range can run at most, whatever the token has.
const maxSteps = 50_000

// The most repetitions of a range over them: the most that GitHub grants with one
// token, and that a spec can name.
const (
	maxRepositories = 500
	maxPermissions  = 200
)

var (
	publicFields  = []string{"ExpiresAt", "Permissions", "Repositories", "Username"}
	privateFields = append([]string{"Token"}, publicFields...)
)

// checkProgram refuses a template that could run for long, calls a forbidden function,
// or names an unknown field. It counts the template's steps.
func (r *renderer) checkProgram(t *template.Template, fields []string) error {
	p := &program{fields: fields}
	for _, one := range t.Templates() {
		if one.Name() != "" {
			return fmt.Errorf("define and block are not supported; write the text where it is used")
		}
	}
	if t.Tree == nil {
		return nil
	}
	r.used.steps += p.list(t.Root, true)
	if p.err != nil {
		return p.err
	}
	if r.used.steps > maxSteps {
		return &limitError{fmt.Sprintf("the templates of this Secret take more than %d steps; shorten them, especially inside range", maxSteps)}
	}
	return nil
}

// A program is a walk over one template. Its methods return the largest number of nodes
// evaluated.
type program struct {
	fields  []string
	inRange bool
	err     error // the first problem
}

func (p *program) refuse(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf(format, args...)
	}
}

// list walks over a list of nodes. atTop says that the dot is still the top-level data.
func (p *program) list(list *parse.ListNode, atTop bool) int {
	if list == nil {
		return 0
	}
	steps := 0
	for _, node := range list.Nodes {
		steps += p.node(node, atTop)
	}
	return steps
}

func (p *program) node(node parse.Node, atTop bool) int {
	switch n := node.(type) {
	case *parse.TextNode, *parse.CommentNode, *parse.BreakNode, *parse.ContinueNode:
		return 1
	case *parse.ActionNode:
		return 1 + p.pipe(n.Pipe, atTop)
	case *parse.IfNode:
		return 1 + p.pipe(n.Pipe, atTop) + p.list(n.List, atTop) + p.list(n.ElseList, atTop)
	case *parse.WithNode:
		return 1 + p.pipe(n.Pipe, atTop) + p.list(n.List, false) + p.list(n.ElseList, atTop)
	case *parse.RangeNode:
		return 1 + p.loop(n, atTop)
	}
	p.refuse("%s is not supported; templates have if, else, with, range and variables", shown(node))
	return 1
}

// loop walks over a range. A range must be over .Repositories or .Permissions, and must
// not contain another range.
func (p *program) loop(n *parse.RangeNode, atTop bool) int {
	if p.inRange {
		p.refuse("a range cannot have another one inside")
		return 1
	}
	p.pipe(n.Pipe, atTop)
	times := iterations(n.Pipe, atTop)
	if times == 0 {
		p.refuse("range is over .Repositories or .Permissions, not over %s", shown(n.Pipe))
		return 1
	}
	p.inRange = true
	steps := 1 + times*p.list(n.List, false)
	p.inRange = false
	return steps + p.list(n.ElseList, atTop)
}

// iterations returns how often a range can run, or 0 if it is refused.
func iterations(pipe *parse.PipeNode, atTop bool) int {
	if len(pipe.Cmds) != 1 || len(pipe.Cmds[0].Args) != 1 {
		return 0
	}
	var names []string
	switch n := pipe.Cmds[0].Args[0].(type) {
	case *parse.FieldNode:
		if atTop {
			names = n.Ident
		}
	case *parse.VariableNode:
		if n.Ident[0] == "$" {
			names = n.Ident[1:]
		}
	}
	switch strings.Join(names, ".") {
	case "Repositories":
		return maxRepositories
	case "Permissions":
		return maxPermissions
	}
	return 0
}

func (p *program) pipe(pipe *parse.PipeNode, atTop bool) int {
	steps := 1
	for _, variable := range pipe.Decl {
		if variable.Ident[0] == "$" {
			p.refuse("$ is all of the data and cannot be set; name the variable")
		}
	}
	for _, command := range pipe.Cmds {
		for _, arg := range command.Args {
			steps += 1 + p.argument(arg, atTop)
		}
	}
	return steps
}

func (p *program) argument(arg parse.Node, atTop bool) int {
	switch n := arg.(type) {
	case *parse.PipeNode:
		return p.pipe(n, atTop)
	case *parse.ChainNode:
		return p.argument(n.Node, atTop)
	case *parse.IdentifierNode:
		p.function(n.Ident)
	case *parse.FieldNode:
		if atTop {
			p.field(n.Ident[0])
		}
	case *parse.VariableNode:
		if n.Ident[0] == "$" && len(n.Ident) > 1 {
			p.field(n.Ident[1])
		}
	}
	return 0
}

func (p *program) function(name string) {
	ours := []string{"b64enc", "default", "toJson", "urlquery"}
	if !slices.Contains(ours, name) && !slices.Contains(allowedFunctions, name) {
		p.refuse("the function %s is unknown; templates have %s", name, strings.Join(append(ours, allowedFunctions...), ", "))
	}
}

func (p *program) field(name string) {
	switch {
	case slices.Contains(p.fields, name):
	case name == "Token":
		p.refuse("an annotation cannot hold the token; write it into template or extraData")
	default:
		p.refuse(".%s is unknown; templates have .%s", name, strings.Join(p.fields, ", ."))
	}
}

// shown returns the beginning of a node's source text.
func shown(node parse.Node) string {
	text := node.String()
	if len(text) > 40 {
		text = strings.ToValidUTF8(text[:40], "") + "…"
	}
	return text
}
