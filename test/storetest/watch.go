package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepass/gatepass/store"
)

var watchTests = []test{
	{"watch says what others write and delete", watchSays},
	{"watch misses no last change", watchMissesNothing},
	{"watch ends with its context", watchEnds},
}

// watchWait bounds the delay of a notification on an overloaded machine.
const watchWait = 30 * time.Second

// watching starts Watch. It returns a channel that receives the result of Watch, and a
// function that ends Watch, which also ends with the test.
func watching(t *testing.T, s store.Store, below store.Prefix, changed func()) (ended <-chan error, cancel func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	var inside atomic.Bool
	go func() {
		result <- s.(store.Watcher).Watch(ctx, below, func() {
			if inside.Swap(true) {
				t.Error("calls of changed overlap")
			}
			changed()
			inside.Store(false)
		})
	}()
	t.Cleanup(cancel)
	return result, cancel
}

// A signal says that changed was called at least once since the last wait.
type signal chan struct{}

func (s signal) send() {
	select {
	case s <- struct{}{}:
	default:
	}
}

func (s signal) wait(t *testing.T, what string) {
	t.Helper()
	select {
	case <-s:
	case <-time.After(watchWait):
		t.Fatalf("%s: changed was not called in %s", what, watchWait)
	}
}

func watchSays(t *testing.T, open func() store.Store) {
	called := make(signal, 1)
	watching(t, open(), store.AllBlocks(), called.send)
	called.wait(t, "the beginning")
	other, name := open(), store.BlockedApp().String()
	put(t, other, name, "x")
	called.wait(t, "an entry was made")
	put(t, other, name, "y")
	called.wait(t, "an entry was written")
	if err := other.Delete(t.Context(), named(t, name)); err != nil {
		t.Fatal(err)
	}
	called.wait(t, "an entry was deleted")
	if _, ok := other.(store.Swapper); ok {
		swap(t, other, name, "z", "")
		called.wait(t, "an entry was swapped")
	}
}

// Changes during a call of changed are reported after it.
func watchMissesNothing(t *testing.T, open func() store.Store) {
	const name, last = "broker/barred/app/all", "39"
	reader, seen := open(), make(signal, 1)
	watching(t, open(), store.AllBlocks(), func() {
		if e, err := reader.Get(t.Context(), named(t, name)); err == nil && e.Value.Reveal() == last {
			seen.send()
		}
	})
	writer := open()
	for i := range 40 {
		put(t, writer, name, fmt.Sprint(i))
	}
	seen.wait(t, "the last of many writes")
}

func watchEnds(t *testing.T, open func() store.Store) {
	called := make(signal, 1)
	ended, cancel := watching(t, open(), store.Everything(), called.send)
	called.wait(t, "the beginning")
	cancel()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Watch = %v, want why it ended", err)
		}
	case <-time.After(watchWait):
		t.Error("Watch goes on after its context ended")
	}
}

// WatchGoesOn tests what [store.Watcher] requires when connections are lost: cut must
// close all of them. Two calls of open must reach the same entries.
func WatchGoesOn(t *testing.T, open func() store.Store, cut func()) {
	t.Helper()
	called := make(signal, 1)
	watching(t, open(), store.AllBlocks(), called.send)
	called.wait(t, "the beginning")
	for i := range 3 {
		cut()
		called.wait(t, "the connection was cut")
		put(t, open(), store.BlockedApp().String(), fmt.Sprint(i))
		called.wait(t, "an entry was written after that")
	}
}
