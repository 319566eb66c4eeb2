package aws

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/identity"
	"github.com/gatepass/gatepass/test/storetest"
	"github.com/gatepass/gatepass/test/ststest"
)

const (
	accessKey = "ASIAIOSFODNN7EXAMPLE"
	serverID  = "broker.example"
	roleID    = "AROAIOSFODNN7EXAMPLE"
)

var session = ststest.Principal{
	Secret: "not-a-secret", SessionToken: "IQoJb3JpZ2luX2Vj+/==", Account: "123456789012",
	ARN: "arn:aws:sts::123456789012:assumed-role/agents/sb-1", UserID: roleID + ":sb-1",
}

// A world is a broker's identifier, and the STS that it asks.
type world struct {
	*Identifier
	t     *testing.T
	sts   *ststest.Server
	clock time.Time
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, clock: time.Now()}
	now := func() time.Time { return w.clock }
	w.sts = &ststest.Server{Principals: map[string]ststest.Principal{accessKey: session}, Now: now}
	shared := new(storetest.Memory)
	nonces := &Nonces{Keys: &identity.Keyset{Store: shared, Now: now}, Replay: identity.ReplayCache{Store: shared}, Now: now}
	w.Identifier = New(Settings{ServerID: serverID, Regions: []string{"eu-west-1", "cn-north-1", api.AWSGlobal}}, nonces)
	w.Transport, w.Now = w.sts, now
	return w
}

func (w *world) nonce() string {
	w.t.Helper()
	text, _, err := w.nonces.Make(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return text
}

var parts = regexp.MustCompile(`Signature=([0-9a-f]{64})\z`)

// sign makes a proof; change is what an attacker signs instead of the call.
func (w *world) sign(region, server, nonce string, change func(*http.Request)) api.AWSProof {
	w.t.Helper()
	r, signing, err := api.AWSCall(w.t.Context(), region, server, nonce)
	if err != nil {
		w.t.Fatal(err)
	}
	sum := api.AWSBodySum()
	if change != nil {
		change(r)
		if body := r.Header.Get("Test-Body"); body != "" {
			r.Header.Del("Test-Body")
			hash := sha256.Sum256([]byte(body))
			r.ContentLength, sum = int64(len(body)), hex.EncodeToString(hash[:])
		}
	}
	credentials := aws.Credentials{AccessKeyID: accessKey, SecretAccessKey: session.Secret, SessionToken: session.SessionToken}
	if err := v4.NewSigner().SignHTTP(w.t.Context(), credentials, r, sum, "sts", signing, w.clock); err != nil {
		w.t.Fatal(err)
	}
	return api.AWSProof{
		Region: region, AccessKey: accessKey, Date: r.Header.Get("X-Amz-Date"), SecurityToken: session.SessionToken, Nonce: nonce,
		Signature: parts.FindStringSubmatch(r.Header.Get("Authorization"))[1],
	}
}

func (w *world) request(p api.AWSProof) *http.Request {
	w.t.Helper()
	header, err := p.Authorization()
	if err != nil {
		w.t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, api.TokenPath, nil)
	r.Header.Set("Authorization", header)
	return r
}

func (w *world) identify(p api.AWSProof) (broker.Caller, error) {
	w.t.Helper()
	c, err := w.Identify(w.t.Context(), w.request(p))
	if err == nil {
		err = c.UseProof(w.t.Context()) // as a policy does when a rule matches the caller
	}
	if err != nil {
		return broker.Caller{}, err
	}
	return c, nil
}

func checkRefused(t *testing.T, name string, c broker.Caller, err error, want string) {
	t.Helper()
	if err == nil || errors.Is(err, broker.ErrNoProof) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
		t.Errorf("%s: Identify = %+v, %v, want an error with %q", name, c, err, want)
	}
}

