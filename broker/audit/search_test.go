package audit

import (
	"testing"

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
