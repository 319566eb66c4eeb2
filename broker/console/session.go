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
	// sessionLife is how long a login holds.
	sessionLife = 8 * time.Hour
	// purpose tells what is sealed for a login from what is sealed for others.
	purpose = "console"

	// A name that begins with __Host- is taken by browsers over TLS only, for this
	// host and the whole of it (RFC 6265bis, 4.1.3.2).
	secureCookie = "__Host-gatepass-console"
	plainCookie  = "gatepass-console"
)

// A session is a login, as the cookie has it. The token that was shown is not in
// it.
type session struct {
	Key     string    `json:"key"` // of the operator's rule
	Method  string    `json:"method"`
	Subject string    `json:"subject"`
	Until   time.Time `json:"until"`
	// ID tells logins of the same moment apart.
	ID string `json:"id"`
}

// open returns the operator who is logged in. A login ends with its time, with the
// rule that it was by, and when somebody signs it out at any replica. An error says
// that the last cannot be found out.
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

// session reads the cookie, and says where it is noted that the login was signed out.
func (c *Console) session(r *http.Request) (s session, id store.Name, ok bool) {
	cookie, err := r.Cookie(cookieName(r))
	if err != nil {
		return s, id, false
	}
	payload, err := c.Keys.Open(r.Context(), purpose, cookie.Value)
	if err != nil || json.Unmarshal(payload, &s) != nil || !c.Revoker.Now().Before(s.Until) {
		return s, id, false
	}
	return s, store.Spent(sha256.Sum256(append([]byte(purpose+" signed out\n"), payload...))), true
}

// login gives the browser a cookie.
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

// logout ends a login at all replicas, for whoever has a copy of the cookie, too, and
// takes the cookie away.
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
	maxAttempts   = 5 // of one address in a window
	attemptWindow = time.Minute
)

// loginLimits are for logins that fail, for each address. There is no limit for all of
// them: an operator's token is too long to guess, and anybody who reaches the page could
// keep every operator out of it.
func loginLimits() broker.Limits {
	return broker.Limits{Rate: maxAttempts / attemptWindow.Seconds(), Burst: maxAttempts}
}
