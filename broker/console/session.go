package console

import (
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/gatepass/gatepass/broker"
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
}

// open returns the operator who is logged in. A login ends with its time, and
// with the rule that it was by.
func (c *Console) open(r *http.Request) (broker.Operator, bool) {
	cookie, err := r.Cookie(cookieName(r))
	if err != nil {
		return broker.Operator{}, false
	}
	payload, err := c.Keys.Open(r.Context(), purpose, cookie.Value)
	if err != nil {
		return broker.Operator{}, false
	}
	var s session
	if json.Unmarshal(payload, &s) != nil || !c.now().Before(s.Until) {
		return broker.Operator{}, false
	}
	rule, ok := c.Server.Policy().OperatorByKey(s.Key)
	if !ok {
		return broker.Operator{}, false
	}
	return broker.Operator{Name: rule.Name, Key: s.Key, Method: s.Method, Subject: s.Subject}, true
}

// login gives the browser a cookie.
func (c *Console) login(w http.ResponseWriter, r *http.Request, who broker.Operator) error {
	until := c.now().Add(sessionLife)
	payload, err := json.Marshal(session{Key: who.Key, Method: who.Method, Subject: who.Subject, Until: until})
	if err != nil {
		return err
	}
	text, err := c.Keys.Seal(r.Context(), purpose, payload)
	if err != nil {
		return noStore(err)
	}
	http.SetCookie(w, cookie(r, text, int(sessionLife/time.Second)))
	return nil
}

// logout takes the cookie away.
func logout(w http.ResponseWriter, r *http.Request) { http.SetCookie(w, cookie(r, "", -1)) }

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

// limiter counts logins that failed, for each address. There is no limit for all of
// them: an operator's token is too long to be guessed, and whoever reaches the page
// could keep every operator out of it.
type limiter struct {
	now func() time.Time

	mu     sync.Mutex // guards the rest
	since  time.Time
	counts map[string]int
}

// allows reports whether an address may try now.
func (l *limiter) allows(address string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now().Sub(l.since) >= attemptWindow {
		l.since, l.counts = l.now(), map[string]int{}
	}
	return l.counts[address] < maxAttempts
}

// failed counts an attempt.
func (l *limiter) failed(address string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts[address]++
}
