//go:build unix

package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepass/gatepass/store"
)

// onDisk has the server wait for its disk, as servers do.
const onDisk = "fsync=on"

// BenchmarkRealWrites writes records of a usual length, one after the other and by many at
// once, on a server that waits for its disk.
func BenchmarkRealWrites(b *testing.B) {
	s := openStore(b, migrated(b, onDisk).URL("pool_max_conns=32"))
	value := store.NewSecret(strings.Repeat("r", 1000))
	for _, writers := range []int{1, 8, 32} {
		b.Run(fmt.Sprint(writers, " at once"), func(b *testing.B) {
			var n atomic.Int64
			var wg sync.WaitGroup
			for range writers {
				wg.Go(func() {
					for i := n.Add(1); i <= int64(b.N); i = n.Add(1) {
						name, _ := store.Record(fmt.Sprintf("w%06d", i%100_000)) // the id is well-formed
						if err := s.PutDue(b.Context(), name, value, store.Replace, noon.Add(time.Duration(i)*time.Second)); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
		})
	}
}

var noon = time.Date(2031, time.May, 5, 12, 0, 0, 0, time.UTC)

// filled has 100,000 records, of which one in a thousand is due before noon, and three
// times as many entries of other kinds.
func filled(b testing.TB) *Store {
	server := migrated(b)
	s := openStore(b, server.URL(""))
	server.Exec("gatepass", `INSERT INTO gatepass_entries (prefix, name, value, modified, version, due)
SELECT '', 'sandbox/w' || i || '/workspace', convert_to(repeat('r', 1000), 'UTF8'), now(), gen_random_uuid(),
timestamptz '2031-05-05 12:00Z' + CASE WHEN i % 1000 = 0 THEN interval '-1 minute' ELSE interval '1 minute' END FROM generate_series(1, 100000) i`)
	server.Exec("gatepass", `INSERT INTO gatepass_entries (prefix, name, value, modified, version)
SELECT '', 'sandbox/w' || i / 3 || '/vended/' || i, convert_to(repeat('t', 60), 'UTF8'), now(), gen_random_uuid() FROM generate_series(1, 300000) i`)
	server.Exec("gatepass", "VACUUM ANALYZE gatepass_entries")
	return s
}

// BenchmarkRealFilled reads from a store with 100,000 records.
func BenchmarkRealFilled(b *testing.B) {
	s := filled(b)
	count := func(b *testing.B, want int, read func() int) {
		for b.Loop() {
			if n := read(); n != want {
				b.Fatalf("read %d entries, want %d", n, want)
			}
		}
	}
	due := func(before time.Time, limit int) func() int {
		return func() (n int) {
			for _, err := range s.Due(b.Context(), store.Workspaces(), before, limit) {
				if err != nil {
					b.Fatal(err)
				}
				n++
			}
			return n
		}
	}
	b.Run("nothing is due", func(b *testing.B) { count(b, 0, due(noon.Add(-time.Hour), 0)) })
	b.Run("100 are due", func(b *testing.B) { count(b, 100, due(noon, 0)) })
	b.Run("the first 10 of 100,000 due", func(b *testing.B) { count(b, 10, due(noon.Add(time.Hour), 10)) })
	b.Run("all 100,000 are due", func(b *testing.B) { count(b, 100_000, due(noon.Add(time.Hour), 0)) })
	b.Run("all records", func(b *testing.B) {
		count(b, 100_000, func() (n int) {
			for range store.Records(b.Context(), s) {
				n++
			}
			return n
		})
	})
	b.Run("a page of 1000 names", func(b *testing.B) {
		after, _ := store.Record("w5")
		count(b, 1000, func() int {
			names, err := s.Page(b.Context(), store.Workspaces(), after, 1000)
			if err != nil {
				b.Fatal(err)
			}
			return len(names)
		})
	})
}

// BenchmarkRealNotify has 20 listeners, and measures from before an owner is blocked
// until each of them has heard of it.
func BenchmarkRealNotify(b *testing.B) {
	server := migrated(b, onDisk)
	const listeners = 20
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	heard := make(chan time.Time, 10*listeners)
	for range listeners {
		s := openStore(b, server.URL(""))
		go func() { _ = s.Watch(ctx, store.AllBlocks(), func() { heard <- time.Now() }) }()
	}
	for range listeners {
		<-heard
	}
	s := openStore(b, server.URL(""))
	put(b, s, store.Signer(), "connected")
	var took []time.Duration
	for b.Loop() {
		begun := time.Now()
		put(b, s, store.BlockedApp(), "x")
		for range listeners {
			took = append(took, (<-heard).Sub(begun))
		}
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "µs-median")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "µs-p99")
}
