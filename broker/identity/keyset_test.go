package identity

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/storetest"
)

// hand is a time that the test moves.
type hand struct {
	mu sync.Mutex // guards at
	at time.Time
}

func (c *hand) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *hand) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func noon() *hand { return &hand{at: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

func checkOpens(t *testing.T, s *Keyset, text, want string) {
	t.Helper()
	if got, err := s.Open(t.Context(), "session", text); err != nil || string(got) != want {
		t.Errorf("Open = %q, %v, want %q", got, err, want)
	}
}

func checkForged(t *testing.T, s *Keyset, purpose, text string) {
	t.Helper()
	if got, err := s.Open(t.Context(), purpose, text); !errors.Is(err, ErrForged) {
		t.Errorf("Open(%q, %.60q) = %q, %v, want ErrForged", purpose, text, got, err)
	}
}

func seal(t *testing.T, s *Keyset, payload string) string {
	t.Helper()
	text, err := s.Seal(t.Context(), "session", []byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestReplicasShareKeys(t *testing.T) {
	c, m := noon(), &storetest.Memory{}
	sets := make([]*Keyset, 8)
	texts := make([]string, len(sets))
	var wg sync.WaitGroup
	for i := range sets {
		sets[i] = &Keyset{Store: m, Now: c.now}
		wg.Go(func() { texts[i] = seal(t, sets[i], "payload") })
	}
	wg.Wait()
	for _, s := range sets {
		for _, text := range texts {
			checkOpens(t, s, text, "payload")
		}
	}
}

func TestTwoKeysLive(t *testing.T) {
	c, m := noon(), &storetest.Memory{}
	s := &Keyset{Store: m, Now: c.now}
	first := seal(t, s, "one")
	c.move(24 * time.Hour)
	second := seal(t, s, "two")
	checkOpens(t, s, first, "one")
	checkOpens(t, &Keyset{Store: m, Now: c.now}, second, "two")
	c.move(24 * time.Hour)
	seal(t, s, "three")
	checkForged(t, s, "session", first)
	checkOpens(t, s, second, "two")
	n := 0
	for _, err := range m.List(t.Context(), store.SessionKeys()) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 2 {
		t.Errorf("the store has %d keys, want 2", n)
	}
}

// A replica whose clock is ahead signs with tomorrow's key.
func TestClocksDifferALittle(t *testing.T) {
	c, m := &hand{at: time.Date(2026, 3, 1, 23, 58, 0, 0, time.UTC)}, &storetest.Memory{}
	ahead := &Keyset{Store: m, Now: func() time.Time { return c.now().Add(3 * time.Minute) }}
	checkOpens(t, &Keyset{Store: m, Now: c.now}, seal(t, ahead, "x"), "x")
}

func TestDeletedKeysEndEverything(t *testing.T) {
	c, m := noon(), &storetest.Memory{}
	s, other := &Keyset{Store: m, Now: c.now}, &Keyset{Store: m, Now: c.now}
	text := seal(t, s, "x")
	checkOpens(t, other, text, "x")
	if err := m.Delete(t.Context(), store.SessionKey(dayOf(c.now()))); err != nil {
		t.Fatal(err)
	}
	c.move(recheck)
	checkForged(t, other, "session", text)
	again := seal(t, s, "y")
	checkOpens(t, other, again, "y")
	checkForged(t, s, "session", text)
}

func TestForgeries(t *testing.T) {
	c, m := noon(), &storetest.Memory{}
	s := &Keyset{Store: m, Now: c.now}
	text := seal(t, s, `{"w":"sb-1"}`)
	parts := strings.Split(text, ".")
	stranger := seal(t, &Keyset{Store: &storetest.Memory{}, Now: c.now}, `{"w":"sb-1"}`)
	other := seal(t, s, `{"w":"sb-2"}`)
	checkForged(t, s, "nonce", text)
	for _, forged := range []string{
		"", ".", "..", "...", text + ".", text + "A", text[:len(text)-1], "." + parts[1] + "." + parts[2], parts[0] + ".." + parts[2], parts[0] + "." + parts[2],
		parts[0] + ".20512." + parts[2], parts[0] + ".0" + parts[1] + "." + parts[2], parts[0] + ".+" + parts[1] + "." + parts[2], parts[0] + ".-1." + parts[2],
		parts[0] + "." + parts[1] + ".", strings.Split(other, ".")[0] + "." + parts[1] + "." + parts[2], stranger, strings.Replace(text, ".", "=.", 1),
	} {
		checkForged(t, s, "session", forged)
	}
}

// A session of a day's last minute can be renewed for MaxSleep after it expired, so that the
// key of its day verifies for a while of the day after the next, and is not swept before.
func TestAKeyVerifiesAsLongAsItsSessionsSleep(t *testing.T) {
	c, m := &hand{at: time.Date(2026, 3, 1, 23, 59, 59, 0, time.UTC)}, &storetest.Memory{}
	s := &Keyset{Store: m, Now: c.now}
	text := seal(t, s, "x")
	c.move(24 * time.Hour)
	seal(t, s, "y")
	c.move(time.Minute)
	seal(t, s, "z")
	c.move(SessionLife - time.Minute)
	checkOpens(t, s, text, "x")
	checkOpens(t, &Keyset{Store: m, Now: c.now}, text, "x")
	c.move(skew + time.Second)
	checkForged(t, s, "session", text)
}

// A text expires after the next day, whether or not a later signature swept the store;
// and texts of a broker whose clock is hours ahead are not accepted yet.
func TestDaysThatDoNotCount(t *testing.T) {
	c, m := noon(), &storetest.Memory{}
	text := seal(t, &Keyset{Store: m, Now: c.now}, "x")
	ahead := seal(t, &Keyset{Store: m, Now: func() time.Time { return c.now().Add(13 * time.Hour) }}, "y")
	checkForged(t, &Keyset{Store: m, Now: c.now}, "session", ahead)
	c.move(48 * time.Hour)
	checkForged(t, &Keyset{Store: m, Now: c.now}, "session", text)
}

func TestOpeningMakesNoKey(t *testing.T) {
	c, m := noon(), &storetest.Memory{}
	text := seal(t, &Keyset{Store: &storetest.Memory{}, Now: c.now}, "x")
	checkForged(t, &Keyset{Store: m, Now: c.now}, "session", text)
	for name := range m.List(t.Context(), store.SessionKeys()) {
		t.Errorf("the store has %s, want no key: nothing was signed", name)
	}
}

// A key that an operator deleted stays invalid: also if the store is down afterwards,
// and if another broker has made a new one for the same day.
func TestADeletedKeyDoesNotComeBack(t *testing.T) {
	for name, then := range map[string]func(c *hand, s *Keyset, m *storetest.Memory){
		"an outage": func(c *hand, s *Keyset, m *storetest.Memory) {
			checkForged(t, s, "session", "e30.20513.AA")
			s.Store = down{m}
		},
		"another key": func(c *hand, s *Keyset, m *storetest.Memory) {
			seal(t, &Keyset{Store: m, Now: c.now}, "y")
		},
	} {
		c, m := noon(), &storetest.Memory{}
		s := &Keyset{Store: m, Now: c.now}
		text := seal(t, s, "x")
		if err := m.Delete(t.Context(), store.SessionKey(dayOf(c.now()))); err != nil {
			t.Fatal(err)
		}
		c.move(recheck)
		then(c, s, m)
		if got, err := s.Open(t.Context(), "session", text); err == nil {
			t.Errorf("%s: Open = %q of a deleted key, want an error", name, got)
		}
	}
}

func TestWhatIsNoKeySignsNothing(t *testing.T) {
	for _, value := range []string{"c2hvcnQ", strings.Repeat("A", 44), strings.Repeat("!", 43), strings.Repeat("A", 43) + "!"} {
		c, m := noon(), &storetest.Memory{}
		if err := m.Put(t.Context(), store.SessionKey(dayOf(c.now())), store.NewSecret(value), store.CreateOnly); err != nil {
			t.Fatal(err)
		}
		if text, err := (&Keyset{Store: m, Now: c.now}).Seal(t.Context(), "session", nil); err == nil || strings.Contains(err.Error(), value) {
			t.Errorf("Seal with the key %q = %q, %v, want an error without it", value, text, err)
		}
	}
}

// late is a store that shows what another broker wrote a moment later.
type late struct {
	store.Store
	asked bool
}

func (l *late) Get(ctx context.Context, n store.Name) (store.Entry, error) {
	if !l.asked {
		l.asked = true
		return store.Entry{}, store.ErrNotFound
	}
	return l.Store.Get(ctx, n)
}

func TestTheKeyThatWasFirstIsTheKey(t *testing.T) {
	c, m := noon(), &storetest.Memory{}
	first := &Keyset{Store: m, Now: c.now}
	seal(t, first, "x")
	checkOpens(t, first, seal(t, &Keyset{Store: &late{Store: m}, Now: c.now}, "y"), "y")
}

// fleeting is a store in which another broker's key is deleted before it can be read.
type fleeting struct{ store.Store }

func (fleeting) Put(context.Context, store.Name, store.Secret, store.Mode) error {
	return store.ErrExists
}

func TestWithoutAKeyNothingIsSigned(t *testing.T) {
	s := &Keyset{Store: fleeting{&storetest.Memory{}}}
	if text, err := s.Seal(t.Context(), "session", nil); !errors.Is(err, store.ErrExists) || text != "" {
		t.Errorf("Seal = %q, %v, want the store's error", text, err)
	}
}

// A key is read once a minute, not for each session.
func TestAKeyIsBelievedForAMinute(t *testing.T) {
	c, m := noon(), &storetest.Memory{}
	s := &Keyset{Store: m, Now: c.now}
	text := seal(t, s, "x")
	s.Store = &late{Store: m} // would say that it has no key
	c.move(recheck - time.Second)
	checkOpens(t, s, text, "x")
}

// down is a store that does not answer.
type down struct{ store.Store }

func (down) Get(context.Context, store.Name) (store.Entry, error) {
	return store.Entry{}, errors.New("the store is down")
}

func TestAnOutageIsNoForgery(t *testing.T) {
	c, m := noon(), &storetest.Memory{}
	s := &Keyset{Store: m, Now: c.now}
	text := seal(t, s, "x")
	c.move(24 * time.Hour)
	today := seal(t, s, "y")
	s.Store = down{m}
	c.move(time.Hour)
	checkOpens(t, s, text, "x")
	checkOpens(t, s, today, "y")
	if _, err := (&Keyset{Store: down{m}, Now: c.now}).Open(t.Context(), "session", text); err == nil || errors.Is(err, ErrForged) {
		t.Errorf("Open without the store = %v, want an error that is not ErrForged", err)
	}
	for name, none := range map[string]*Keyset{"the zero Set": {}, "no Set": nil} {
		if _, err := none.Seal(t.Context(), "session", nil); err == nil {
			t.Errorf("%s seals", name)
		}
		if _, err := none.Open(t.Context(), "session", text); err == nil {
			t.Errorf("%s opens", name)
		}
	}
}

func FuzzOpen(f *testing.F) {
	c := noon()
	s := &Keyset{Store: &storetest.Memory{}, Now: c.now}
	good, err := s.Seal(context.Background(), "session", []byte("x"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add("a.20513.b")
	f.Fuzz(func(t *testing.T, text string) {
		if payload, err := s.Open(t.Context(), "session", text); err == nil && text != good {
			t.Errorf("Open(%q) = %q, want ErrForged", text, payload)
		}
	})
}

func TestEncryptedTextsAreReadByReplicasOnly(t *testing.T) {
	c, m := noon(), &storetest.Memory{}
	one, two := &Keyset{Store: m, Now: c.now}, &Keyset{Store: m, Now: c.now}
	const payload = "https://storage.example/object?X-Amz-Signature=5ec3e7"
	text, err := one.Encrypt(t.Context(), "lfs", []byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	again, _ := one.Encrypt(t.Context(), "lfs", []byte(payload))
	if text == again || strings.Contains(text, "Amz") {
		t.Errorf("Encrypt = %q and %q, want two texts that show nothing", text, again)
	}
	if got, err := two.Decrypt(t.Context(), "lfs", text); err != nil || string(got) != payload {
		t.Errorf("Decrypt by another replica = %q, %v, want the payload", got, err)
	}
	sealed := seal(t, one, payload)
	body, of, _ := cutLast(text)
	stranger := &Keyset{Store: &storetest.Memory{}, Now: c.now}
	if _, err := stranger.Encrypt(t.Context(), "lfs", nil); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		by            *Keyset
		purpose, text string
	}{
		"another purpose":     {two, "session", text},
		"a signed text":       {two, "session", sealed},
		"another day":         {two, "lfs", body + ".1"},
		"a day written twice": {two, "lfs", body + ".0" + of},
		"a changed byte":      {two, "lfs", flipped(text)},
		"half of it":          {two, "lfs", text[:10] + "." + of},
		"nothing":             {two, "lfs", ""},
		"another broker":      {stranger, "lfs", text},
		"the zero Keyset":     {&Keyset{Now: func() time.Time { return time.Unix(0, 0) }}, "lfs", text},
	} {
		if got, err := test.by.Decrypt(t.Context(), test.purpose, test.text); !errors.Is(err, ErrForged) {
			t.Errorf("%s: Decrypt = %q, %v, want ErrForged", name, got, err)
		}
	}
	c.move(48 * time.Hour)
	if got, err := two.Decrypt(t.Context(), "lfs", text); !errors.Is(err, ErrForged) {
		t.Errorf("Decrypt after two days = %q, %v, want ErrForged", got, err)
	}
}

func flipped(text string) string {
	other := byte('A')
	if text[5] == other {
		other = 'B'
	}
	return text[:5] + string(other) + text[6:]
}

// A store that cannot be read does not count as a forgery: the caller may retry.
func TestDecryptTellsAnOutageFromAForgery(t *testing.T) {
	c, m := noon(), &storetest.Memory{}
	text, err := (&Keyset{Store: m, Now: c.now}).Encrypt(t.Context(), "lfs", []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := new(Keyset).Encrypt(t.Context(), "lfs", nil); err == nil {
		t.Error("the zero Keyset encrypts, want an error")
	}
	without := &Keyset{Now: c.now}
	if got, err := without.Decrypt(t.Context(), "lfs", text); err == nil || errors.Is(err, ErrForged) {
		t.Errorf("Decrypt without a store = %q, %v, want another error than ErrForged", got, err)
	}
}
