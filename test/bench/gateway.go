package main

import (
	"fmt"
	"os"
	"slices"
	"time"
)

// The sizes for the gateway. As in all of this package, a GB is a thousand million
// bytes, and a MB a million.
const (
	gatewayPack   = 2 << 30  // bytes of a pack, when memory is measured
	gatewayTimed  = 1 << 30  // bytes of a pack, when processor time is measured
	atOnce        = 200      // transfers
	atOncePack    = 16 << 20 // bytes of each
	largeClone    = 300_000_000
	smallRequests = 2_000
	smallPushes   = 4_000
	pushWorkers   = 64
)

// A gatewayBench measures git through the gateway.
type gatewayBench struct{ *bench }

// size returns n bytes, or fewer with -quick.
func (b gatewayBench) size(n int64) int64 {
	if b.quick {
		return n / 16
	}
	return n
}

// gateway measures the real broker as a git gateway: with packs of any size, which the
// upstream discards or generates, and with git itself.
func (b gatewayBench) gateway() ([]row, error) {
	w, err := b.startGateway(b.runs(atOnce), int(b.size(largeClone)))
	if err != nil {
		return nil, err
	}
	defer w.close()
	var all []row
	for _, measure := range []func(*gatewaySetup) ([]row, error){b.gatewayMemory, b.gatewayTogether, b.gatewayCPU, b.gatewaySmall, b.gatewayRate, b.gatewayPush, b.gatewayClone} {
		rows, err := measure(w)
		if err := firstOf(err, b.ctx.Err()); err != nil {
			return nil, err
		}
		all = append(all, rows...)
	}
	return all, nil
}

// A direction is push or fetch.
type direction struct {
	name string
	move func(m *transferClient, n int64, wait func()) error
}

var (
	chunkedPush = direction{"chunked push", func(m *transferClient, n int64, wait func()) error { return m.push(n, true, wait) }}
	lengthPush  = direction{"plain push", func(m *transferClient, n int64, wait func()) error { return m.push(n, false, wait) }}
	fetching    = direction{"fetch", (*transferClient).fetch}
	directions  = []direction{chunkedPush, lengthPush, fetching}
)

// gatewayMemory measures the peak memory of one large transfer.
func (b gatewayBench) gatewayMemory(w *gatewaySetup) ([]row, error) {
	n := b.size(gatewayPack)
	var rows []row
	for _, d := range directions {
		bytes, err := w.most(b.bench, func() error {
			m := w.gatewayClient(0)
			defer m.close()
			return d.move(m, n, nil)
		})
		if err != nil {
			return nil, err
		}
		rows = append(rows, row{Promise: fmt.Sprintf("gateway, %s of %s: memory over idle", d.name, sizeText(n)), Ours: mebibytes(bytes)}.judged(atMost(32)))
	}
	return rows, nil
}

// most returns the broker's peak memory while do runs, minus its memory before.
func (w *gatewaySetup) most(b *bench, do func() error) (int64, error) {
	if err := w.restart(b); err != nil {
		return 0, err
	}
	pid := w.cmd.Process.Pid
	idle, err := resident(pid)
	if err == nil {
		err = forgetPeak(pid)
	}
	if err == nil {
		err = do()
	}
	if err != nil {
		return 0, err
	}
	most, err := peak(pid)
	return most - idle, err
}

// gatewayTogether measures the memory of many transfers, each of its own workspace.
// None continues before all have begun.
func (b gatewayBench) gatewayTogether(w *gatewaySetup) ([]row, error) {
	n := len(w.sessions)
	var rows []row
	for _, d := range []direction{chunkedPush, fetching} {
		bytes, err := w.most(b.bench, func() error { return w.together(n, d, b.size(atOncePack)) })
		if err != nil {
			return nil, err
		}
		rows = append(rows, row{
			Promise: fmt.Sprintf("gateway, %d at once, %s: memory of each over idle", n, d.name), Ours: mebibytes(bytes / int64(n)),
		}.judged(atMost(0.4)))
	}
	return rows, nil
}