func TestWhoIsIdentified(t *testing.T) {
	w := newWorld(t)
	for region, host := range map[string]string{"eu-west-1": "sts.eu-west-1.amazonaws.com", "cn-north-1": "sts.cn-north-1.amazonaws.com.cn", api.AWSGlobal: "sts.amazonaws.com"} {
		c, err := w.identify(w.sign(region, serverID, w.nonce(), nil))
		if err != nil {
			t.Fatalf("%s: %v", region, err)
		}
		if c.Method != Method || c.Subject != "arn:aws:iam::123456789012:role/agents" {
			t.Errorf("%s: the caller is %s %s, want the role", region, c.Method, c.Subject)
		}
		for claim, want := range map[string]string{
			"arn": "arn:aws:iam::123456789012:role/agents", "account": "123456789012", "user_id": roleID, "role": "agents", "session": "sb-1",
		} {
			if got, _ := c.Claim(claim); got != want {
				t.Errorf("claim %s = %q, want %q", claim, got, want)
			}
		}
		calls := w.sts.Calls()
		if last := calls[len(calls)-1]; last.URL.String() != "https://"+host+"/" || last.Method != http.MethodPost || last.Header.Get("Accept") != "text/xml" {
			t.Errorf("STS was asked %s %s, want %s", last.Method, last.URL, host)
		}
	}
}

// If a caller signs anything other than the one call, AWS does not accept it in the
// broker's call.
func TestOtherCallsAreNotThisOne(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		name   string
		change func(*http.Request)
	}{
		{"another host", func(r *http.Request) { r.URL.Host, r.Host = "sts.evil.example", "" }},
		{"another region's host", func(r *http.Request) { r.URL.Host, r.Host = "sts.us-west-2.amazonaws.com", "" }},
		{"a query", func(r *http.Request) { r.URL.RawQuery = "Action=GetCallerIdentity" }},
		{"another action in the query", func(r *http.Request) { r.URL.RawQuery = "Action=AssumeRole" }},
		{"another path", func(r *http.Request) { r.URL.Path = "/x" }},
		{"GET", func(r *http.Request) { r.Method = http.MethodGet }},
		{"another action", func(r *http.Request) { r.Header.Set("Test-Body", "Action=GetSessionToken&Version=2011-06-15") }},
		{"one more parameter", func(r *http.Request) {
			r.Header.Set("Test-Body", "Action=GetCallerIdentity&Version=2011-06-15&Action=AssumeRole")
		}},
		{"no server id", func(r *http.Request) { r.Header.Del("X-Gatepass-Server-Id") }},
		{"another server's id", func(r *http.Request) { r.Header.Set("X-Gatepass-Server-Id", "evil.example") }},
		{"two server ids", func(r *http.Request) { r.Header.Add("X-Gatepass-Server-Id", "evil.example") }},
		{"no nonce", func(r *http.Request) { r.Header.Del("X-Gatepass-Nonce") }},
		{"another nonce", func(r *http.Request) { r.Header.Set("X-Gatepass-Nonce", "x") }},
		{"JSON accepted", func(r *http.Request) { r.Header.Set("Accept", "application/json") }},
		{"one more Accept", func(r *http.Request) { r.Header.Add("Accept", "application/json") }},
		{"one more header", func(r *http.Request) { r.Header.Set("X-Amz-Target", "x") }},
		{"another type of body", func(r *http.Request) { r.Header.Set("Content-Type", "application/json") }},
	} {
		got, err := w.identify(w.sign("eu-west-1", serverID, w.nonce(), c.change))
		checkRefused(t, c.name, got, err, "AWS does not accept the signature")
	}
	// A proof for another broker, as a malicious broker would pass it on.
	got, err := w.identify(w.sign("eu-west-1", "evil.example", w.nonce(), nil))
	checkRefused(t, "a proof for another broker", got, err, "AWS does not accept the signature")
}

