// Package argocd holds the health checks against the reasons of the operator.
package argocd

import (
	_ "embed"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	lua "github.com/yuin/gopher-lua"
	"sigs.k8s.io/yaml"

	v1 "github.com/gatepass/gatepass/operator/api/v1"
)

//go:embed argocd-cm.yaml
var configMap []byte

// scripts returns the health check of each kind.
func scripts(t *testing.T) map[string]string {
	t.Helper()
	var read struct {
		Data map[string]string `json:"data"`
	}
	if err := yaml.Unmarshal(configMap, &read); err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for key, script := range read.Data {
		kind, is := strings.CutPrefix(key, "resource.customizations.health."+v1.Group+"_")
		if !is {
			t.Errorf("Argo CD does not know the key %s", key)
		}
		found[kind] = script
	}
	if kinds := slices.Sorted(maps.Keys(found)); !slices.Equal(kinds, []string{"App", "ClusterToken", "Token"}) {
		t.Fatalf("there are checks for %q", kinds)
	}
	return found
}

// A condition is the status and the reason of Ready.
type condition struct{ status, reason string }

// healths are what Argo CD is to say to each reason of Ready.
var healths = map[condition]string{
	{"True", v1.ReasonRefreshed}:       "Healthy",
	{"True", v1.ReasonReady}:           "Healthy",
	{"False", v1.ReasonFailed}:         "Degraded",
	{"False", v1.ReasonAppNotFound}:    "Degraded",
	{"False", v1.ReasonNotPermitted}:   "Degraded",
	{"False", v1.ReasonInvalidSpec}:    "Degraded",
	{"False", v1.ReasonSecretConflict}: "Degraded",
	{"False", v1.ReasonKeyInvalid}:     "Degraded",
	{"False", "OfALaterVersion"}:       "Degraded",
	{"False", v1.ReasonRateLimited}:    "Progressing",
	{"False", v1.ReasonAppNotReady}:    "Progressing",
	{"False", v1.ReasonProgressing}:    "Progressing",
	{"Unknown", v1.ReasonProgressing}:  "Progressing",
	{"Unknown", v1.ReasonFailed}:       "Progressing",
	{"False", v1.ReasonSuspended}:      "Suspended",
}

func TestEveryReasonHasAHealth(t *testing.T) {
	for kind, script := range scripts(t) {
		for ready, want := range healths {
			object := map[string]any{
				"metadata": map[string]any{"generation": 2},
				"status": map[string]any{"observedGeneration": 2, "conditions": []any{
					map[string]any{"type": "Permitted", "status": "False", "reason": "NotPermitted", "message": "of another condition"},
					map[string]any{"type": "Ready", "status": ready.status, "reason": ready.reason, "message": "why"},
					map[string]any{"type": "Stalled", "status": "True", "reason": "InvalidSpec", "message": "of another condition"},
				}},
			}
			if health, message := check(t, script, object); health != want || message != "why" {
				t.Errorf("%s: Ready=%s %s is %s %q, want %s", kind, ready.status, ready.reason, health, message, want)
			}
		}
	}
	judged := map[string]bool{v1.ReasonPermitted: true} // of Permitted alone
	for ready := range healths {
		judged[ready.reason] = true
	}
	for _, reason := range reasons(t) {
		if !judged[reason] {
			t.Errorf("the table above has no row for the reason %s", reason)
		}
	}
}

// An object that the operator has not looked at has no health yet: a Ready of the spec
// before would let a sync go on with the old token.
func TestAnOldStatusIsProgressing(t *testing.T) {
	ready := []any{map[string]any{"type": "Ready", "status": "True", "reason": "Refreshed", "message": "why"}}
	for what, object := range map[string]map[string]any{
		"no status":         {"metadata": map[string]any{"generation": 1}},
		"no conditions":     {"metadata": map[string]any{"generation": 1}, "status": map[string]any{"observedGeneration": 1}},
		"no Ready":          {"metadata": map[string]any{"generation": 1}, "status": map[string]any{"observedGeneration": 1, "conditions": []any{}}},
		"an older spec":     {"metadata": map[string]any{"generation": 2}, "status": map[string]any{"observedGeneration": 1, "conditions": ready}},
		"no generation yet": {"metadata": map[string]any{"generation": 1}, "status": map[string]any{"conditions": ready}},
	} {
		for kind, script := range scripts(t) {
			if health, message := check(t, script, object); health != "Progressing" || message == "" {
				t.Errorf("%s with %s is %s %q, want Progressing", kind, what, health, message)
			}
		}
	}
}

// check runs a script as Argo CD does: the object is the global obj, and the script
// returns a table.
func check(t *testing.T, script string, object map[string]any) (health, message string) {
	t.Helper()
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for name, open := range map[string]lua.LGFunction{lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable, lua.StringLibName: lua.OpenString} {
		if err := state.CallByParam(lua.P{Fn: state.NewFunction(open), Protect: true}, lua.LString(name)); err != nil {
			t.Fatal(err)
		}
	}
	state.SetGlobal("obj", value(state, object))
	if err := state.DoString(script); err != nil {
		t.Fatal(err)
	}
	result, is := state.Get(-1).(*lua.LTable)
	if !is {
		t.Fatalf("the script returns %s", state.Get(-1).Type())
	}
	return result.RawGetString("status").String(), result.RawGetString("message").String()
}

// value makes a Lua value of a JSON one.
func value(state *lua.LState, from any) lua.LValue {
	switch from := from.(type) {
	case string:
		return lua.LString(from)
	case int:
		return lua.LNumber(from)
	case []any:
		table := state.NewTable()
		for _, one := range from {
			table.Append(value(state, one))
		}
		return table
	case map[string]any:
		table := state.NewTable()
		for key, one := range from {
			table.RawSetString(key, value(state, one))
		}
		return table
	}
	return lua.LNil
}

// reasons returns the reasons that package v1 declares.
func reasons(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../../operator/api/v1/names.go", nil, 0)
	if err != nil {
		t.Skip("the module's source is not here: ", err)
	}
	var found []string
	ast.Inspect(file, func(node ast.Node) bool {
		spec, is := node.(*ast.ValueSpec)
		if is && strings.HasPrefix(spec.Names[0].Name, "Reason") {
			reason, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, reason)
		}
		return true
	})
	if len(found) < 13 {
		t.Errorf("%d reasons were found", len(found))
	}
	return found
}
