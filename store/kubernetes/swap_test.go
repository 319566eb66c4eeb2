package kubernetes

import (
	"encoding/json"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/store"
)

// A swap whose answer was lost has been carried out. It does not count as a change by others.
func TestSwapWhoseAnswerIsLost(t *testing.T) {
	for name, version := range map[string]string{"of a new entry": "", "of one that was there": "7"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var there *object
				var s *Store
				s = faulty(t, func(r *http.Request) (*http.Response, error) {
					switch {
					case r.Method == http.MethodGet:
						o := *there
						o.Kind = partialKind
						return says(200, text(o)), nil
					case there != nil && version == "":
						return saysNo(409, alreadyExists, ""), nil
					case there != nil:
						return saysNo(409, conflict, ""), nil
					}
					var sent object
					if err := json.NewDecoder(r.Body).Decode(&sent); err != nil {
						t.Error(err)
					}
					o := s.whole(store.Signer(), "x")
					o.Metadata.Annotations, o.Metadata.ResourceVersion = sent.Metadata.Annotations, "8"
					there = &o
					return nil, errors.New("connection reset by peer")
				})
				got, err := s.Swap(t.Context(), store.Signer(), store.NewSecret("x"), version, time.Time{})
				if err != nil || got != "8" {
					t.Errorf("Swap = %q, %v, want the version that it wrote", got, err)
				}
			})
		})
	}
}

// A quota that is used by others at the same moment does not count as a change of the entry.
func TestSwapDuringQuotaUpdates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		var s *Store
		s = faulty(t, func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodGet {
				return says(404, text(fields{"kind": "Status", "reason": notFound, "code": 404, "details": fields{"name": s.place.objectName(store.Signer()), "kind": "secrets"}})), nil
			}
			if calls++; calls < 3 {
				return saysNo(409, conflict, "Operation cannot be fulfilled on resourcequotas"), nil
			}
			o := s.whole(store.Signer(), "x")
			o.Kind = partialKind
			return says(201, text(o)), nil
		})
		if got, err := s.Swap(t.Context(), store.Signer(), store.NewSecret("x"), "", time.Time{}); err != nil || got != "7" || calls != 3 {
			t.Errorf("Swap = %q, %v after %d calls, want the third to be done", got, err, calls)
		}
	})
}
