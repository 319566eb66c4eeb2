package workspace

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/fakegithub"
)

// spoiler changes GitHub's answers to those who want a token.
type spoiler struct {
	http.RoundTripper
	from, to string
}

func (s spoiler) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := s.RoundTripper.RoundTrip(r)
	if err != nil || r.Method != http.MethodPost {
		return response, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	body = bytes.ReplaceAll(body, []byte(s.from), []byte(s.to))
	response.Body, response.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return response, nil
}

// A token that must not be used and was not revoked is in the ledger, where
// whoever destroys the workspace hears of it.
func TestALivingTokenThatIsNotWantedIsInTheLedger(t *testing.T) {
	for _, c := range []struct{ name, repositories, from, to string }{
		{"wider", "acme/gadgets", `"repository_selection":"selected"`, `"repository_selection":"all"`},
		{"renamed", "acme/gadgets#%d", `"name":"gadgets"`, `"name":"novelties"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			city := newCity(t)
			repo, err := city.AddRepository(fakegithub.Repository{Owner: "acme", Name: "gadgets"})
			if err != nil {
				t.Fatal(err)
			}
			i := city.run(&mortal{})
			i.App.Client = &http.Client{Transport: spoiler{city.Transport(), c.from, c.to}}
			city.Fail(fakegithub.To(http.MethodDelete, "/installation/token"), fakegithub.Status(http.StatusForbidden), -1)
			r, err := i.Create(t.Context(), "sb-1", profile(t, strings.Replace(c.repositories, "%d", strconv.FormatInt(repo.ID, 10), 1)), 0)
			if err == nil || r == nil || len(r.Lost(city.Now())) != 1 || len(city.Tokens()) != 1 {
				t.Fatalf("Create = %+v, %v with %d live tokens, want one that is lost", r, err, len(city.Tokens()))
			}
			city.checkLive(0, 1)
		})
	}
}

// What an unanswered request may have made counts also when the next is refused.
func TestARefusalDoesNotHideWhatWasNotAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCity(t)
		c.Fail(fakegithub.To(http.MethodPost, "/access_tokens"), fakegithub.Status(http.StatusBadGateway), 1)
		r, err := c.run(&mortal{}).Create(t.Context(), "sb-1", profile(t, "acme/nothing"), 0)
		if err == nil || r == nil || len(r.Lost(c.Now())) != 1 {
			t.Errorf("Create = %+v, %v, want a refusal and one lost token", r, err)
		}
	})
}

// A GitHub that is down for an hour does not fill the record until no store takes
// it any more.
func TestTheRecordStaysSmallWhileNothingIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCity(t)
		r := c.create("acme/widgets, octo/widgets")
		stop := c.Fail(fakegithub.To(http.MethodPost, "/access_tokens"), fakegithub.Status(http.StatusBadGateway), -1)
		for range 70 {
			c.Advance(time.Minute)
			r, _ = c.run(&mortal{}).Refresh(t.Context(), "sb-1", true)
		}
		data, err := r.Encode()
		if err != nil || len(data) > store.MaxValue/2 || len(r.Lost(c.Now())) < maxLost {
			t.Errorf("the record has %d bytes and names %d lost tokens, %v, want it small, and the latest of them", len(data), len(r.Lost(c.Now())), err)
		}
		stop()
		c.refresh(false)
	})
}
