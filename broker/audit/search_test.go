package audit

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/gatepass/gatepass/broker"
)

func TestARepositoryIsFoundByItsNamesAndItsID(t *testing.T) {
	before := Record{Entry: broker.Entry{Repository: "acme/widgets", RepositoryID: 7}}
	renamed := Record{Entry: broker.Entry{Repository: "acme/gadgets", RepositoryID: 7}}
	other := Record{Entry: broker.Entry{Repository: "acme/widgets", RepositoryID: 8}}
	none := Record{Entry: broker.Entry{Kind: broker.KindConfig}}
	for _, c := range []struct {
		repository string
		record     Record
		want       bool
	}{
		{"", none, true},
		{"acme/widgets", none, false},
		{"0", none, false},
		{"Acme/Widgets", before, true},
		{"acme/widgets", renamed, false},
		{"acme/widgets", other, true},
		{"7", before, true},
		{"7", renamed, true},
		{"7", other, false},
		{"07", before, false},
	} {
		if got := (Filter{Repository: c.repository}).Match(c.record); got != c.want {
			t.Errorf("%q matches %s#%d = %v, want %v", c.repository, c.record.Repository, c.record.RepositoryID, got, c.want)
		}
	}
}

func TestFilter(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	r := Record{Entry: broker.Entry{Time: at, Workspace: "sb-1", Decision: broker.Granted, Reason: "r", Kind: broker.KindIntent, Hash: "h"}, Hash: "of the line"}
	for _, c := range []struct {
		name   string
		filter Filter
		want   bool
	}{
		{"everything", Filter{}, true},
		{"all of it", Filter{Workspace: "sb-1", Decision: broker.Granted, Reason: "r", Kind: broker.KindIntent, Hash: "h"}, true},
		{"another workspace", Filter{Workspace: "sb-10"}, false},
		{"another decision", Filter{Decision: broker.Refused}, false},
		{"another reason", Filter{Reason: "x"}, false},
		{"another kind", Filter{Kind: broker.KindExchange}, false},
		{"the hash of the line", Filter{Hash: "of the line"}, false},
		{"since then", Filter{Since: at}, true},
		{"since later", Filter{Since: at.Add(1)}, false},
		{"until then", Filter{Until: at}, false},
		{"until later", Filter{Until: at.Add(1)}, true},
		{"one of two", Filter{Workspace: "sb-1", Until: at}, false},
	} {
		if got := c.filter.Match(r); got != c.want {
			t.Errorf("%s: Match = %v, want %v", c.name, got, c.want)
		}
	}
}

func TestReadEndsWhereALineIsNone(t *testing.T) {
	data := sample(t, 3)
	count := func(data []byte) (n int, last error) {
		for line, err := range Read(bytes.NewReader(data)) {
			if last = err; err == nil && line.Seq != uint64(n+1) {
				t.Errorf("line %d has the number %d", n+1, line.Seq)
			}
			n++
		}
		return n, last
	}
	if n, err := count(data); n != 4 || err != nil {
		t.Errorf("Read yields %d lines and %v, want 4", n, err)
	}
	if n, err := count(bytes.Replace(data, []byte("sb-1"), []byte("sb-7"), 1)); n != 3 || !errors.Is(err, errHash) {
		t.Errorf("Read yields %d lines and %v, want two and %v", n, err, errHash)
	}
	for range Read(bytes.NewReader(data)) {
		break // and yields no more
	}
}
