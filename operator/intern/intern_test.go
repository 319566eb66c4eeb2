package intern

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"unsafe"
)

func TestEqualValuesAreOne(t *testing.T) {
	a, b := Strings([]string{"acme/api", "acme/web"}), Strings([]string{"acme/api", "acme/web"})
	if &a[0] != &b[0] || !slices.Equal(a, []string{"acme/api", "acme/web"}) {
		t.Errorf("two copies of %q", a)
	}
	var levels Maps[string]
	c, d := levels.Intern(map[string]string{"contents": "read", "issues": "write"}), levels.Intern(map[string]string{"issues": "write", "contents": "read"})
	if reflect.ValueOf(c).Pointer() != reflect.ValueOf(d).Pointer() || c["issues"] != "write" {
		t.Errorf("two copies of %v", c)
	}
	if one, other := String(fmt.Sprint("ac", "me")), String(fmt.Sprint("acm", "e")); unsafe.StringData(one) != unsafe.StringData(other) {
		t.Error("two copies of acme")
	}
}

// What differs is never taken for the other: a repository of another order, a name that
// holds the text of a level.
func TestOtherValuesAreOthers(t *testing.T) {
	if got := Strings([]string{"b", "a"}); !slices.Equal(got, []string{"b", "a"}) {
		t.Errorf("Strings(b, a) = %q", got)
	}
	var levels Maps[string]
	for _, m := range []map[string]string{nil, {}, {"a": "b"}, {"a": "c"}, {"ab": ""}, {"a": "", "b": ""}} {
		if got := levels.Intern(m); !reflect.DeepEqual(got, m) {
			t.Errorf("Intern(%v) = %v", m, got)
		}
	}
}

func TestAPoolIsBounded(t *testing.T) {
	var p pool[int]
	for i := range 10 * maxValues {
		if got := p.intern(fmt.Sprint(i), i); got != i {
			t.Fatalf("one(%d) = %d", i, got)
		}
	}
	if len(p.all) > maxValues {
		t.Errorf("it keeps %d values", len(p.all))
	}
}
