package serve

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/gateway"
	"github.com/gatepass/gatepass/deploy"
	"github.com/gatepass/gatepass/mint"
)

func scrape(m *Metrics) string {
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	return w.Body.String()
}

func TestWhatIsCounted(t *testing.T) {
	m := NewMetrics("v1.2.3")
	m.Observe(broker.Observation{Endpoint: "token", Status: 200, Method: "socket", Cached: true, Took: time.Millisecond})
	m.Observe(broker.Observation{Endpoint: "token", Status: 403, Reason: broker.ReasonRule, Method: "socket"})
	mints := m.Minted(func(_ context.Context, s broker.Scope) (mint.Minted, error) {
		if s.For == "" {
			return mint.Minted{}, errors.New("no")
		}
		return mint.Minted{}, nil
	})
	_, _ = mints(t.Context(), broker.Scope{For: "acme"})
	_, _ = mints(t.Context(), broker.Scope{})
	m.Pushed("force")
	m.Pushed("force")
	m.Transferred(gateway.Transfer{Service: "git-receive-pack", Status: 200, Outcomes: []string{broker.OutcomeRefused, broker.OutcomeOK}, Checks: []string{"ruleset"}, In: 3})
	m.Transferred(gateway.Transfer{Service: "git-receive-pack", Status: 200, Outcomes: []string{broker.OutcomeRefused}, Checks: []string{""}})
	m.Read(Gauge{Name: "tokens_live", Help: "x", Value: func() float64 { return 7 }})
	got := scrape(m)
	for _, want := range []string{
		`gatepass_broker_requests_total{endpoint="token",method="socket",reason="",status="2xx"} 1`,
		`gatepass_broker_requests_total{endpoint="token",method="socket",reason="rule",status="4xx"} 1`,
		"gatepass_broker_cache_hits_total 1",
		`gatepass_broker_mints_total{outcome="failed"} 1`, `gatepass_broker_mints_total{outcome="minted"} 1`,
		`gatepass_broker_refused_pushes_total{action="force"} 2`,
		`gatepass_broker_gateway_requests_total{reason="",service="git-receive-pack",status="2xx"} 2`,
		`gatepass_broker_gateway_outcomes_total{outcome="refused",service="git-receive-pack"} 2`,
		`gatepass_broker_gateway_github_refusals_total{check="ruleset"} 1`, `gatepass_broker_gateway_github_refusals_total{check="other"} 1`,
		`gatepass_broker_gateway_bytes_total{direction="in",service="git-receive-pack"} 3`,
		"gatepass_broker_mint_seconds_count 2", "gatepass_broker_tokens_live 7",
		`version="v1.2.3"`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("there is no %s", want)
		}
	}
}

// Whatever callers send, there are few series.
func TestLabelsAreBounded(t *testing.T) {
	m := NewMetrics("v1")
	for i := range 1000 {
		m.Observe(broker.Observation{Endpoint: "token", Status: 400 + i%100, Reason: fmt.Sprint(i), Method: fmt.Sprint(i)})
		m.Pushed(fmt.Sprint(i))
		m.Transferred(gateway.Transfer{Service: fmt.Sprint(i), Status: 400 + i%100, Reason: fmt.Sprint(i), Outcomes: []string{fmt.Sprint(i)}, Checks: []string{fmt.Sprint(i)}})
	}
	for _, name := range []string{"requests_total", "refused_pushes_total", "gateway_requests_total", "gateway_outcomes_total", "gateway_github_refusals_total"} {
		if n := strings.Count(scrape(m), "\ngatepass_broker_"+name+"{"); n != 1 {
			t.Errorf("%s has %d series, want one", name, n)
		}
	}
}

// Alerts use only metrics that exist. The values come from the program.
func TestAlertsNameWhatIsCounted(t *testing.T) {
	alerts, err := deploy.Files.ReadFile("prometheus/broker-alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	m := NewMetrics("v1")
	m.Observe(broker.Observation{Endpoint: "token", Status: 200})
	_, _ = m.Minted(func(context.Context, broker.Scope) (mint.Minted, error) { return mint.Minted{}, nil })(t.Context(), broker.Scope{})
	program, err := os.ReadFile("metrics.go")
	if err != nil {
		t.Fatal(err)
	}
	there := scrape(m)
	names := regexp.MustCompile(`gatepass_broker_[a-z_]+`).FindAllString(string(alerts), -1)
	if len(names) < 8 {
		t.Fatalf("the alerts name %d metrics", len(names))
	}
	for _, name := range names {
		if !strings.Contains(there, name) && !strings.Contains(string(program), `"`+strings.TrimPrefix(name, namespace+"_")+`"`) {
			t.Errorf("there is no metric %s", name)
		}
	}
}
