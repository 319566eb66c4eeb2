package oidc

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatepass/gatepass/broker"
)

func TestIdentify(t *testing.T) {
	i := newIssuer(t)
	by := i.identifier(t, nil)
	for name, token := range map[string]string{
		"RSA":           i.token(nil),
		"EC":            signEC(ecKey(), map[string]any{"alg": "ES256", "kid": "ec"}, i.claims(nil)),
		"a list of one": i.token(map[string]any{"aud": []string{audience}}),
		"within skew":   i.token(map[string]any{"nbf": i.now().Unix() + 59, "iat": i.now().Unix() + 59, "exp": i.now().Unix() - 59}),
		"no nbf or iat": i.token(map[string]any{"nbf": nil, "iat": nil}),
		"a fraction":    i.token(map[string]any{"exp": float64(i.now().Unix()) + 60.5}),
	} {
		c, err := identify(t.Context(), by, token)
		if err != nil || c.Method != "oidc" || c.Subject != i.URL+" job 7" {
			t.Errorf("%s: Identify = %+v, %v", name, c, err)
		}
	}
	c, err := identify(t.Context(), by, i.token(map[string]any{"n": 12345678901234567, "b": true, "kubernetes.io": map[string]any{"namespace": "ci"}}))
	for path, want := range map[string]string{"n": "12345678901234567", "b": "true", "kubernetes.io/namespace": "ci"} {
		if got, _ := c.Claim(path); err != nil || got != want {
			t.Errorf("Claim(%s) = %q, %v, want %q", path, got, err, want)
		}
	}
	if n := i.times(keysPath); n != 1 {
		t.Errorf("the keys were fetched %d times, want once", n)
	}
}

// A token of another issuer, and a text that is not a token, are left to other
// identifiers.
func TestNoProof(t *testing.T) {
	i := newIssuer(t)
	by := i.identifier(t, nil)
	for name, token := range map[string]string{
		"nothing":                   "",
		"an opaque token":           "gpj_0123456789abcdef",
		"dots":                      "a.b.c",
		"issuer with a slash":       i.token(map[string]any{"iss": i.URL + "/"}),
		"a longer issuer":           i.token(map[string]any{"iss": i.URL + ".evil.example"}),
		"a shorter issuer":          i.token(map[string]any{"iss": i.URL[:len(i.URL)-1]}),
		"an issuer in capitals":     i.token(map[string]any{"iss": strings.ToUpper(i.URL)}),
		"an issuer before a space":  i.token(map[string]any{"iss": i.URL + " "}),
		"an issuer without scheme":  i.token(map[string]any{"iss": strings.TrimPrefix(i.URL, "https://")}),
		"a list of issuers":         i.token(map[string]any{"iss": []string{i.URL}}),
		"no issuer":                 i.token(map[string]any{"iss": nil}),
		"another issuer's alg none": signingInput([]byte(`{"alg":"none"}`), []byte(`{"iss":"https://evil.example"}`)) + "." + segment([]byte("x")),
	} {
		if _, err := identify(t.Context(), by, token); !errors.Is(err, broker.ErrNoProof) {
			t.Errorf("%s: Identify = %v, want ErrNoProof", name, err)
		}
	}
	if i.times(discoveryPath) != 0 {
		t.Error("what is no token of the issuer made us ask it")
	}
}

