package main

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/deploy"
	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/test/stacktest"
	"go.yaml.in/yaml/v3"
)

// newStack reads the function's template, with parameters given as KEY=VALUE.
func newStack(t *testing.T, given ...string) *stacktest.Stack {
	t.Helper()
	return stacktest.New(t, "refresher.yaml", append([]string{"CodeBucket=code"}, given...)...)
}

// inTable are the parameters of a function whose ledger is in DynamoDB.
var inTable = []string{"Table=gatepass", "TablePolicyArn=arn:aws:iam::123456789012:policy/gatepass"}

// The template and the program must agree on every variable and on the payload: three
// layers that did not agree stopped another system for weeks.
func TestTheTemplateIsWhatTheFunctionReads(t *testing.T) {
	for _, given := range [][]string{
		{},
		{"WorkspacesPrefix=/"},
		{"WorkspaceKeys=gatepass-"},
		inTable,
		append([]string{"WorkspacesPrefix=/"}, inTable...),
		{"WorkspaceKeys=km-github-token-", "WorkspacesPrefix=/", "StorePrefix=/km"},
		{"WorkspacesPrefix=/sandboxes/team-a", "StorePrefix=/km/prod", "GitHubUrl=https://ghe.example", "Margin=30m", "Grace=5m", "Adopt=true"},
		{"SigningKeyArn=arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab", "ReservedConcurrency=0"},
	} {
		s := newStack(t, given...)
		found := s.Environment()
		for name := range found {
			if variables[name] == "" {
				t.Errorf("%q: the template sets %s, which the program does not read", given, name)
			}
		}
		i := newInvoked(func(name string) string { return found[name] }, new(logbook))
		if i.err != nil {
			t.Errorf("%q: the function is configured with %v: %v", given, found, i.err)
			continue
		}
		if got := i.refresher.address; got != s.Outputs["StoreUrl"].(map[string]any)["Value"] {
			t.Errorf("%q: the function's store is %s, and the output says %v", given, got, s.Outputs["StoreUrl"])
		}
		if i.refresher.options.adopt != slices.Contains(given, "Adopt=true") || i.refresher.options.margin.String() != s.Parameters["Margin"]+"0s" {
			t.Errorf("%q: the options are %+v", given, i.refresher.options)
		}
	}
}

func TestTheSchedulesPayload(t *testing.T) {
	s := newStack(t)
	for _, target := range s.Properties("Rule")["Targets"].([]any) {
		input, _ := target.(map[string]any)["Input"].(string)
		if q, err := parsePayload([]byte(input)); err != nil || q != (request{}) {
			t.Errorf("the schedule sends %q, which is %+v, %v, want a whole pass", input, q, err)
		}
	}
}

// With workspaces=/, a token is where the first system's workspaces read it.
func TestTheTemplateDeliversWhereWorkspacesRead(t *testing.T) {
	for _, c := range []struct{ prefix, want string }{
		{"", "ssm:///gatepass/sandbox/{workspace}/github-token?region=us-east-1"},
		{"/", "ssm:///sandbox/{workspace}/github-token?region=us-east-1"},
	} {
		for _, s := range []*stacktest.Stack{newStack(t, "WorkspacesPrefix="+c.prefix), newStack(t, append([]string{"WorkspacesPrefix=" + c.prefix}, inTable...)...)} {
			if source, err := issuing.Source(s.Environment()["GATEPASS_STORE"], true); err != nil || source != c.want {
				t.Errorf("with WorkspacesPrefix=%s tokens are at %s, %v, want %s", c.prefix, source, err, c.want)
			}
		}
	}
}

// The function has the fewest permissions. TestRecordedCallsAreAllowed shows that they
// are enough.
func TestThePolicyIsNarrow(t *testing.T) {
	for _, given := range [][]string{{}, {"WorkspacesPrefix=/"}, {"SigningKeyArn=arn:aws:kms:us-east-1:123456789012:key/1"}, {"WorkspaceKeys=km-github-token-", "WorkspacesPrefix=/"}, inTable} {
		for _, st := range newStack(t, given...).Policy("Role") {
			for _, action := range st.Actions {
				if strings.Contains(action, "*") {
					t.Errorf("%s allows %s", st.ID, action)
				}
			}
			for _, resource := range st.Resources {
				if resource == "*" {
					checkUnbound(t, st)
					continue
				}
				if strings.HasSuffix(resource, ":key/*") && !strings.Contains(st.Condition, "aws:ResourceTag/gatepass:store") {
					t.Errorf("%s is about every key, without a condition", st.ID)
				}
				parts := strings.SplitN(resource, ":", 6)
				if len(parts) != 6 || parts[3] != "us-east-1" || parts[4] != "123456789012" || strings.HasPrefix(parts[5], "*") || strings.HasPrefix(parts[5], "parameter/*") {
					t.Errorf("%s is about %s, which is not of this stack", st.ID, resource)
				}
			}
			for _, secret := range []string{"/gatepass/config/github/private-key", "/gatepass/config/github/app-client-id"} {
				resource := "arn:aws:ssm:us-east-1:123456789012:parameter" + secret
				if st.Allows("ssm:PutParameter", resource) || st.Allows("ssm:DeleteParameter", resource) {
					t.Errorf("%s allows to change %s", st.ID, secret)
				}
			}
		}
	}
}

