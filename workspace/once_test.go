package workspace

import (
	"testing"
	"time"
)

// A run mints one token for an owner, whatever it thinks of the token's life: the
// longest margin must not make every new token due, nor a clock that is wrong.
func TestARunMintsOnceForAnOwner(t *testing.T) {
	for _, c := range []struct {
		name   string
		margin time.Duration
		ahead  time.Duration
	}{
		{"the longest margin", MaxMargin, 0},
		{"a clock three quarters of an hour ahead", 0, 45 * time.Minute},
	} {
		city := newCity(t)
		i := city.run(&mortal{})
		now := func() time.Time { return city.Now().Add(c.ahead) }
		i.Now, i.App.Now = now, now
		if _, err := i.Create(t.Context(), "sb-1", profile(t, "acme/widgets"), c.margin); err != nil {
			t.Fatal(err)
		}
		if n := len(city.Tokens()); n != 1 {
			t.Errorf("%s: %d tokens are alive, want one", c.name, n)
		}
	}
}

// With the longest margin a new token is left alone by the next pass.
func TestTheLongestMarginLeavesNewTokensAlone(t *testing.T) {
	for k := range 50 {
		tok := token("acme", Delivered, time.Duration(k).String(), time.Hour)
		if !tok.lasts(noon.Add(time.Minute), MaxMargin) {
			t.Fatal("a token of a minute's age is due")
		}
	}
}