func TestAttacks(t *testing.T) {
	i := newIssuer(t)
	header := func(more map[string]any) map[string]any {
		h := map[string]any{"alg": "RS256", "kid": "rsa", "typ": "JWT"}
		for name, v := range more {
			h[name] = v
		}
		return h
	}
	der, err := x509.MarshalPKIXPublicKey(&rsaKey().PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	now := i.now().Unix()
	good := i.token(nil)
	parts := strings.Split(good, ".")
	claims := i.claims(nil)
	text := func(more string) string {
		return `{"iss":"` + i.URL + `","aud":"gatepass","sub":"a","exp":` + strconv.FormatInt(now+300, 10) + more + `}`
	}
	forged := signRSA(otherRSAKey(), header(nil), claims)
	own := jose.JSONWebKey{Key: &otherRSAKey().PublicKey, KeyID: "rsa", Algorithm: "RS256"}
	for name, c := range map[string]struct{ token, want string }{
		"alg none, unsigned":   {signingInput(marshal(header(map[string]any{"alg": "none"})), marshal(claims)) + ".", "empty"},
		"alg none, signed":     {signRSA(rsaKey(), header(map[string]any{"alg": "none"}), claims), `signed by "none"`},
		"alg None":             {signRSA(rsaKey(), header(map[string]any{"alg": "None"}), claims), `signed by "None"`},
		"no alg":               {signRSA(rsaKey(), map[string]any{"kid": "rsa"}, claims), `signed by ""`},
		"alg a list":           {signRSA(rsaKey(), header(map[string]any{"alg": []string{"RS256"}}), claims), "not a string"},
		"HS256 by public key":  {signHMAC(public, header(map[string]any{"alg": "HS256"}), claims), `signed by "HS256"`},
		"HS256 by DER":         {signHMAC(der, header(map[string]any{"alg": "HS256"}), claims), `signed by "HS256"`},
		"alg not allowed":      {signRSA(rsaKey(), header(map[string]any{"alg": "RS512"}), claims), `signed by "RS512"`},
		"alg of another key":   {signRSA(rsaKey(), header(map[string]any{"alg": "ES256"}), claims), "is not for the token's algorithm ES256"},
		"another's key":        {forged, "the token's signature is not valid"},
		"a payload exchanged":  {parts[0] + "." + segment(marshal(i.claims(map[string]any{"sub": "root"}))) + "." + parts[2], "the token's signature is not valid"},
		"a header exchanged":   {segment([]byte(`{"alg":"RS256","kid":"rsa"}`)) + "." + parts[1] + "." + parts[2], "the token's signature is not valid"},
		"own jwk":              {signRSA(otherRSAKey(), header(map[string]any{"jwk": own}), claims), "the token's signature is not valid"},
		"own jku":              {signRSA(otherRSAKey(), header(map[string]any{"jku": i.URL + "/evil", "kid": "evil"}), claims), "does not publish"},
		"own x5u":              {signRSA(otherRSAKey(), header(map[string]any{"x5u": i.URL + "/evil"}), claims), "the token's signature is not valid"},
		"crit":                 {signRSA(rsaKey(), header(map[string]any{"crit": []string{"exp"}}), claims), "header has crit"},
		"b64 false":            {signRSA(rsaKey(), header(map[string]any{"b64": false}), claims), "header has b64"},
		"typ of access tokens": {signRSA(rsaKey(), header(map[string]any{"typ": "at+jwt"}), claims), `typ is "at+jwt"`},
		"kid traversal":        {signRSA(rsaKey(), header(map[string]any{"kid": "../../rsa"}), claims), "does not publish"},
		"kid absolute":         {signRSA(rsaKey(), header(map[string]any{"kid": "/dev/null"}), claims), "does not publish"},
		"kid as SQL":           {signRSA(rsaKey(), header(map[string]any{"kid": "x' OR '1'='1"}), claims), "does not publish"},
		"kid very long":        {signRSA(rsaKey(), header(map[string]any{"kid": strings.Repeat("a", 4000)}), claims), "does not publish"},
		"kid in capitals":      {signRSA(rsaKey(), header(map[string]any{"kid": "RSA"}), claims), "does not publish"},
		"kid a number":         {signRSA(rsaKey(), header(map[string]any{"kid": 0}), claims), "not a string"},
		"no kid":               {signRSA(otherRSAKey(), map[string]any{"alg": "RS256"}, claims), "the token's signature is not valid"},
		"other aud":            {i.token(map[string]any{"aud": "other"}), `audience is not only "gatepass"`},
		"longer aud":           {i.token(map[string]any{"aud": "gatepass2"}), `audience is not only "gatepass"`},
		"aud in capitals":      {i.token(map[string]any{"aud": "Gatepass"}), `audience is not only "gatepass"`},
		"aud with more":        {i.token(map[string]any{"aud": []string{"gatepass", "other"}}), "not only"},
		"aud twice":            {i.token(map[string]any{"aud": []string{"gatepass", "gatepass"}}), "not only"},
		"aud an object":        {i.token(map[string]any{"aud": map[string]any{"gatepass": true}}), "not only"},
		"aud nested":           {i.token(map[string]any{"aud": []any{[]string{"gatepass"}}}), "not only"},
		"aud joined":           {i.token(map[string]any{"aud": "gatepass,other"}), "not only"},
		"aud empty":            {i.token(map[string]any{"aud": []string{}}), "not only"},
		"no aud":               {i.token(map[string]any{"aud": nil}), "not only"},
		"expired":              {i.token(map[string]any{"exp": now - 60}), "expired"},
		"no exp":               {i.token(map[string]any{"exp": nil}), "no exp"},
		"exp a text":           {i.token(map[string]any{"exp": "9999999999"}), "exp is not a date"},
		"exp negative":         {i.token(map[string]any{"exp": -1}), "exp is not a date"},
		"exp endless":          {signRSA(rsaKey(), header(nil), strings.Replace(text(""), `"exp":`, `"exp":1e400,"x":`, 1)), "exp is not a date"},
		"not valid yet":        {i.token(map[string]any{"nbf": now + 61}), "not valid yet"},
		"issued in the future": {i.token(map[string]any{"iat": now + 61}), "in the future"},
		"no sub":               {i.token(map[string]any{"sub": nil}), "no sub"},
		"sub a list":           {i.token(map[string]any{"sub": []string{"a"}}), "no sub"},
		"sub twice":            {signRSA(rsaKey(), header(nil), text(`,"sub":"b"`)), "it has a claim twice"},
		"sub escaped twice":    {signRSA(rsaKey(), header(nil), text(`,"\u0073ub":"b"`)), "it has a claim twice"},
		"nested twice":         {signRSA(rsaKey(), header(nil), text(`,"k":{"a":1,"a":2}`)), "it has a claim twice"},
		"Sub and sub":          {i.token(map[string]any{"Sub": "b"}), "and sub"},
		"long s":               {i.token(map[string]any{"i\u017fs": "https://evil.example"}), "and iss"},
		"not valid Unicode":    {signRSA(rsaKey(), header(nil), text(",\"k\":\"\xff\"")), "not valid Unicode"},
		"half a character":     {signRSA(rsaKey(), header(nil), text(`,"k":"\ud800"`)), "not valid Unicode"},
		"two objects":          {signRSA(rsaKey(), header(nil), text("")+"{}"), "it is not a JSON object"},
		"too deep":             {signRSA(rsaKey(), header(nil), text(`,"k":`+strings.Repeat("[", 100)+strings.Repeat("]", 100))), "nested too deep"},
		"alg twice":            {signRSA(rsaKey(), `{"alg":"RS256","alg":"none","kid":"rsa"}`, claims), "header: it has a claim twice"},
		"huge":                 {i.token(map[string]any{"k": strings.Repeat("a", maxToken)}), "longer than 8192 bytes"},
		"many dots":            {"ey" + strings.Repeat(".", 8000), "three parts"},
		"four parts":           {good + ".e30", "three parts"},
		"two parts":            {parts[0] + "." + parts[1], "three parts"},
		"encrypted":            {good + ".e30.e30", "three parts"},
		"an empty signature":   {parts[0] + "." + parts[1] + ".", "empty"},
		"padding":              {parts[0] + "." + parts[1] + "." + parts[2] + "==", "a part of the token is not valid base64url"},
		"standard base64":      {parts[0] + "." + parts[1] + "." + base64.RawStdEncoding.EncodeToString([]byte{0xfb, 0xff}), "a part of the token is not valid base64url"},
		"bits left over":       {parts[0] + "." + parts[1] + "." + parts[2][:len(parts[2])-1] + "_", "a part of the token is not valid base64url"},
		"a space inside":       {parts[0] + "." + parts[1] + ". " + parts[2], "a part of the token is not valid base64url"},
	} {
		by := i.identifier(t, nil)
		caller, err := identify(t.Context(), by, c.token)
		if err == nil || errors.Is(err, broker.ErrNoProof) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Identify = %+v, %v, want an error with %q", name, caller, err, c.want)
		}
	}
	if i.times("/evil") != 0 {
		t.Error("a token sent us to a place of its own")
	}
	if _, err := identify(t.Context(), i.identifier(t, nil), good); err != nil {
		t.Errorf("the good token among them: %v", err)
	}
}

