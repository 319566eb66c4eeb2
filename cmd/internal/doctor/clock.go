package doctor

import (
	"context"
	"crypto/tls"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gatepass/gatepass/internal/redact"
)

const (
	smallSkew = 30 * time.Second // smaller differences come from rounding and slow answers
	largeSkew = 5 * time.Minute  // about what issuers of identities tolerate
)

// checkClock compares this machine's clock with that of the broker, which gets every
// request for a token anyway, and with --online those of the hosts. It asks no other
// server.
func (c connectionCheck) checkClock(ctx context.Context) []Finding {
	ask := map[string]bool{}
	if c.workspace != nil && c.workspace.Source != nil && c.workspace.Source.Scheme == "broker+https" {
		ask[c.workspace.Source.Host] = true
	}
	if c.Online {
		for _, host := range c.contactedHosts() {
			ask[host] = c.scheme(host) == "https"
		}
	}
	var mu sync.Mutex // guards found
	var found []Finding
	var wg sync.WaitGroup
	for host, isAsked := range ask {
		if !isAsked {
			continue
		}
		wg.Go(func() {
			f := compare(ctx, host)
			mu.Lock()
			defer mu.Unlock()
			found = append(found, f)
		})
	}
	wg.Wait()
	return found
}

func compare(ctx context.Context, host string) Finding {
	ahead, err := skew(ctx, "https://"+host+"/")
	if err != nil {
		return Finding{Level: Warning, Text: "the clock cannot be compared with the clock of " + host + ": " + redact.Text(err.Error(), 200), Fix: "check that " + host + " can be reached"}
	}
	return Clock(host, ahead)
}

// Clock returns the finding for a clock that is ahead of a host's by so much; a
// negative value is behind.
func Clock(host string, ahead time.Duration) Finding {
	size, way := ahead.Abs().Round(time.Second), "ahead of"
	if ahead < 0 {
		way = "behind"
	}
	f := Finding{Level: OK, Text: "the clock agrees with the clock of " + host}
	if size > smallSkew {
		f = Finding{Level: Warning, Text: "the clock is " + size.String() + " " + way + " the clock of " + host, Fix: "set the clock; see timedatectl"}
	}
	if size > largeSkew {
		f.Level, f.Text = Failure, f.Text+": tokens and identities seem expired or not yet valid"
	}
	return f
}

// skew returns how far this clock is ahead of the one in the Date header of the answer
// from url. It does not verify the certificate: with a wrong clock, a valid certificate
// seems to have expired. The request carries no secret.
func skew(ctx context.Context, url string) (time.Duration, error) {
	client := &http.Client{
		Transport: &http.Transport{
			Proxy:             http.ProxyFromEnvironment,
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
			DisableKeepAlives: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, url, nil)
	if err != nil {
		return 0, err
	}
	sent := time.Now()
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	resp.Body.Close()
	theirs, err := http.ParseTime(strings.TrimSpace(resp.Header.Get("Date")))
	if err != nil {
		return 0, err
	}
	took := time.Since(sent)
	return sent.Add(took / 2).Sub(theirs.Add(500 * time.Millisecond)), nil // a Date has no fractions of a second
}
