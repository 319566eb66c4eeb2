package serve

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatepass/gatepass/mint"
)

// appCollector collects the metrics of each App at each scrape.
type appCollector struct {
	apps                               *apps
	usable, limit, remaining, accounts *prometheus.Desc
}

func newAppCollector(a *apps) *appCollector {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc(namespace+"_app_"+name, help, []string{"app"}, nil)
	}
	return &appCollector{
		apps:      a,
		usable:    desc("usable", "Whether the App of that name in the store can be used; \"first\" is the one without a name."),
		limit:     desc("rate_limit", "GitHub's hourly limit of the App's requests."),
		remaining: desc("rate_remaining", "What is left of it."),
		accounts:  desc("accounts", "Accounts with an installation of the App, among the accounts that the broker asked about."),
	}
}

// Describe implements [prometheus.Collector].
func (c *appCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.usable, c.limit, c.remaining, c.accounts} {
		out <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *appCollector) Collect(out chan<- prometheus.Metric) {
	for _, one := range c.apps.all() {
		send := func(d *prometheus.Desc, value float64) {
			out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, one.displayName())
		}
		accounts := 0
		one.installed.Range(func(any, any) bool { accounts++; return true })
		send(c.usable, boolValue(one.usable.Load() != nil))
		send(c.accounts, float64(accounts))
		if r, known := one.Rate(); known {
			send(c.limit, float64(r.Limit))
			send(c.remaining, c.apps.leftOf(r))
		}
	}
}

// leftOf returns what is left of a rate limit now; it is full again once its hour has
// passed.
func (a *apps) leftOf(r mint.Rate) float64 {
	if !a.time().Before(r.Reset) {
		return float64(r.Limit)
	}
	return float64(r.Remaining)
}
