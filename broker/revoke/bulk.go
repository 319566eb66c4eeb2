package revoke

import (
	"context"
	"maps"
	"slices"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/store"
	"golang.org/x/sync/errgroup"
)

// bulkFrom is how many entries are read with few calls instead of one each.
const bulkFrom = 5 * workers

// inBulk does the jobs whose entries an [store.Indexed] store reads with few calls, and
// returns the others: their entries are read one by one. below is the prefix of all entries.
// It does no job of a shared token, since its entry may get another token meanwhile; that of
// a workspace has the token's ID in its name.
func (s *sweep) inBulk(ctx context.Context, below store.Prefix, jobs []job, isMeant choice) (rest []job) {
	indexed, ok := s.revoker.Store.(store.Indexed)
	if !ok || len(jobs) < bulkFrom {
		return jobs
	}
	waiting := map[store.Name]job{}
	for _, j := range jobs {
		if j.vended.IsVended() {
			waiting[j.vended] = j
		} else {
			rest = append(rest, j)
		}
	}
	var running errgroup.Group
	running.SetLimit(workers)
	until := s.revoker.TokenTime().Add(credential.Lifetime + 2*store.TokenGrace) // after every token's end
	for entry, err := range indexed.Due(ctx, below, until, 0) {
		j, isWaiting := waiting[entry.Name]
		if err != nil || !isWaiting || broker.ReadVended(entry.Entry).Token.IsZero() {
			continue // a job among the rest reads the entry, or reports the error
		}
		delete(waiting, entry.Name)
		running.Go(func() error {
			if err := s.revokeEntry(ctx, j, entry.Entry, isMeant); err != nil {
				s.fail(err)
			}
			return nil
		})
	}
	_ = running.Wait() // fail has the errors
	return append(rest, slices.Collect(maps.Values(waiting))...)
}
