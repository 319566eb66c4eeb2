package cmd_test

import (
	"cmp"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
)

// floors are the folders from the lowest to the highest. A folder may import those on
// its own floor and below. If two entries contain a folder, the longer one counts.
var floors = [][]string{
	{"internal", "api"},
	{"credential", "hooks/refs", "store"},
	{"config", "hooks", "mint"},
	{"workspace", "install"},
	{"issuing"},
	{"broker", "operator"},
	{"cmd", "test", "deploy"},
}

// exceptions are imports of a higher floor. There may be at most two.
var exceptions = map[[2]string]string{
	{"credential/agent/server", "config"}: "the agent reads the workspace file again whenever it changes, so it needs its parser",
}

// The test doubles are the roof: only tests and the demo import them.
var roof = map[[2]string]string{
	{"cmd/internal/demo", "test/fakegithub"}: "gatepass demo tells its story before the double of GitHub",
}

// TestFloors enforces the order in ARCHITECTURE.md: no folder imports one above it, and
// only folders in test import test.
func TestFloors(t *testing.T) {
	needModule(t)
	used := map[[2]string]bool{}
	for from, imports := range importsOf(t) {
		for _, to := range imports {
			pair := [2]string{from, to}
			isUp := floorOf(t, from) < floorOf(t, to)
			isRoof := isIn(to, "test") && !isIn(from, "test")
			if !isUp && !isRoof {
				continue
			}
			used[pair] = true
			if cmp.Or(exceptions[pair], roof[pair]) == "" {
				t.Errorf("%s imports %s, which stands above it", from, to)
			}
		}
	}
	if n := len(exceptions) + len(roof); n > 2 {
		t.Errorf("there are %d exceptions, want two at most", n)
	}
	for _, list := range []map[[2]string]string{exceptions, roof} {
		for pair := range list {
			if !used[pair] {
				t.Errorf("%s does not import %s: take the exception away", pair[0], pair[1])
			}
		}
	}
}

// importsOf returns, for each folder, the folders of this module that its code imports,
// without tests.
func importsOf(t *testing.T) map[string][]string {
	t.Helper()
	packages, err := listPackages()
	if err != nil {
		t.Fatal("go list: ", err)
	}
	all := map[string][]string{}
	for from, p := range packages {
		all[from] = nil
		for _, to := range p.imports {
			if ours, ok := strings.CutPrefix(to, module); ok {
				all[from] = append(all[from], ours)
			}
		}
	}
	return all
}

// listed is a package of this module without its tests, in the form that ships.
type listed struct {
	imports []string
	links   []string // all that it imports, itself or through others
}

// listPackages lists the packages of this module by folder. Each call of the go command
// reads all dependencies again, so all tests share one.
var listPackages = sync.OnceValues(func() (map[string]listed, error) {
	cmd := exec.Command("go", "list", "-tags", "lambda.norpc", "-f", `{{.ImportPath}}|{{join .Imports " "}}|{{join .Deps " "}}`, module+"...")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	all := map[string]listed{}
	for line := range strings.Lines(string(out)) {
		fields := strings.Split(line, "|")
		all[strings.TrimPrefix(fields[0], module)] = listed{strings.Fields(fields[1]), strings.Fields(fields[2])}
	}
	return all, nil
})

func isIn(folder, parent string) bool {
	return folder == parent || strings.HasPrefix(folder, parent+"/")
}

// floorOf returns the number of a folder's floor.
func floorOf(t *testing.T, folder string) int {
	t.Helper()
	floor, longest := -1, 0
	for i, entries := range floors {
		for _, entry := range entries {
			if isIn(folder, entry) && len(entry) > longest {
				floor, longest = i, len(entry)
			}
		}
	}
	if floor < 0 {
		t.Errorf("%s is on no floor", folder)
	}
	return floor
}

// TestFloorsKnowUpFromDown makes sure that TestFloors can fail.
func TestFloorsKnowUpFromDown(t *testing.T) {
	needModule(t)
	for _, c := range []struct {
		below, above string
	}{
		{"internal/usererr", "credential"},
		{"api", "credential/brokerclient"},
		{"hooks/refs", "hooks"},
		{"store/kubernetes", "workspace"},
		{"mint/awskms", "issuing/manifestflow"},
		{"issuing", "broker/serve"},
		{"hooks/refs", "broker/gateway/push"},
		{"broker/console", "cmd/gatepass"},
	} {
		if floorOf(t, c.below) >= floorOf(t, c.above) {
			t.Errorf("%s is not below %s", c.below, c.above)
		}
	}
	if imports := importsOf(t)["mint"]; !slices.Contains(imports, "credential") {
		t.Errorf("mint imports %q, want credential among them", imports)
	}
}

// TestAPushIsDecidedApart keeps the code that decides on a push independent of the
// broker: it is tested with bytes alone.
func TestAPushIsDecidedApart(t *testing.T) {
	needModule(t)
	all := importsOf(t)
	for _, from := range []string{"broker/gateway/push", "broker/gateway/advert", "broker/gateway/pktline"} {
		if _, ok := all[from]; !ok {
			t.Errorf("there is no %s", from)
		}
		for _, to := range all[from] {
			if to != "hooks/refs" && to != "broker/gateway/pktline" && !isIn(to, "internal") {
				t.Errorf("%s imports %s, want hooks/refs and internal only", from, to)
			}
		}
	}
}