// Keys inside a token make no difference.
func TestOwnKeysAreNotLookedAt(t *testing.T) {
	i := newIssuer(t)
	token := signRSA(rsaKey(), map[string]any{"alg": "RS256", "kid": "rsa", "jku": i.URL + "/evil", "x5u": i.URL + "/evil", "x5t": "AAAA"}, i.claims(nil))
	if _, err := identify(t.Context(), i.identifier(t, nil), token); err != nil || i.times("/evil") != 0 {
		t.Errorf("Identify = %v, and /evil was asked %d times", err, i.times("/evil"))
	}
}

// Subjects are exact: no case, form or prefix of Unicode turns one into another.
func TestSubjectsAreExact(t *testing.T) {
	i := newIssuer(t)
	by := i.identifier(t, nil)
	match := broker.Exactly{"sub": "repo:acme/caf\u00e9"}
	for sub, want := range map[string]bool{
		"repo:acme/caf\u00e9": true, "repo:acme/cafe\u0301": false, "repo:ACME/caf\u00e9": false, "repo:acme/caf\u00e9/x": false,
		"repo:acme/caf": false, "repo:acme/caf\u00e9\u200b": false, " repo:acme/caf\u00e9": false, "repo:acme/caf\u00e9\n": false, "repo:acme/caf\u00e9\x00": false,
	} {
		c, err := identify(t.Context(), by, i.token(map[string]any{"sub": sub}))
		if err != nil {
			t.Errorf("%q: Identify = %v", sub, err)
		}
		if got, _ := match.Match(c); got != want {
			t.Errorf("the rule for %q matches %q: %v", match["sub"], sub, got)
		}
	}
}