func (w *gatewaySetup) together(n int, d direction, size int64) error {
	meet := make(chan struct{}, n)
	open := make(chan struct{})
	go func() {
		for range n {
			<-meet
		}
		close(open)
	}()
	return allAtOnce(n, func(k int) error {
		m := w.gatewayClient(k)
		defer m.close()
		return d.move(m, size, func() {
			meet <- struct{}{}
			select {
			case <-open:
			case <-time.After(runLimit): // a transfer that failed never signals
			}
		})
	})
}

// A route is a path for a pack that is measured in the same run as other paths.
type route struct {
	name string
	pid  int // process whose processor time counts; 0 for none
	m    *transferClient

	used, took time.Duration // the lowest
}

// proxies are nginx with its default settings, and with larger buffers.
var proxies = []struct{ what, settings string }{
	{"", ""},
	{", 64k", "proxy_buffer_size 64k; proxy_buffers 8 64k; proxy_busy_buffers_size 128k; client_body_buffer_size 64k;"},
}

// gatewayCPU measures the processor time per GB, in turns through the gateway, through
// nginx, and straight.
func (b gatewayBench) gatewayCPU(w *gatewaySetup) ([]row, error) {
	n := max(b.size(gatewayTimed), 256<<20) // with less, the clock has too few ticks
	pid := w.cmd.Process.Pid
	ways := []*route{{name: "gateway", pid: pid, m: w.gatewayClient(0)}, {name: "TLS on both sides", pid: pid, m: w.secureClient(0)}, {name: "straight", m: w.straight()}}
	var why error
	for _, p := range proxies {
		var proxy *nginx
		if proxy, why = remoteBench(b).startNginx(w.up.URL, p.settings); why != nil {
			break
		}
		defer proxy.stop()
		ways = append(ways, &route{
			name: "nginx " + proxy.version + p.what, pid: proxy.cmd.Process.Pid, m: newTransferClient(proxy.url, "x-access-token", w.up.Token, nil),
		})
	}
	var rows []row
	for _, d := range directions {
		if err := b.timeWays(ways, d, n); err != nil {
			return nil, err
		}
		rows = append(rows, cpuRows(ways, d, n, why)...)
	}
	return rows, nil
}

// timeWays records the lowest of a few runs of each route.
func (b gatewayBench) timeWays(ways []*route, d direction, n int64) error {
	for i := range b.runs(3) {
		for _, w := range ways {
			used, took, err := w.time(d, n)
			if err := firstOf(err, b.ctx.Err()); err != nil {
				return fmt.Errorf("%s: %w", w.name, err)
			}
			if i == 0 || used < w.used {
				w.used = used
			}
			if i == 0 || took < w.took {
				w.took = took
			}
		}
	}
	return nil
}

func (w *route) time(d direction, n int64) (used, took time.Duration, err error) {
	if _, err := w.m.small(); err != nil { // opens the connections
		return 0, 0, err
	}
	before, err := w.processor()
	if err != nil {
		return 0, 0, err
	}
	begun := time.Now()
	if err := d.move(w.m, n, nil); err != nil {
		return 0, 0, err
	}
	took = time.Since(begun)
	after, err := w.processor()
	return after - before, took, err
}

func (w *route) processor() (time.Duration, error) {
	if w.pid == 0 {
		return 0, nil
	}
	return processorTime(w.pid)
}

// cpuRows returns the rows of a direction. why is the reason if nginx is missing.
func cpuRows(ways []*route, d direction, n int64, why error) []row {
	each := func(w *route) figure {
		ofOne := time.Duration(float64(w.used) / float64(n) * 1e9)
		return figure{Value: inMS(ofOne), Unit: unitMS}
	}
	note := "MB in a second:"
	for _, w := range ways {
		note += fmt.Sprintf(" %s %.0f,", w.name, float64(n)/1e6/w.took.Seconds())
	}
	note = note[:len(note)-1]
	rows := []row{
		row{Promise: "gateway, " + d.name + ": processor time of a GB", Ours: each(ways[0]), Note: note}.judged(atMost(1200)),
		{Promise: "  with TLS on both sides", Ours: each(ways[1])},
	}
	beside := row{Promise: "  beside a plain reverse proxy", Ours: each(ways[0])}
	if why != nil {
		return append(rows, row{Promise: beside.Promise, Verdict: missing, Note: why.Error()})
	}
	plain, large := ways[3], ways[4]
	return append(rows, beside.beside(plain.name, each(plain)).judged(ratioAtMost(1.15)), beside.beside(large.name, each(large)))
}

