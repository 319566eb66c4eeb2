package fakegithub

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepass/gatepass/test/testkey"
)

// testKey is one App key for all tests; making one takes a while.
var (
	testKey  = sync.OnceValue(func() *rsa.PrivateKey { return testkey.RSA(2048, 0) })
	otherKey = sync.OnceValue(func() *rsa.PrivateKey { return testkey.RSA(2048, 1) })
)

// A world is a GitHub with one App installed on the organization acme, which
// has the private repositories widgets and gadgets; site is public.
type world struct {
	t    *testing.T
	gh   *Server
	app  App
	inst Installation
}

func newWorld(t *testing.T, opts Options) *world {
	t.Helper()
	if testing.Short() {
		t.Skip("tests of the double itself")
	}
	gh, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := gh.Close(); err != nil {
			t.Error(err)
		}
	})
	w := &world{t: t, gh: gh}
	w.must(gh.AddAccount("acme", Organization))
	w.app, err = gh.AddApp(App{
		Slug: "gatepass", Keys: []*rsa.PublicKey{&testKey().PublicKey},
		Permissions: Permissions{"contents": "write", "issues": "write", "checks": "read"},
	})
	w.must(err)
	w.repository(Repository{Owner: "acme", Name: "widgets", Wiki: true})
	w.repository(Repository{Owner: "acme", Name: "gadgets"})
	w.repository(Repository{Owner: "acme", Name: "site", Public: true})
	w.inst, err = gh.AddInstallation(Installation{AppID: w.app.ID, Account: "acme", RepositorySelection: "all"})
	w.must(err)
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) repository(r Repository) Repository {
	w.t.Helper()
	r, err := w.gh.AddRepository(r)
	w.must(err)
	return r
}

// token mints for repositories of acme; none means all of them.
func (w *world) token(p Permissions, repos ...string) string {
	w.t.Helper()
	token, err := w.gh.MintFor(w.inst.ID, repos, p)
	w.must(err)
	return token
}

func (w *world) claims() map[string]any {
	now := w.gh.Now().Unix()
	return map[string]any{"iss": w.app.ClientID, "iat": now - 60, "exp": now + 540}
}

func (w *world) jwt() string {
	return signJWT(testKey(), map[string]any{"alg": "RS256", "typ": "JWT"}, w.claims())
}

func signJWT(key *rsa.PrivateKey, header, claims map[string]any) string {
	h, _ := json.Marshal(header)
	c, _ := json.Marshal(claims)
	signed := base64.RawURLEncoding.EncodeToString(h) + "." + base64.RawURLEncoding.EncodeToString(c)
	digest := sha256.Sum256([]byte(signed))
	sig, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest[:])
	if err != nil {
		panic(err)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(sig)
}

// A reply is an HTTP answer that has been read.
type reply struct {
	status int
	header http.Header
	raw    []byte
	body   map[string]any // nil unless a JSON object
}

func (r reply) text(key string) string {
	s, _ := r.body[key].(string)
	return s
}

// rest sends a request to the API with the given bearer; body may be "".
func (w *world) rest(method, path, bearer, body string) reply {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.gh.URL()+path, strings.NewReader(body))
	w.must(err)
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	return w.send(req)
}

func (w *world) send(req *http.Request) reply {
	w.t.Helper()
	client := w.gh.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	defer client.CloseIdleConnections()
	res, err := client.Do(req)
	w.must(err)
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	w.must(err)
	out := reply{status: res.StatusCode, header: res.Header, raw: raw}
	_ = json.Unmarshal(raw, &out.body)
	return out
}

func (w *world) wantStatus(got reply, want int) {
	w.t.Helper()
	if got.status != want {
		w.t.Fatalf("status = %d, want %d: %s", got.status, want, got.raw)
	}
}

// A workspace is a directory and a git that trusts this GitHub and answers its
// questions with one token.
type workspace struct {
	w     *world
	dir   string
	home  string
	token string
}

func (w *world) workspace(token string) *workspace {
	w.t.Helper()
	ws := &workspace{w: w, dir: w.t.TempDir(), home: w.t.TempDir(), token: token}
	w.must(os.WriteFile(filepath.Join(ws.home, "ca.pem"), w.gh.CAPEM(), 0o600))
	config := "[user]\n\tname = T\n\temail = t@example.com\n[http]\n\tsslCAInfo = " + filepath.Join(ws.home, "ca.pem") + "\n" +
		"[core]\n\tcompression = 0\n[credential]\n\thelper = \"!f() { test \\\"$1\\\" = get || return; echo username=x-access-token; echo password=$TOKEN; }; f\"\n"
	w.must(os.WriteFile(filepath.Join(ws.home, ".gitconfig"), []byte(config), 0o600))
	return ws
}

func (ws *workspace) run(args ...string) (string, error) {
	cmd := exec.CommandContext(ws.w.t.Context(), "git", args...)
	cmd.Dir = ws.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + ws.home, "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "LC_ALL=C", "NO_PROXY=*"}
	if ws.token != "" {
		cmd.Env = append(cmd.Env, "TOKEN="+ws.token)
	} else {
		cmd.Env = append(cmd.Env, "GIT_ASKPASS=true", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=credential.helper", "GIT_CONFIG_VALUE_0=")
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

func (ws *workspace) git(args ...string) string {
	ws.w.t.Helper()
	out, err := ws.run(args...)
	if err != nil {
		ws.w.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// refused runs a git that must fail and say why.
func (ws *workspace) refused(why string, args ...string) {
	ws.w.t.Helper()
	out, err := ws.run(args...)
	if err == nil || !strings.Contains(out, why) {
		ws.w.t.Errorf("git %s: err %v, want a failure saying %q:\n%s", strings.Join(args, " "), err, why, out)
	}
}

func (ws *workspace) clone(repo string, flags ...string) {
	ws.w.t.Helper()
	ws.git(append(append([]string{"clone", "--quiet"}, flags...), ws.w.gh.URL()+"/"+repo, "clone")...)
	ws.dir = filepath.Join(ws.dir, "clone")
}

func (ws *workspace) commit(file string, data []byte) {
	ws.w.t.Helper()
	ws.w.must(os.WriteFile(filepath.Join(ws.dir, file), data, 0o600))
	ws.git("add", file)
	ws.git("commit", "--quiet", "-m", "add "+file)
}

// eventually waits up to a minute for what must come true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within a minute", what)
		}
	}
}