// With a table, the function can access only what workspaces read in Parameter Store.
func TestThePolicyWithATable(t *testing.T) {
	s := newStack(t, inTable...)
	if got := s.Properties("Role")["ManagedPolicyArns"]; !slices.Equal(got.([]any), []any{"arn:aws:iam::123456789012:policy/gatepass"}) {
		t.Errorf("the role has the managed policies %v", got)
	}
	if got := newStack(t).Properties("Role")["ManagedPolicyArns"]; got != nil {
		t.Errorf("without a table the role has the managed policies %v", got)
	}
	for _, st := range s.Policy("Role") {
		for _, resource := range st.Resources {
			if strings.Contains(resource, ":parameter/") && !strings.Contains(resource, ":parameter/gatepass/sandbox/") {
				t.Errorf("%s is about %s", st.ID, resource)
			}
		}
	}
}

// checkUnbound checks a statement for any resource: it may only allow what KMS cannot
// tie to one, and what is created with the store's tag.
func checkUnbound(t *testing.T, st stacktest.Statement) {
	t.Helper()
	for _, action := range st.Actions {
		isTagged := strings.Contains(st.Condition, "aws:RequestTag/gatepass:store") && strings.Contains(st.Condition, "/sandbox/*")
		if action != "kms:ListKeys" && !(isTagged && (action == "kms:CreateKey" || action == "kms:TagResource")) {
			t.Errorf("%s allows %s on anything", st.ID, action)
		}
	}
}

// Alarms match lines that the program writes.
func TestTheAlarmsReadTheLog(t *testing.T) {
	w := newWorld(t)
	w.settle("sb-1")
	if _, err := w.refresh(w.refresher(), request{}); err != nil {
		t.Fatal(err)
	}
	var line map[string]any
	for text := range strings.Lines(w.log.String()) {
		line = nil
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatalf("%q is no JSON: %v", text, err)
		}
	}
	if line["msg"] != "round" || line["level"] != "INFO" {
		t.Fatalf("the last line is %v, want that of the round", line)
	}
	s := newStack(t)
	made := map[string]bool{}
	for _, metric := range []string{"RoundsMetric", "PassesMetric", "FailedMetric", "ExpiredMetric"} {
		pattern := s.Properties(metric)["FilterPattern"].(string)
		transformation := s.Properties(metric)["MetricTransformations"].([]any)[0].(map[string]any)
		value := transformation["MetricValue"].(string)
		made[transformation["MetricName"].(string)] = true
		if !strings.Contains(pattern, `$.msg = "round"`) || !strings.Contains(pattern, `$.msg = "pass"`) {
			t.Errorf("%s matches %s, want the line of a round by both its names", metric, pattern)
		}
		for _, selector := range regexp.MustCompile(`\$\.([a-z_]+)`).FindAllStringSubmatch(pattern+value, -1) {
			if _, ok := line[selector[1]]; !ok {
				t.Errorf("%s looks for %s, which the line of a round does not have", metric, selector[1])
			}
		}
	}
	for _, alarm := range []string{"NoRoundAlarm", "FailedAlarm", "ExpiredAlarm"} {
		if name := s.Properties(alarm)["MetricName"].(string); !made[name] {
			t.Errorf("%s looks at %s, which no filter makes", alarm, name)
		}
	}
}

// Every metric in a rule exists.
func TestTheRulesReadTheMetrics(t *testing.T) {
	text, err := deploy.Files.ReadFile("prometheus/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Rules []struct{ Alert, Expr string }
		}
	}
	if err := yaml.Unmarshal(text, &file); err != nil || len(file.Groups) != 1 || len(file.Groups[0].Rules) == 0 {
		t.Fatalf("alerts.yaml = %+v, %v", file, err)
	}
	m := newMonitor(1)
	m.metrics.rated(mint.Rate{})
	now := time.Now()
	m.end(report{Soonest: &now}, nil, nil)
	known := m.samples(t)
	for _, rule := range file.Groups[0].Rules {
		names := regexp.MustCompile(`gatepass_[a-z_]+`).FindAllString(rule.Expr, -1)
		if len(names) == 0 {
			t.Errorf("%s asks for no metric", rule.Alert)
		}
		for _, name := range names {
			isThere := false
			for sample := range known {
				bare, _, _ := strings.Cut(sample, "{")
				isThere = isThere || bare == name
			}
			if !isThere {
				t.Errorf("%s asks for %s, which there is not", rule.Alert, name)
			}
		}
	}
}

// The units start the program with options that it accepts.
func TestTheUnits(t *testing.T) {
	units, err := deploy.Files.ReadDir("systemd")
	if err != nil {
		t.Fatal(err)
	}
	starts := 0
	for _, unit := range units {
		if !strings.HasPrefix(unit.Name(), "gatepass-refresher") {
			continue // another program's
		}
		text, err := deploy.Files.ReadFile("systemd/" + unit.Name())
		if err != nil {
			t.Fatal(err)
		}
		environment := map[string]string{}
		for line := range strings.Lines(string(text)) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			switch key {
			case "Environment":
				name, value, _ := strings.Cut(value, "=")
				environment[name] = value
				if variables[name] == "" {
					t.Errorf("%s sets %s, which the program does not read", unit.Name(), name)
				}
			case "ExecStart":
				starts++
				args := strings.Fields(value)
				if _, err := parse(args[1:], func(name string) string { return environment[name] }); err != nil || args[0] != "/usr/local/bin/gatepass-refresher" {
					t.Errorf("%s: %s: %v", unit.Name(), line, err)
				}
			}
		}
	}
	if starts != 2 {
		t.Errorf("%d units start the program, want 2", starts)
	}
}