// A rule sees the whole subject: an attacker could choose where a cut one ends.
func TestSubjectsAreWhole(t *testing.T) {
	i := newIssuer(t)
	by := i.identifier(t, nil)
	for _, n := range []int{0, 1, 100, 150, 199, 200, 201, 255, 300, 1000, 4000} {
		sub := "repo:acme/" + strings.Repeat("x", n) + ":ref:refs/heads/main"
		c, err := identify(t.Context(), by, i.token(map[string]any{"sub": sub}))
		if len(i.URL+" "+sub) > broker.MaxSubject {
			if err == nil || !strings.Contains(err.Error(), "subject") {
				t.Errorf("%d bytes: Identify = %v, want that the subject is too long", len(sub), err)
			}
			continue
		}
		if err != nil || c.Subject != i.URL+" "+sub {
			t.Errorf("%d bytes: Identify = %d bytes, %v", len(sub), len(c.Subject), err)
		}
	}
}

func TestTwoAuthorizationHeaders(t *testing.T) {
	i := newIssuer(t)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Add("Authorization", "Bearer "+i.token(nil))
	r.Header.Add("Authorization", "Bearer "+i.token(nil))
	if _, err := i.identifier(t, nil).Identify(t.Context(), r); !errors.Is(err, broker.ErrNoProof) {
		t.Errorf("Identify = %v, want ErrNoProof", err)
	}
}

// Rules for several audiences and issuers share a broker: each token matches its own
// rule, and no other.
func TestResolve(t *testing.T) {
	i, other := newIssuer(t), newIssuer(t)
	p := &broker.Policy{Rules: []broker.Rule{
		{Name: "other issuer", By: other.identifier(t, nil), Workspace: "other"},
		{Name: "other audience", By: i.identifier(t, func(s *Settings) { s.Audience = "second" }), Workspace: "second"},
		{Name: "main", By: i.identifier(t, nil), Match: broker.Exactly{"ref": "refs/heads/main"}, Workspace: "ci-{claim.repository_id}"},
	}}
	resolve := func(token string) (broker.Workspace, int) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/token", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		w, err := p.Resolve(t.Context(), r)
		if refusal, ok := errors.AsType[*broker.Refusal](err); ok {
			return w, refusal.Status
		}
		return w, http.StatusOK
	}
	claims := func(more map[string]any) map[string]any {
		all := map[string]any{"ref": "refs/heads/main", "repository_id": "7"}
		for name, v := range more {
			all[name] = v
		}
		return all
	}
	for _, c := range []struct {
		name, token, workspace string
		status                 int
	}{
		{"main", i.token(claims(nil)), "ci-7", http.StatusOK},
		{"the other audience", i.token(claims(map[string]any{"aud": "second"})), "second", http.StatusOK},
		{"the other issuer", other.token(nil), "other", http.StatusOK},
		{"a third audience", i.token(claims(map[string]any{"aud": "third"})), "", http.StatusUnauthorized},
		{"another branch", i.token(claims(map[string]any{"ref": "refs/heads/x"})), "", http.StatusForbidden},
		{"no id in the claims", i.token(claims(map[string]any{"repository_id": "../7"})), "", http.StatusForbidden},
		{"forged", signRSA(otherRSAKey(), map[string]any{"alg": "RS256", "kid": "rsa"}, i.claims(claims(nil))), "", http.StatusUnauthorized},
		{"no token", "gpj_abc", "", http.StatusUnauthorized},
	} {
		if w, status := resolve(c.token); w.ID != c.workspace || status != c.status {
			t.Errorf("%s: Resolve = %q, %d, want %q, %d", c.name, w.ID, status, c.workspace, c.status)
		}
	}
	i.answer(discoveryPath, down)
	i.pass(knownFor + freshFor)
	if _, status := resolve(i.token(claims(nil))); status != http.StatusServiceUnavailable {
		t.Errorf("without the issuer's keys: Resolve answers %d, want 503", status)
	}
}
