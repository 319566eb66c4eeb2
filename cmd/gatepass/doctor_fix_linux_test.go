package main

import (
	"strings"
	"testing"

	"github.com/gatepass/gatepass/store"
)

func TestDoctorFixAsksAtATerminal(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the doctor many times")
	}
	t.Parallel() // it waits
	w := newStoreWorld(t)
	w.install("acme", 11)
	w.add()
	lock, err := store.Lock("sb-9")
	if err == nil {
		err = w.store.Put(t.Context(), lock, store.NewSecret("of no process"), store.CreateOnly)
	}
	if err != nil {
		t.Fatal(err)
	}
	const question = "  a lock of sb-9, whose run ended early: --fix removes it\r\nremove 1 thing? [y/N] "
	for _, answer := range []string{"\n", "n\n", "\x04", "yes please\n"} {
		out, seen, status := w.converse([][2]string{{question, answer}}, "doctor", "--fix", "--timeout", "30s")
		if status != 0 || !strings.Contains(seen, "note: nothing was removed") || !strings.Contains(out, "fix: gatepass doctor --fix, which removes it\n") {
			t.Errorf("after %q, doctor --fix = %d, %q\n%s\nwant nothing removed", answer, status, seen, out)
		}
		if _, err := w.store.Get(t.Context(), lock); err != nil {
			t.Fatalf("after %q the lock is gone: %v", answer, err)
		}
	}
	out, seen, status := w.converse([][2]string{{question, "Y\n"}}, "doctor", "--fix", "--timeout", "30s")
	if status != 0 || !strings.Contains(out, "a lock of sb-9, whose run ended early: removed\n") {
		t.Errorf("after Y, doctor --fix = %d, %q\n%s\nwant the lock removed", status, seen, out)
	}
	if out, seen, status := w.converse(nil, "doctor", "--fix", "--timeout", "30s"); status != 0 || strings.Contains(seen, "remove") || !strings.Contains(out, "everything is in order") {
		t.Errorf("with nothing to do, doctor --fix = %d, %q\n%s\nwant no question", status, seen, out)
	}
}