// gatewaySmall times requests for refs, in turns through the gateway and straight.
func (b gatewayBench) gatewaySmall(w *gatewaySetup) ([]row, error) {
	ways := []*transferClient{w.gatewayClient(0), w.straight()}
	took := make([][]time.Duration, len(ways))
	n := b.runs(smallRequests)
	for i := range n {
		ways[0].password = w.sessions[i%len(w.sessions)] // one workspace may ask at most 20 times a second
		for k, m := range ways {
			t, err := m.small()
			if err := firstOf(err, b.ctx.Err()); err != nil {
				return nil, err
			}
			took[k] = append(took[k], t)
		}
	}
	for k := range took {
		slices.Sort(took[k])
	}
	at := func(what string, i int) row {
		through, straight := took[0][i], took[1][i]
		r := row{Promise: "gateway, a small request: added at the " + what, Ours: milliseconds(through-straight, 0)}
		return r.beside("straight, over TLS", milliseconds(straight, 0))
	}
	median, p99 := at("median", n/2).judged(atMost(1)), at("99th percentile", n*99/100)
	median.Ratio, p99.Ratio = 0, 0
	return []row{median, p99}, nil
}

// gatewayRate makes many workspaces push small packs: each push requests the refs and
// sends 4 KiB.
func (b gatewayBench) gatewayRate(w *gatewaySetup) ([]row, error) {
	minted, err := w.up.mints(w.ca)
	if err == nil {
		err = w.restart(b.bench)
	}
	if err != nil {
		return nil, err
	}
	n := b.runs(smallPushes)
	before, err := w.spent()
	if err != nil {
		return nil, err
	}
	begun := time.Now()
	err = allAtOnce(pushWorkers, func(worker int) error {
		for k := worker; k < n; k += pushWorkers {
			if err := w.pushLittle(k % len(w.sessions)); err != nil {
				return err
			}
		}
		return nil
	})
	took := time.Since(begun)
	after, spentErr := w.spent()
	if err := firstOf(err, spentErr); err != nil {
		return nil, err
	}
	what := fmt.Sprintf("gateway, %d small pushes of %d workspaces: ", n, len(w.sessions))
	each := (after.processor - before.processor) / time.Duration(n)
	return []row{
		{Promise: what + "in a second", Ours: figure{Value: float64(n) / took.Seconds(), Unit: "pushes"}, Note: "with the client and the upstream on the same two cores, the audit log on the disk"},
		{Promise: what + "processor time of each", Ours: figure{Value: inMS(each), Unit: unitMS}},
		{Promise: what + "audit log of each", Ours: figure{Value: float64(after.audit-before.audit) / float64(n) / 1000, Unit: "kB"}},
		row{Promise: what + "tokens minted", Ours: count(after.minted-minted, unitRequests), Note: "one to read and one to write, for all workspaces of the profile"}.judged(atMost(2)),
	}, nil
}

// A brokerUsage is what the broker has used so far.
type brokerUsage struct {
	processor time.Duration
	audit     int64 // bytes
	minted    int   // tokens
}

func (w *gatewaySetup) spent() (s brokerUsage, err error) {
	if s.processor, err = processorTime(w.cmd.Process.Pid); err != nil {
		return s, err
	}
	info, err := os.Stat(w.audit)
	if err != nil {
		return s, err
	}
	s.audit = info.Size()
	s.minted, err = w.up.mints(w.ca)
	return s, err
}

// pushLittle pushes as git does, over its own connection.
func (w *gatewaySetup) pushLittle(workspace int) error {
	m := w.gatewayClient(workspace)
	defer m.close()
	if _, err := m.refs("git-receive-pack"); err != nil {
		return err
	}
	return m.push(4<<10, false, nil)
}

func sizeText(n int64) string {
	if n >= 1<<30 {
		return fmt.Sprintf("%d GiB", n>>30)
	}
	return fmt.Sprintf("%d MiB", n>>20)
}
