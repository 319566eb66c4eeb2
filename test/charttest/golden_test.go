package charttest

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// withoutCRDs takes the CustomResourceDefinitions out of a rendered chart: other tests
// compare those with deploy/crds.
func withoutCRDs(text string) string {
	var kept []string
	for part := range strings.SplitSeq(text, "\n---\n") {
		if !strings.Contains(part, "\nkind: CustomResourceDefinition\n") {
			kept = append(kept, part)
		}
	}
	return strings.Join(kept, "\n---\n")
}

// Golden files show a reviewer what a change of the chart does. Update them by
// go test ./test/charttest -update.
func TestTheChartRendersAsBefore(t *testing.T) {
	for name, values := range valueSets(t) {
		got := withoutCRDs(template(t, "--values="+values))
		path := filepath.Join("testdata", "golden", name+".yaml")
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if want := read(t, path); got != want {
			t.Errorf("with the values %s the chart renders differently; look at the difference after: go test ./test/charttest -update", name)
		}
	}
}

// Argo CD shows a difference without end where a chart makes something random, and
// undoes a caBundle that the operator writes.
func TestTwoRendersAreTheSameBytes(t *testing.T) {
	for name, values := range valueSets(t) {
		first := template(t, "--values="+values)
		if second := template(t, "--values="+values); first != second {
			t.Errorf("with the values %s two renders differ", name)
		}
		if strings.Contains(first, "caBundle") || strings.Contains(first, "WebhookConfiguration\n") {
			t.Errorf("with the values %s the chart has a webhook's configuration, which is the operator's own", name)
		}
	}
}

// changing are functions of templates whose answer is another one each time.
var changing = regexp.MustCompile(`\b(lookup|now|ago|rand\w*|shuffle|uuidv4|genCA\w*|genSelfSigned\w*|genSigned\w*|genPrivateKey|derivePassword|htpasswd|bcrypt|encryptAES|getHostByName)\b`)

// The same without helm: templates call nothing whose answer changes, and ask no
// cluster.
func TestTemplatesAreFunctionsOfTheValues(t *testing.T) {
	paths, err := filepath.Glob(chart + "/templates/*")
	if err != nil || len(paths) < 5 {
		t.Fatalf("the chart has the templates %q, %v", paths, err)
	}
	for _, path := range paths {
		text := read(t, path)
		for _, call := range changing.FindAllString(text, -1) {
			t.Errorf("%s calls %s", path, call)
		}
	}
}

func TestTheChartLints(t *testing.T) {
	for _, values := range valueSets(t) {
		helm(t, "lint", "--strict", chart, "--values="+values)
	}
}
