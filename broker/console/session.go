package console

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/store"
)

const (
	// sessionLife is how long a login is valid.
	sessionLife = 8 * time.Hour
	// purpose keeps texts sealed for logins apart from those sealed for other uses.
	purpose = "console"

	// Browsers accept a name that begins with __Host- only over TLS, for this host and
	// all its paths (RFC 6265bis, 4.1.3.2).
	secureCookie = "__Host-gatepass-console"
	plainCookie  = "gatepass-console"
)

// A session is a login, as it is in the cookie. It does not contain the operator's
// token.
type session struct {
	Key     string    `json:"key"` // key of the operator's rule
	Method  string    `json:"method"`
	Subject string    `json:"subject"`
	Until   time.Time `json:"until"`
	// ID distinguishes logins of the same moment.
	ID string `json:"id"`
}

// open returns the operator who is logged in. A login ends when it expires, when its
// rule is removed, or when it is signed out at any replica. open returns an error if it
// cannot read whether the login was signed out.
func (c *Console) open(r *http.Request) (who broker.Operator, ok bool, err error) {
	s, id, ok := c.session(r)
	if !ok {
		return who, false, nil
	}
	rule, ok := c.Server.Policy().OperatorByKey(s.Key)
	if !ok {
		return who, false, nil
	}
	_, err = c.Store.Get(r.Context(), id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return broker.Operator{Name: rule.Name, Key: s.Key, Method: s.Method, Subject: s.Subject}, true, nil
	case err == nil, errors.Is(err, store.ErrDamaged):
		return who, false, nil
	}
	return who, false, broker.StoreUnavailable(err)
}

// session reads the cookie. id is the store entry that exists once the login is signed
// out.
func (c *Console) session(r *http.Request) (s session, id store.Name, ok bool) {
	cookie, err := r.Cookie(cookieName(r))
	if err != nil {
		return s, id, false
	}
	payload, err := c.Keys.Open(r.Context(), purpose, cookie.Value)
	if err != nil || json.Unmarshal(payload, &s) != nil || !c.Revoker.Now().Before(s.Until) {
		return s, id, false
	}
	return s, store.UsedProof(sha256.Sum256(append([]byte(purpose+" signed out\n"), payload...))), true
}

// login sets the login cookie.
func (c *Console) login(w http.ResponseWriter, r *http.Request, who broker.Operator) error {
	until := c.Revoker.Now().Add(sessionLife)
	payload, err := json.Marshal(session{Key: who.Key, Method: who.Method, Subject: who.Subject, Until: until, ID: rand.Text()})
	if err != nil {
		return err
	}
	text, err := c.Keys.Seal(r.Context(), purpose, payload)
	if err != nil {
		return broker.StoreUnavailable(err)
	}
	http.SetCookie(w, cookie(r, text, int(sessionLife/time.Second)))
	return nil
}

// logout ends a login at all replicas, including copies of the cookie, and deletes the
// cookie.
func (c *Console) logout(w http.ResponseWriter, r *http.Request) error {
	if s, id, ok := c.session(r); ok {
		if _, err := store.Claim(r.Context(), c.Store, id, s.Until); err != nil {
			return broker.StoreUnavailable(err)
		}
	}
	http.SetCookie(w, cookie(r, "", -1))
	return nil
}

func cookie(r *http.Request, value string, maxAge int) *http.Cookie {
	return &http.Cookie{Name: cookieName(r), Value: value, Path: "/", MaxAge: maxAge, HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteStrictMode}
}

func cookieName(r *http.Request) string {
	if r.TLS != nil {
		return secureCookie
	}
	return plainCookie
}

const (
	maxAttempts   = 5 // failed logins of one address in attemptWindow
	attemptWindow = time.Minute
)

// loginLimits returns the limits of failed logins for each address. There is no total
// limit: an operator's token is too long to guess, and with a total limit anyone who
// reaches the page could lock out all operators.
func loginLimits() broker.Limits {
	return broker.Limits{Rate: maxAttempts / attemptWindow.Seconds(), Burst: maxAttempts}
}
