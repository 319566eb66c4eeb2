package interop

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// clients are the programs and libraries that "make test-real" provides on this machine.
var clients = []kind{
	// JGit 4 exits with 0 where a ref was refused. JGit and libgit2 and dulwich show the status
	// of a repository that is denied, and not the text.
	{name: "JGit", open: openJGit, refused: []string{"! [remote rejected] work -> main (" + reason + ")", "remote: " + allowed}, denied: "git-upload-pack not permitted", noDepth: true, silent: true},
	// libgit2 clones without depth before 1.7.
	{name: "libgit2", open: openPython("pygit2"), refused: []string{"refs/heads/main: " + reason, allowed}, denied: "unexpected http status code: 403", noDepth: true},
	{name: "dulwich", open: openPython("dulwich"), refused: []string{"Push of ref refs/heads/main failed: " + reason, allowed}, denied: "unexpected http resp 403"},
	{name: "isomorphic-git", open: openIsomorphic, refused: []string{reason, allowed}, denied: "gatepass: ", oneRef: true},
}

func TestClients(t *testing.T) {
	if testing.Short() {
		t.Skip("runs other clients many times")
	}
	t.Parallel()
	if os.Getenv("GATEPASS_TEST_CHROOT") != "" {
		t.Skip("the other clients are those of the machine itself")
	}
	for _, k := range clients {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			tryAll(t, k, w)
			if k.name == "JGit" && len(w.sent(func(a asked) bool { return isPush(a) && a.encoding == "gzip" })) == 0 {
				t.Error("JGit sent no push as gzip, which this test is for")
			}
		})
	}
}

// A script is a client whose operations a script in testdata does, with its words in front.
type script struct {
	w     *world
	env   []string
	words []string
}

func (s script) run(verb string, args ...string) (string, bool) {
	s.w.t.Helper()
	words := append(append(s.words[1:len(s.words):len(s.words)], verb), args...)
	return s.w.run("", s.env, s.words[0], words...)
}

func (s script) version() string {
	out, _ := s.run("version")
	return strings.TrimSpace(out)
}

func (s script) clone(url, dir string, depth int) (string, bool) {
	return s.run("clone", url, dir, strconv.Itoa(depth))
}

func (s script) fetch(dir string) (string, bool) { return s.run("fetch", dir) }

func (s script) push(dir string, refspecs ...string) (string, bool) {
	return s.run("push", append([]string{dir}, refspecs...)...)
}

func testdata(w *world, name string) string {
	w.t.Helper()
	path, err := filepath.Abs(filepath.Join("testdata", name))
	if err != nil {
		w.t.Fatal(err)
	}
	return path
}

// openPython opens a library of Debian's Python, which another one in PATH does not have.
func openPython(library string) func(*world) client {
	return func(w *world) client {
		w.needsTestReal()
		const python = "/usr/bin/python3"
		if err := exec.Command(python, "-c", "import "+library).Run(); err != nil {
			w.t.Skipf("missing: python3-%s", library)
		}
		w.url = strings.Replace(w.url, "127.0.0.1", "localhost", 1) // Debian's libgit2 takes no certificate for an address
		return script{w: w, words: []string{python, testdata(w, "client.py"), library}}
	}
}

func openIsomorphic(w *world) client {
	w.needsTestReal()
	at := os.Getenv("GATEPASS_TEST_ISOMORPHIC_GIT")
	if at == "" {
		w.t.Skip("missing: isomorphic-git (make test-real sets GATEPASS_TEST_ISOMORPHIC_GIT)")
	}
	return script{w: w, env: []string{"ISOMORPHIC_GIT=" + at, "NODE_EXTRA_CA_CERTS=" + w.ca}, words: []string{"node", testdata(w, "client.mjs")}}
}

// isReal reports whether "make test-real" runs the tests, which may take long.
func isReal() bool { return os.Getenv("GATEPASS_TEST_CLIENTS") != "" }

// needsTestReal skips where these clients are not asked for, be they there or not.
func (w *world) needsTestReal() {
	w.t.Helper()
	if !isReal() {
		w.t.Skip("missing: other git clients (make test-real sets GATEPASS_TEST_CLIENTS)")
	}
}

// A jgit is JGit's program.
type jgit struct {
	w   *world
	env []string
}

// openJGit has JGit find the session in a .netrc, and trust the gateway by a Java key store.
func openJGit(w *world) client {
	w.needsTestReal()
	for _, program := range []string{"jgit", "keytool"} {
		if _, err := exec.LookPath(program); err != nil {
			w.t.Skip("missing: " + program)
		}
	}
	store := filepath.Join(w.home, "trust.p12")
	if out, ok := w.run("", nil, "keytool", "-importcert", "-noprompt", "-alias", "gateway", "-file", w.ca, "-keystore", store, "-storetype", "PKCS12", "-storepass", "changeit"); !ok {
		w.t.Fatalf("keytool: %s", out)
	}
	w.write(filepath.Join(w.home, ".netrc"), "machine 127.0.0.1 login x password "+w.session+"\n")
	// Debian's jgit names only some of the archives that it needs.
	var archives []string
	for _, name := range []string{"org.eclipse.jgit.lfs", "org.eclipse.jgit.lfs.server", "org.eclipse.jgit.http.apache", "httpclient", "httpcore", "commons-logging", "commons-codec", "slf4j-api", "gson"} {
		archives = append(archives, "/usr/share/java/"+name+".jar")
	}
	return jgit{w, []string{"JGIT_CLASSPATH=" + strings.Join(archives, ":"), "JAVA_TOOL_OPTIONS=-Djavax.net.ssl.trustStore=" + store + " -Djavax.net.ssl.trustStorePassword=changeit -Duser.home=" + w.home}}
}

func (j jgit) version() string {
	out, _ := j.w.run("", j.env, "jgit", "version")
	_, version, _ := strings.Cut(out, "jgit version ")
	return version
}

func (j jgit) clone(url, dir string, depth int) (string, bool) {
	args := []string{"clone", url, dir}
	if depth > 0 {
		args = append(args, "--depth", strconv.Itoa(depth))
	}
	return j.w.run("", j.env, "jgit", args...)
}

func (j jgit) fetch(dir string) (string, bool) { return j.w.run(dir, j.env, "jgit", "fetch", "origin") }

func (j jgit) push(dir string, refspecs ...string) (string, bool) {
	return j.w.run(dir, j.env, "jgit", append([]string{"push", "origin"}, refspecs...)...)
}