func TestWhatIsRefusedWithoutAWS(t *testing.T) {
	w := newWorld(t)
	stranger := newWorld(t)
	used := w.nonce()
	if _, err := w.identify(w.sign("eu-west-1", serverID, used, nil)); err != nil {
		t.Fatal(err)
	}
	asked := len(w.sts.Calls())
	old := w.nonce()
	good := w.sign("eu-west-1", serverID, old, nil)
	w.clock = w.clock.Add(NonceLife)
	got, err := w.identify(good)
	checkRefused(t, "an old nonce", got, err, "too old")
	got, err = w.identify(w.sign("eu-west-1", serverID, stranger.nonce(), nil))
	checkRefused(t, "another broker's nonce", got, err, "the nonce is not from this broker, or is too old; get one from")
	got, err = w.identify(w.sign("eu-west-1", serverID, "made-up", nil))
	checkRefused(t, "a nonce that is made up", got, err, "the nonce is not from this broker, or is too old; get one from")
	got, err = w.identify(w.sign("us-east-1", serverID, w.nonce(), nil))
	checkRefused(t, "a region that is not of the list", got, err, "this broker does not ask the STS of region")
	late := w.sign("eu-west-1", serverID, w.nonce(), nil)
	late.Date = w.clock.Add(-6 * time.Minute).UTC().Format(api.AWSDate)
	got, err = w.identify(late)
	checkRefused(t, "an old signature", got, err, "compare the clocks")
	fresh := w.nonce()
	first := w.sign("eu-west-1", serverID, fresh, nil)
	if _, err := w.identify(first); err != nil {
		t.Fatal(err)
	}
	got, err = w.identify(first)
	checkRefused(t, "a replay", got, err, "was used already")
	w.nonces.Replay = identity.ReplayCache{Store: w.nonces.Keys.Store} // as another replica has it
	got, err = w.identify(first)
	checkRefused(t, "a replay at another replica", got, err, "was used already")
	if r, ok := errors.AsType[*broker.Refusal](err); !ok || r.Reason != broker.ReasonReplay {
		t.Errorf("a replay: %v, want the reason replay", err)
	}
	if n := len(w.sts.Calls()) - asked; n != 2 {
		t.Errorf("STS was asked %d times, want once for each replica", n)
	}
}

func TestProofsThatAreNone(t *testing.T) {
	w := newWorld(t)
	encoded := func(text string) string { return "GatepassAWS " + base64.RawURLEncoding.EncodeToString([]byte(text)) }
	good := w.request(w.sign("eu-west-1", serverID, w.nonce(), nil)).Header.Get("Authorization")
	plain := `{"region":"eu-west-1","access_key":"ASIAIOSFODNN7EXAMPLE","date":"20260101T000000Z","nonce":"n","signature":"` + strings.Repeat("0", 64) + `"}`
	edit := func(old, replacement string) string { return encoded(strings.Replace(plain, old, replacement, 1)) }
	for _, c := range []struct {
		name    string
		headers []string
		want    string
	}{
		{"twice", []string{good, good}, "more than one Authorization"},
		{"with another identity", []string{"Bearer x", good}, "more than one Authorization"},
		{"no base64", []string{"GatepassAWS %"}, "not the JSON object"},
		{"nothing", []string{"GatepassAWS "}, "not the JSON object"},
		{"padded", []string{good + "="}, "not the JSON object"},
		{"too long", []string{"GatepassAWS " + strings.Repeat("a", 4097)}, "over 4096 bytes"},
		{"a host", []string{edit(`{`, `{"host":"evil.example",`)}, `unknown key "host"`},
		{"an Accept", []string{edit(`{`, `{"accept":"application/json",`)}, `unknown key "accept"`},
		{"a key twice", []string{edit(`{`, `{"region":"eu-west-1",`)}, `"region" is given twice`},
		{"something behind", []string{encoded(plain + "{}")}, "text after its JSON"},
		{"a region that is a host", []string{edit("eu-west-1", "evil.example/")}, `"region" is not an AWS region`},
		{"a region that ends a host", []string{edit("eu-west-1", "eu-west-1.evil")}, `"region" is not an AWS region`},
		{"no date", []string{edit("20260101T000000Z", "now")}, `"date" must be`},
		{"a key with a header in it", []string{edit("ASIA", "ASIA/20260101")}, `"access_key" is no`},
		{"a token with a line in it", []string{edit(`{`, `{"security_token":"a\r\nAccept: b",`)}, `"security_token" is no`},
		{"a nonce with a line in it", []string{edit(`"n"`, `"a\n"`)}, `"nonce" is no`},
		{"a short signature", []string{edit(strings.Repeat("0", 64), "00")}, `"signature" is no`},
	} {
		r := httptest.NewRequest(http.MethodPost, api.TokenPath, nil)
		r.Header["Authorization"] = c.headers
		got, err := w.Identify(t.Context(), r)
		checkRefused(t, c.name, got, err, c.want)
	}
	for _, other := range []string{"", "Bearer x", "AWS4-HMAC-SHA256 Credential=x"} {
		r := httptest.NewRequest(http.MethodPost, api.TokenPath, nil)
		r.Header.Set("Authorization", other)
		if _, err := w.Identify(t.Context(), r); !errors.Is(err, broker.ErrNoProof) {
			t.Errorf("Identify(%q) = %v, want ErrNoProof", other, err)
		}
	}
	if n := len(w.sts.Calls()); n != 0 {
		t.Errorf("STS was asked %d times, want never", n)
	}
}

