package fakegithub

import (
	"fmt"
	"strings"
)

// The two kinds of account an App can be installed on.
const (
	User         = "User"
	Organization = "Organization"
)

type account struct {
	id    int64
	login string
	kind  string // User, Organization, or "" until something says which
}

// account finds or creates an account. kind may be empty for "whatever it is".
func (st *state) account(login, kind string) (*account, error) {
	if !validOwner(login) {
		return nil, fmt.Errorf("account name %q is not one GitHub allows", login)
	}
	if kind != "" && kind != User && kind != Organization {
		return nil, fmt.Errorf("account type %q is neither User nor Organization", kind)
	}
	a := st.accounts[fold(login)]
	if a == nil {
		a = &account{id: st.nextID(), login: login}
		st.accounts[fold(login)] = a
	}
	if kind != "" && a.kind != "" && a.kind != kind {
		return nil, fmt.Errorf("account %s is a %s", a.login, a.kind)
	}
	if a.kind == "" {
		a.kind = kind
	}
	return a, nil
}

// AddAccount creates an account. Repositories and installations create theirs
// when they need to, so this is for saying what type an account has.
func (s *Server) AddAccount(login, kind string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := s.state.account(login, kind)
	return err
}

func (a *account) shownKind() string {
	if a.kind == "" {
		return User
	}
	return a.kind
}

// fold is how GitHub compares names. Names are checked to be ASCII first.
func fold(name string) string { return strings.ToLower(name) }

func validOwner(s string) bool {
	return s != "" && len(s) <= 39 && s[0] != '-' && s[0] != '_' && onlyNameBytes(s, "-_")
}

func validRepository(s string) bool {
	return s != "" && len(s) <= 100 && s != "." && s != ".." && onlyNameBytes(s, "-_.")
}

func onlyNameBytes(s, extra string) bool {
	for i := range len(s) {
		c := s[i]
		alnum := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !alnum && strings.IndexByte(extra, c) < 0 {
			return false
		}
	}
	return true
}
