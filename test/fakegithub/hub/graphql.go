package hub

import (
	_ "embed"
	"net/http"

	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/validator"
	"github.com/vektah/gqlparser/v2/validator/rules"

	"github.com/gatepass/gatepass/test/fakegithub"
)

// graphQLSource is the modeled part of GitHub's published schema, word for word. From
// the npm package @octokit/graphql-schema 15.26.1 (MIT).
//
//go:embed testdata/graphql/schema.graphql
var graphQLSource string

//go:embed testdata/graphql/newer.graphql
var newerSource string

func loadSchema() (*ast.Schema, error) {
	return gqlparser.LoadSchema(&ast.Source{Name: "schema.graphql", Input: graphQLSource}, &ast.Source{Name: "newer.graphql", Input: newerSource})
}

// queryRules are GraphQL's validation rules, without the one that GitHub does not
// apply: gh requests fields of the same name and different types from objects of two
// types.
var queryRules = func() *rules.Rules {
	r := rules.NewDefaultRules()
	r.RemoveRule("OverlappingFieldsCanBeMerged")
	return r
}()

func (h *Hub) graphQLRoutes() {
	h.s.Handle("POST /graphql", func(c fakegithub.Call) fakegithub.Answer {
		if c.Enterprise() {
			return *c.Refuse(http.StatusNotFound, "Not Found")
		}
		return h.answerGraphQL(c)
	})
	h.s.Handle("POST /api/graphql", h.answerGraphQL)
}

// A question is the body of a GraphQL call.
type question struct {
	Query         string
	Variables     object
	OperationName string
	Extensions    any
}

// answerGraphQL answers one operation. The status is 200 even for errors.
func (h *Hub) answerGraphQL(c fakegithub.Call) fakegithub.Answer {
	if c.Bot() == "" {
		return *c.Refuse(http.StatusUnauthorized, "This endpoint requires you to be authenticated.")
	}
	var in question
	if no := c.Decode(&in); no != nil {
		return *no
	}
	doc, errs := gqlparser.LoadQueryWithRules(h.schema, in.Query, queryRules)
	if errs != nil {
		return ok(object{"errors": errs})
	}
	op := doc.Operations.ForName(in.OperationName)
	if op == nil {
		return ok(object{"errors": []graphError{{Message: "No operation named " + in.OperationName}}})
	}
	vars, err := validator.VariableValues(h.schema, op, in.Variables)
	if err != nil {
		return ok(object{"errors": []graphError{{Message: err.Error()}}})
	}
	return ok(h.execute(c, op, vars))
}

// execute executes an operation with the hub's state locked.
func (h *Hub) execute(c fakegithub.Call, op *ast.OperationDefinition, vars object) object {
	h.mu.Lock()
	defer h.mu.Unlock()
	x := &execution{schema: h.schema, vars: vars}
	g := graph{c, h, x}
	root := g.query()
	if op.Operation == ast.Mutation {
		root = g.mutation()
	}
	data, whole := x.object(root, op.SelectionSet, nil)
	out := object{"data": data}
	if !whole {
		out["data"] = nil
	}
	if x.errors != nil {
		out["errors"] = x.errors
	}
	return out
}
