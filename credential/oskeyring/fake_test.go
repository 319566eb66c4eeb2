package oskeyring

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/gatepass/gatepass/credential"
)

// memory is a ring in memory that can be locked, and may not answer.
type memory struct {
	mu      sync.Mutex
	entries map[item][]byte
	written time.Time
	locked  bool
	silent  bool
	calls   int
}

func (m *memory) enter(ctx context.Context) error {
	m.calls++
	if m.silent {
		<-ctx.Done()
		return errNoAnswer
	}
	if m.locked {
		return errLocked
	}
	return nil
}

func (m *memory) get(ctx context.Context, it item) ([]byte, time.Time, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.enter(ctx); err != nil {
		return nil, time.Time{}, err
	}
	value, ok := m.entries[it]
	if !ok {
		return nil, time.Time{}, errNotFound
	}
	return value, m.written, nil
}

func (m *memory) set(ctx context.Context, it item, _ string, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.enter(ctx); err != nil {
		return err
	}
	if m.entries == nil {
		m.entries = make(map[item][]byte)
	}
	m.entries[it] = value
	return nil
}

func (m *memory) remove(ctx context.Context, it item) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.enter(ctx); err != nil {
		return err
	}
	delete(m.entries, it)
	return nil
}

// issuer gives tok-1, tok-2, … for an hour each, the same for all repositories of an
// owner.
type issuer struct {
	name  string // before the number
	calls int
	fails bool
}

var errDown = errors.New("the source is down")

func (s *issuer) Token(context.Context, credential.Request) (credential.Token, error) {
	s.calls++
	if s.fails {
		return credential.Token{}, errDown
	}
	return credential.NewToken(fmt.Sprintf("%stok-%d", s.name, s.calls), time.Now().Add(time.Hour)), nil
}

func (s *issuer) Key(req credential.Request) string {
	owner, _, _ := req.Repository()
	return owner
}

func request(host, path string) credential.Request {
	return credential.Request{Protocol: "https", Host: host, Path: path}
}

var widgets = request("github.com", "acme/widgets")

func shortLived(context.Context, credential.Request) (credential.Token, error) {
	return credential.NewToken("brief", time.Now().Add(3*time.Minute)), nil
}

// careful is a source with different tokens for reading and for writing.
type careful struct{ issuer }

func (*careful) UsesOperation() bool { return true }
