package fakegithub

import (
	"crypto/rsa"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// These say what the double itself costs, so that a benchmark of gatepass
// against it can be read.

func benchmarkRequests(b *testing.B, gh *Server, method, path, bearer, body string) {
	client := gh.Client()
	defer client.CloseIdleConnections()
	for b.Loop() {
		req, err := http.NewRequestWithContext(b.Context(), method, gh.URL()+path, strings.NewReader(body))
		if err != nil {
			b.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+bearer)
		res, err := client.Do(req)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		if res.Body.Close(); res.StatusCode >= 300 {
			b.Fatalf("status = %d", res.StatusCode)
		}
	}
}

// benchWorld is one App installed on acme, which has the repository widgets.
func benchWorld(b *testing.B) (gh *Server, app App, inst Installation) {
	gh, err := New(Options{RateLimit: 1 << 30})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = gh.Close() })
	if app, err = gh.AddApp(App{Permissions: mayWrite, Keys: []*rsa.PublicKey{&testKey().PublicKey}}); err != nil {
		b.Fatal(err)
	}
	if _, err = gh.AddRepository(Repository{Owner: "acme", Name: "widgets"}); err != nil {
		b.Fatal(err)
	}
	if inst, err = gh.AddInstallation(Installation{AppID: app.ID, Account: "acme", RepositorySelection: "all"}); err != nil {
		b.Fatal(err)
	}
	return gh, app, inst
}

func BenchmarkMint(b *testing.B) {
	gh, app, inst := benchWorld(b)
	now := gh.Now().Unix()
	jwt := signJWT(testKey(), map[string]any{"alg": "RS256"}, map[string]any{"iss": app.ClientID, "iat": now - 60, "exp": now + 590})
	path := fmt.Sprintf("/app/installations/%d/access_tokens", inst.ID)
	benchmarkRequests(b, gh, "POST", path, jwt, `{"repositories":["widgets"],"permissions":{"contents":"read"}}`)
}

func BenchmarkInfoRefs(b *testing.B) {
	gh, _, inst := benchWorld(b)
	token, err := gh.MintFor(inst.ID, nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	benchmarkRequests(b, gh, "GET", "/acme/widgets/info/refs?service=git-upload-pack", token, "")
}
