// Package storetest tests what every store must do, with the real service where there
// is one.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepass/gatepass/store"
)

const secret = "ghs_storetest0123456789abcdefghijklmnop"

// A test is a test for every store, or for every store with an optional interface.
type test struct {
	name string
	run  func(t *testing.T, open func() store.Store)
}

// Run tests stores that open makes. Each must be empty, and may differ from the others
// only by its prefix. Two calls of the function that open returns must reach the same
// entries, as two processes would. Run also tests the optional interfaces that the
// stores implement.
func Run(t *testing.T, open func(t *testing.T) (again func() store.Store)) {
	tests := []test{
		{"what was put is read, by others too", putIsRead},
		{"what is absent is not found", absentIsNotFound},
		{"only Replace overwrites", onlyReplaceOverwrites},
		{"of many that create one wins", oneCreates},
		{"concurrent writes leave one of them whole", writesAreWhole},
		{"delete removes, again and again", deleteRemoves},
		{"what was deleted can be made again", deletedIsMadeAgain},
		{"list finds every name below a prefix", listFindsAll},
		{"list goes over many pages", listPages},
		{"records are found among all else", recordsAreFound},
		{"values of every form come back as they are", formsComeBack},
		{"what no store keeps is refused", oddIsRefused},
		{"a context that has ended changes nothing", endedChangesNothing},
	}
	for _, test := range append(tests, optional(open(t)())...) {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

// optional returns the tests of the optional interfaces that a store implements.
func optional(s store.Store) (tests []test) {
	if _, ok := s.(store.Swapper); ok {
		tests = append(tests, swapTests...)
	}
	if _, ok := s.(store.Indexed); ok {
		tests = append(tests, dueTests...)
	}
	if _, ok := s.(store.Pager); ok {
		tests = append(tests, pageTests...)
	}
	if _, ok := s.(store.Deleter); ok {
		tests = append(tests, test{"many are deleted at once, and no others", manyAreDeleted})
	}
	if _, ok := s.(store.Watcher); ok {
		tests = append(tests, watchTests...)
	}
	return tests
}

func named(t *testing.T, text string) store.Name {
	t.Helper()
	n, err := store.ParseName(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func put(t *testing.T, s store.Store, name, value string) {
	t.Helper()
	if err := s.Put(t.Context(), named(t, name), store.NewSecret(value), store.Replace); err != nil {
		t.Fatalf("Put(%s) = %v", name, err)
	}
}

func checkValue(t *testing.T, s store.Store, name, want string) {
	t.Helper()
	e, err := s.Get(t.Context(), named(t, name))
	if err != nil || e.Value.Reveal() != want {
		t.Fatalf("Get(%s) = %.40q, %v, want %.40q", name, e.Value.Reveal(), err, want)
	}
}

func checkError(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error = %v, want one that wraps %q", err, want)
	}
	if text := err.Error(); strings.Contains(text, secret) || strings.ContainsAny(text, "\n\r") {
		t.Errorf("the error %q holds the value or more than a line", text)
	}
}

func putIsRead(t *testing.T, open func() store.Store) {
	before := time.Now()
	put(t, open(), "sandbox/sb-1/github-token", secret)
	e, err := open().Get(t.Context(), named(t, "sandbox/sb-1/github-token"))
	if err != nil || e.Value.Reveal() != secret {
		t.Fatalf("Get = %.40q, %v, want the value", e.Value.Reveal(), err)
	}
	// The clocks of stores and of this machine may differ a little.
	if e.Modified.Before(before.Add(-time.Minute)) || e.Modified.After(time.Now().Add(time.Minute)) {
		t.Errorf("Modified = %v, want now", e.Modified)
	}
}

func absentIsNotFound(t *testing.T, open func() store.Store) {
	s := open()
	_, err := s.Get(t.Context(), store.AppClientID())
	checkError(t, err, store.ErrNotFound)
	put(t, s, "config/github/app-client-id", "Iv1.x")
	_, err = s.Get(t.Context(), store.PrivateKey())
	checkError(t, err, store.ErrNotFound)
	// A folder is not an entry.
	_, err = s.Get(t.Context(), named(t, "config/github"))
	checkError(t, err, store.ErrNotFound)
	for n, err := range s.List(t.Context(), store.Workspaces()) {
		t.Errorf("List of an empty folder yields %s, %v", n, err)
	}
}

func onlyReplaceOverwrites(t *testing.T, open func() store.Store) {
	s, name := open(), store.PrivateKey()
	if err := s.Put(t.Context(), name, store.NewSecret("first"), store.CreateOnly); err != nil {
		t.Fatalf("Put of a new entry = %v", err)
	}
	checkError(t, s.Put(t.Context(), name, store.NewSecret(secret), store.CreateOnly), store.ErrExists)
	checkValue(t, s, name.String(), "first")
	put(t, s, name.String(), "second")
	checkValue(t, s, name.String(), "second")
}

func oneCreates(t *testing.T, open func() store.Store) {
	const n = 8
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		s := open()
		wg.Go(func() {
			errs[i] = s.Put(t.Context(), store.Signer(), store.NewSecret(fmt.Sprint("value ", i)), store.CreateOnly)
		})
	}
	wg.Wait()
	winner := -1
	for i, err := range errs {
		if err == nil && winner < 0 {
			winner = i
			continue
		}
		checkError(t, err, store.ErrExists)
	}
	checkValue(t, open(), store.Signer().String(), fmt.Sprint("value ", winner))
}

func writesAreWhole(t *testing.T, open func() store.Store) {
	const n = 6
	var wg sync.WaitGroup
	for i := range n {
		s := open()
		wg.Go(func() {
			value := store.NewSecret(strings.Repeat(fmt.Sprint(i), 3000))
			if err := s.Put(t.Context(), store.PrivateKey(), value, store.Replace); err != nil {
				t.Errorf("Put = %v", err)
			}
		})
	}
	wg.Wait()
	e, err := open().Get(t.Context(), store.PrivateKey())
	if text := e.Value.Reveal(); err != nil || len(text) != 3000 || strings.Trim(text, text[:1]) != "" {
		t.Errorf("Get = %d bytes, %v, want one value whole", len(text), err)
	}
}

func deleteRemoves(t *testing.T, open func() store.Store) {
	s := open()
	put(t, s, "sandbox/sb-1/github-token", secret)
	put(t, s, "sandbox/sb-1/github-token", secret+"2")
	put(t, s, "sandbox/sb-10/github-token", "kept")
	for range 2 {
		if err := s.Delete(t.Context(), named(t, "sandbox/sb-1/github-token")); err != nil {
			t.Fatalf("Delete = %v", err)
		}
	}
	_, err := s.Get(t.Context(), named(t, "sandbox/sb-1/github-token"))
	checkError(t, err, store.ErrNotFound)
	checkNames(t, s, store.Workspaces(), "sandbox/sb-10/github-token")
	checkValue(t, s, "sandbox/sb-10/github-token", "kept")
}

func deletedIsMadeAgain(t *testing.T, open func() store.Store) {
	s, name := open(), store.AppClientID()
	for _, value := range []string{"first", "second"} {
		if err := s.Put(t.Context(), name, store.NewSecret(value), store.CreateOnly); err != nil {
			t.Fatalf("Put = %v", err)
		}
		checkValue(t, s, name.String(), value)
		if err := s.Delete(t.Context(), name); err != nil {
			t.Fatalf("Delete = %v", err)
		}
	}
}

func listFindsAll(t *testing.T, open func() store.Store) {
	s := open()
	all := []string{
		"config/github/app-client-id", "config/github/installations/acme", "config/github/installations/octo",
		"sandbox/a/github-token", "sandbox/a/github-tokens/acme", "sandbox/a/github-tokens/octo", "sandbox/a/workspace",
		"sandbox/ab/workspace",
	}
	for _, name := range all {
		put(t, s, name, "x")
	}
	a, err := store.Workspace("a")
	if err != nil {
		t.Fatal(err)
	}
	checkNames(t, s, store.Everything(), all...)
	checkNames(t, s, store.Installations(), all[1:3]...)
	checkNames(t, s, store.Workspaces(), all[3:]...)
	checkNames(t, s, a, all[3:7]...)
	for range s.List(t.Context(), store.Everything()) {
		break // leaving early is allowed
	}
}

func listPages(t *testing.T, open func() store.Store) {
	s := open()
	var want []string
	for i := range 37 { // pages of AWS have ten names
		want = append(want, fmt.Sprintf("sandbox/w%02d/workspace", i))
		put(t, s, want[i], "x")
	}
	checkNames(t, s, store.Workspaces(), want...)
}

func checkNames(t *testing.T, s store.Store, below store.Prefix, want ...string) {
	t.Helper()
	var got []string
	for n, err := range s.List(t.Context(), below) {
		if err != nil {
			t.Fatalf("List(%s) = %v", below, err)
		}
		got = append(got, n.String())
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("List(%s) = %q, want %q", below, got, want)
	}
}

func recordsAreFound(t *testing.T, open func() store.Store) {
	s := open()
	want := map[string]string{}
	for i := range 23 {
		id := fmt.Sprintf("w%02d", i)
		want["sandbox/"+id+"/workspace"] = `{"id":"` + id + `"}`
		put(t, s, "sandbox/"+id+"/workspace", want["sandbox/"+id+"/workspace"])
		put(t, s, "sandbox/"+id+"/github-tokens/acme", secret)
	}
	put(t, s, "sandbox/no-record/github-token", secret)
	put(t, s, "config/github/workspace", "x")
	got := map[string]string{}
	for e, err := range store.Records(t.Context(), s) {
		if err != nil {
			t.Fatalf("Records = %v", err)
		}
		got[e.Name.String()] = e.Value.Reveal()
		if e.Modified.IsZero() {
			t.Errorf("%s has no date", e.Name)
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("Records = %v, want %v", got, want)
	}
	for range store.Records(t.Context(), s) {
		break // leaving early is allowed
	}
}

func formsComeBack(t *testing.T, open func() store.Store) {
	s := open()
	for i, value := range []string{
		"x", " blanks ", "-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----\n", `{"token":"ghs_x","n":1}`,
		"null", "äöü €", strings.Repeat("k", 4096), strings.Repeat("k", 4097), strings.Repeat("k", store.MaxValue), "small again",
	} {
		put(t, s, "config/github/private-key", value)
		checkValue(t, s, "config/github/private-key", value)
		if t.Failed() {
			t.Fatalf("value %d", i)
		}
	}
}

func oddIsRefused(t *testing.T, open func() store.Store) {
	s := open()
	for _, value := range []store.Secret{{}, store.NewSecret(""), store.NewSecret("a\xff"), store.NewSecret("a\x00b"), store.NewSecret(strings.Repeat(secret, 300))} {
		if err := s.Put(t.Context(), store.Signer(), value, store.Replace); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("Put of %d bytes = %v, want an error without the value", len(value.Reveal()), err)
		}
	}
	_, err := s.Get(t.Context(), store.Signer())
	checkError(t, err, store.ErrNotFound)
	var none store.Name
	_, getErr := s.Get(t.Context(), none)
	for _, err := range []error{getErr, s.Put(t.Context(), none, store.NewSecret("x"), store.Replace), s.Delete(t.Context(), none)} {
		if err == nil {
			t.Error("the zero Name is taken, want an error")
		}
	}
}

func endedChangesNothing(t *testing.T, open func() store.Store) {
	s := open()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Put(ctx, store.Signer(), store.NewSecret(secret), store.CreateOnly); err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("Put = %v, want an error without the value", err)
	}
	for n, err := range s.List(ctx, store.Everything()) {
		if err == nil {
			t.Errorf("List yields %s, want an error", n)
		}
	}
	_, err := s.Get(t.Context(), store.Signer())
	checkError(t, err, store.ErrNotFound)
}