// AWS never gets other headers of the caller than the proof's.
func TestHeadersOfTheCallerStayHere(t *testing.T) {
	w := newWorld(t)
	r := w.request(w.sign("eu-west-1", serverID, w.nonce(), nil))
	r.Header.Set("Accept", "application/json")
	r.Header.Set("X-Amz-Date", "20000101T000000Z")
	r.Header.Set("X-Forwarded-Host", "evil.example")
	if _, err := w.Identify(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	call := w.sts.Calls()[0]
	if got := call.Header.Values("Accept"); len(got) != 1 || got[0] != "text/xml" || call.Header.Get("X-Forwarded-Host") != "" || len(call.Header) != 8 {
		t.Errorf("STS was sent %v, want what the broker makes alone", call.Header)
	}
}

// An outage of AWS is not reported as the caller's fault.
func TestOutagesAreTold(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"a 500": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) },
		"a 429": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(429) },
		"a throttle": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(400)
			_, _ = w.Write([]byte("<ErrorResponse><Error><Code>Throttling</Code></Error></ErrorResponse>"))
		},
	} {
		w := newWorld(t)
		w.sts.Answer = answer
		_, err := w.identify(w.sign("eu-west-1", serverID, w.nonce(), nil))
		if r, ok := errors.AsType[*broker.Refusal](err); !ok || r.Status != 503 || r.RetryAfter == 0 {
			t.Errorf("%s: %v, want 503", name, err)
		}
	}
	w := newWorld(t)
	w.Transport = new(http.Transport)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	proof := w.sign("eu-west-1", serverID, w.nonce(), nil)
	if _, err := w.ask(ctx, "192.0.2.1", proof); err == nil || !strings.Contains(err.Error(), "cannot be reached") {
		t.Errorf("ask = %v, want that STS cannot be reached", err)
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		settings Settings
		want     string
	}{
		{Settings{serverID, []string{"eu-west-1", "us-gov-west-1", "aws-global"}}, ""},
		{Settings{"", []string{"eu-west-1"}}, "server_id"},
		{Settings{"a b", []string{"eu-west-1"}}, "server_id"},
		{Settings{serverID, nil}, "aws: regions must not be empty; list the regions whose STS the callers use"},
		{Settings{serverID, []string{"*"}}, "not an AWS region"},
		{Settings{serverID, []string{"eu-west-1.evil.example"}}, "not an AWS region"},
	} {
		err := c.settings.Check()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("Check(%+v) = %v, want %q", c.settings, err, c.want)
		}
	}
}

func FuzzProof(f *testing.F) {
	f.Add("GatepassAWS eyJyZWdpb24iOiJldS13ZXN0LTEifQ")
	f.Fuzz(func(t *testing.T, header string) {
		p, ok, err := api.ReadAWSProof(&http.Request{Header: http.Header{"Authorization": {header}}})
		if !ok || err != nil {
			return
		}
		call, err := p.Call(t.Context(), serverID)
		if err != nil || !strings.HasPrefix(call.URL.Host, "sts.") || call.URL.Path != "/" || call.URL.RawQuery != "" {
			t.Errorf("the call of %q is to %v, %v", header, call.URL, err)
		}
	})
}
