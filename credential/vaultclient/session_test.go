package vaultclient

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/test/vaulttest"
)

// appRole returns a client whose tokens live for ttl, and at most for most.
func appRole(t *testing.T, ttl, most time.Duration) (*vaulttest.Vault, *Client) {
	isolate(t)
	v := newVault()
	v.Accept("approle", vaulttest.Login{Body: map[string]string{"role_id": "r"}, TTL: ttl, MaxTTL: most, Renewable: true})
	return v, client(t, v, "auth=approle&role_id=r")
}

const (
	loginCall = "POST auth/approle/login"
	renewCall = "POST auth/token/renew-self"
)

func TestUpkeepKeepsTheLogin(t *testing.T) {
	v, c := appRole(t, 2*time.Minute, 0)
	synctest.Test(t, func(t *testing.T) {
		c.Upkeep(t.Context()) // nothing to keep alive yet
		for range 60 {        // half an hour
			if err := read(t, c); err != nil {
				t.Fatal(err)
			}
			time.Sleep(30 * time.Second)
			c.Upkeep(t.Context())
		}
	})
	if v.Count(loginCall) != 1 || v.Count(renewCall) < 15 || v.Count(renewCall) > 31 {
		t.Errorf("%d logins and %d renewals in half an hour, want 1 and one in a minute", v.Count(loginCall), v.Count(renewCall))
	}
}

func TestLoginAgainAtTheEndOfTheLongestLife(t *testing.T) {
	v, c := appRole(t, 2*time.Minute, 10*time.Minute)
	synctest.Test(t, func(t *testing.T) {
		for range 60 {
			if err := read(t, c); err != nil {
				t.Fatal(err)
			}
			time.Sleep(30 * time.Second)
			c.Upkeep(t.Context())
		}
	})
	if n := v.Count(loginCall); n < 3 || n > 4 {
		t.Errorf("%d logins in half an hour, want one in ten minutes", n)
	}
}

func TestIdleClientLogsInAgain(t *testing.T) {
	v, c := appRole(t, time.Minute, 0)
	synctest.Test(t, func(t *testing.T) {
		for range 3 {
			if err := read(t, c); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour)
		}
	})
	if v.Count(loginCall) != 3 || v.Count(renewCall) != 0 {
		t.Errorf("calls %q, want three logins", v.Calls())
	}
}

func TestRevokedLoginIsReplaced(t *testing.T) {
	v, c := appRole(t, time.Hour, 0)
	if err := read(t, c); err != nil {
		t.Fatal(err)
	}
	v.Revoke()
	if err := read(t, c); err != nil || v.Count(loginCall) != 2 {
		t.Errorf("Read after a revocation = %v with %d logins, want the secret with 2", err, v.Count(loginCall))
	}
}

// Requests that notice at the same time that the login has expired share one new login.
func TestManyRequestsShareALogin(t *testing.T) {
	v, c := appRole(t, time.Hour, 0)
	if err := read(t, c); err != nil {
		t.Fatal(err)
	}
	v.Revoke()
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if err := read(t, c); err != nil {
				t.Error(err)
			}
		})
		all.Go(func() { c.Upkeep(t.Context()) })
		all.Go(func() { c.Deadline() })
	}
	all.Wait()
	if n := v.Count(loginCall); n != 2 {
		t.Errorf("%d logins, want the first and one more", n)
	}
}

// Each login leaves a token behind, so a plain denial must not cause one; but a
// role may have got a policy since.
func TestDenialCausesALoginOnlyLater(t *testing.T) {
	v, c := appRole(t, time.Hour, 0)
	synctest.Test(t, func(t *testing.T) {
		if err := read(t, c); err != nil {
			t.Fatal(err)
		}
		v.FailNext(vaulttest.Errors(403, "permission denied"))
		if err := read(t, c); !isDenied(err) || v.Count(loginCall) != 1 {
			t.Errorf("Read = %v with %d logins, want a denial with 1", err, v.Count(loginCall))
		}
		time.Sleep(2 * time.Minute)
		v.FailNext(vaulttest.Errors(403, "permission denied"))
		if err := read(t, c); err != nil || v.Count(loginCall) != 2 {
			t.Errorf("Read = %v with %d logins, want the secret with 2", err, v.Count(loginCall))
		}
	})
}

func TestOldLoginStaysWhileANewOneFails(t *testing.T) {
	v, c := appRole(t, time.Hour, time.Hour)
	synctest.Test(t, func(t *testing.T) {
		if err := read(t, c); err != nil {
			t.Fatal(err)
		}
		v.Accept("approle", vaulttest.Login{Body: map[string]string{"role_id": "another"}})
		time.Sleep(50 * time.Minute)
		if err := read(t, c); err != nil {
			t.Errorf("Read with ten minutes left = %v, want the secret", err)
		}
		time.Sleep(10 * time.Minute)
		checkError(t, read(t, c), "Vault does not accept the login", "check role ID and secret ID")
	})
}

// A given token may be renewed as well, and its expiry bounds what it leased.
func TestGivenTokenIsRenewed(t *testing.T) {
	isolate(t)
	v := newVault()
	var c *Client
	synctest.Test(t, func(t *testing.T) {
		c = client(t, v, "token_file="+writeFile(t, v.Give(vaulttest.Login{TTL: 2 * time.Minute, Renewable: true})))
		for range 20 {
			if err := read(t, c); err != nil {
				t.Fatal(err)
			}
			time.Sleep(30 * time.Second)
			c.Upkeep(t.Context())
		}
		if !c.Deadline().IsZero() || v.Count("GET auth/token/lookup-self") != 1 {
			t.Errorf("Deadline = %v, calls %q, want none and one look at the token", c.Deadline(), v.Calls())
		}
		c = client(t, v, "token_file="+writeFile(t, v.Give(vaulttest.Login{TTL: time.Hour})))
		if err := read(t, c); err != nil {
			t.Fatal(err)
		}
		c.Upkeep(t.Context())
		if left := time.Until(c.Deadline()); left < 59*time.Minute || left > time.Hour {
			t.Errorf("Deadline in %v, want in an hour", left)
		}
	})
}
