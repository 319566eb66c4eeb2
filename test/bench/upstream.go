package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gatepass/gatepass/broker/gateway/pktline"
	"github.com/gatepass/gatepass/credential/filestore"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/test/fakegithub"
)

// The GitHub behind the measured gateway is this program under another name, so that
// the measured time and memory are only the gateway's.
const upstreamProgram = "bench-upstream"

// The repositories of acme at the upstream, in addition to widgets, which is git's own.
const (
	bulkRepo    = "bulk"    // without git: it accepts packs of any size, and generates them
	largeRepo   = "large"   // git, with a pack of the given size
	distantRepo = "distant" // the same pack, sent at distantRate
)

// distantRate is how fast a GitHub on another machine sends, in bytes a second.
const distantRate = 50_000_000

// A readyMessage is what an upstream prints when it is ready.
type readyMessage struct {
	URL     string
	Token   string // token of the App, for all of acme
	Widgets string // folder of the repository
}

// An upstream is a running upstream program.
type upstream struct {
	readyMessage
	cmd *exec.Cmd
	end io.Closer
}

// startUpstream starts an upstream in dir, where it makes the store and ca.pem. The
// repository large has that many bytes.
func (b *bench) startUpstream(dir string, large int) (*upstream, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	u := &upstream{cmd: exec.CommandContext(b.ctx, program)}
	u.cmd.Args = []string{upstreamProgram, dir, strconv.Itoa(large)}
	u.cmd.Stderr = b.log
	if u.end, err = u.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	said, err := u.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := u.cmd.Start(); err != nil {
		return nil, err
	}
	if err := json.NewDecoder(said).Decode(&u.readyMessage); err != nil {
		u.stop()
		return nil, usererr.Wrap("start the double of GitHub", err, "")
	}
	return u, nil
}

func (u *upstream) stop() {
	_ = u.end.Close()
	_ = u.cmd.Wait()
}

// mints returns how many tokens the upstream made. roots are certificates to trust,
// PEM.
func (u *upstream) mints(roots []byte) (int, error) {
	m := newTransferClient(u.URL, "", "", roots)
	defer m.close()
	response, err := m.client.Get(u.URL + "/mints")
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 100))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(text))
}

// serveUpstream is the main function of the program. It ends when its input ends.
func serveUpstream(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if len(args) != 2 {
		return 2
	}
	large, err := strconv.Atoi(args[1])
	if err == nil {
		err = upstreamIn(args[0], large, stdin, stdout)
	}
	if err != nil {
		fmt.Fprint(stderr, usererr.Line(err))
		return 1
	}
	return 0
}

func upstreamIn(dir string, large int, stdin io.Reader, stdout io.Writer) error {
	gh, err := fakegithub.New(fakegithub.Options{HandlerOnly: true, RateLimit: 1_000_000, Root: filepath.Join(dir, "repositories")})
	if err != nil {
		return err
	}
	defer gh.Close()
	l, err := upstreamListener(dir)
	if err != nil {
		return err
	}
	f := &fleet{github: gh, dir: dir, url: "https://" + l.Addr().String()}
	g, err := f.greet(large)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: upstreamHandler(gh), ReadHeaderTimeout: startWait, ErrorLog: log.New(io.Discard, "", 0)}
	defer server.Close()
	go func() { _ = server.Serve(l) }()
	if err := json.NewEncoder(stdout).Encode(g); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, stdin)
	return err
}

// upstreamListener speaks HTTP/1.1 over TLS, as the gateway does with GitHub.
func upstreamListener(dir string) (net.Listener, error) {
	certPEM, keyPEM, err := selfSigned()
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "ca.pem"), certPEM, 0o600); err != nil {
		return nil, err
	}
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, err
	}
	return tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12})
}

// greet makes the App and the repositories, and returns the greeting.
func (f *fleet) greet(large int) (g readyMessage, err error) {
	u, err := url.Parse(f.storeURL())
	if err != nil {
		return g, err
	}
	s, err := filestore.OpenStore(u)
	if err != nil {
		return g, err
	}
	ctx := context.Background() // it ends with the process
	if _, err := f.setUp(ctx, s); err != nil {
		return g, err
	}
	repos := map[string]fakegithub.Repository{}
	for _, name := range []string{bulkRepo, largeRepo, distantRepo} {
		if repos[name], err = f.github.AddRepository(fakegithub.Repository{Owner: "acme", Name: name}); err != nil {
			return g, err
		}
	}
	in, out := io.Pipe()
	go func() { out.CloseWithError(writeHistory(out, large)) }()
	// Nothing is compressed, because that would take the generator's time, not the
	// server's.
	if _, err := f.github.GitIn(ctx, repos[largeRepo], in, "-c", "pack.compression=0", "-c", "core.compression=0", "fast-import", "--quiet", "--force", "--depth=0"); err != nil {
		return g, err
	}
	if err := shareObjects(repos[largeRepo], repos[distantRepo]); err != nil {
		return g, err
	}
	widgets, _ := f.github.Repository("acme", "widgets")
	g = readyMessage{URL: f.url, Widgets: widgets.Dir}
	g.Token, err = f.github.MintFor(f.installation, nil, nil)
	return g, err
}

// writeHistory writes one commit on main with files of random bytes, as git
// fast-import reads it.
func writeHistory(to io.Writer, size int) error {
	const each = 1 << 20
	w := bufio.NewWriterSize(to, each)
	random := rand.NewChaCha8([32]byte{13})
	content := make([]byte, each)
	const header = "commit refs/heads/main\ncommitter bench <bench@example.com> 1700000000 +0000\ndata 5\nlarge\ndeleteall\n"
	if _, err := w.WriteString(header); err != nil {
		return err
	}
	for k := 0; size > 0; k++ {
		n := min(size, each)
		size -= n
		_, _ = random.Read(content) // it never fails
		fmt.Fprintf(w, "M 100644 inline part-%d\ndata %d\n", k, n)
		_, _ = w.Write(content[:n])
		_ = w.WriteByte('\n')
	}
	return w.Flush() // also returns the error of an earlier write
}

// shareObjects gives another repository the same history, from the same pack.
func shareObjects(from, to fakegithub.Repository) error {
	tip, err := os.ReadFile(filepath.Join(from.Dir, "refs/heads/main"))
	if err != nil {
		return err
	}
	return firstOf(
		os.WriteFile(filepath.Join(to.Dir, "objects/info/alternates"), []byte(from.Dir+"/objects\n"), 0o600),
		os.WriteFile(filepath.Join(to.Dir, "refs/heads/main"), tip, 0o600),
	)
}

// upstreamHandler answers requests for the packs of bulk itself, and all others with
// the double.
func upstreamHandler(gh *fakegithub.Server) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/readyz":
			return
		case "/mints":
			fmt.Fprint(w, gh.Counts().Mints)
			return
		}
		if service, ok := strings.CutPrefix(r.URL.Path, "/acme/"+bulkRepo+".git/"); ok {
			serveBulk(w, r, service)
			return
		}
		if strings.HasPrefix(r.URL.Path, "/acme/"+distantRepo+".git/git-upload-pack") {
			w = &pacedWriter{ResponseWriter: w, begun: time.Now()}
		}
		gh.ServeHTTP(w, r)
	})
}

// A pacedWriter answer is sent at distantRate.
type pacedWriter struct {
	http.ResponseWriter
	begun time.Time
	sent  int64
}

func (p *pacedWriter) Unwrap() http.ResponseWriter { return p.ResponseWriter }

func (p *pacedWriter) Write(b []byte) (int, error) {
	n, err := p.ResponseWriter.Write(b)
	p.sent += int64(n)
	time.Sleep(time.Until(p.begun.Add(time.Duration(float64(p.sent) / distantRate * float64(time.Second)))))
	return n, err
}

// tip is the commit of bulk.
var tip = strings.Repeat("5", 40)

// serveBulk answers for a repository of any size, for pushes and fetches.
func serveBulk(w http.ResponseWriter, r *http.Request, service string) {
	if _, _, ok := r.BasicAuth(); !ok {
		w.Header().Set("WWW-Authenticate", `Basic realm="GitHub"`)
		http.Error(w, "no token", http.StatusUnauthorized)
		return
	}
	var err error
	switch service {
	case "info/refs":
		name := strings.TrimPrefix(r.URL.RawQuery, "service=")
		w.Header().Set("Content-Type", "application/x-"+name+"-advertisement")
		text := pktline.Append(nil, "# service="+name+"\n")
		text = append(text, pktline.FlushPacket...)
		text = pktline.Append(text, tip+" refs/heads/main\x00report-status side-band-64k ofs-delta agent=bench\n")
		_, err = w.Write(append(text, pktline.FlushPacket...))
	case "git-receive-pack":
		err = takePack(w, r)
	case "git-upload-pack":
		err = sendPack(w, r)
	default:
		http.NotFound(w, r)
	}
	if err != nil {
		panic(http.ErrAbortHandler) // the client notices a broken connection
	}
}

const copyBuffer = 256 << 10

// takePack reads a push of one ref to its end, and reports success.
func takePack(w http.ResponseWriter, r *http.Request) error {
	body := bufio.NewReaderSize(r.Body, copyBuffer)
	_, first, err := pktline.NewReader(body).Next()
	if err != nil {
		return err
	}
	words := strings.Fields(strings.ReplaceAll(string(first), "\x00", " "))
	if len(words) < 3 {
		return fmt.Errorf("%q is not a command of a push", first)
	}
	buf := make([]byte, copyBuffer)
	for err == nil {
		_, err = body.Read(buf)
	}
	if err != io.EOF { //nolint:errorlint // a reader's end is io.EOF itself
		return err
	}
	report := pktline.Append(nil, "unpack ok\n")
	report = append(pktline.Append(report, "ok "+words[2]+"\n"), pktline.FlushPacket...)
	answer := append(pktline.Append(nil, append([]byte{1}, report...)), pktline.FlushPacket...)
	w.Header().Set("Content-Type", "application/x-git-receive-pack-result")
	_, err = w.Write(answer)
	return err
}

// sendPack sends as many bytes as the request asks for, in packets of side-band-64k.
func sendPack(w http.ResponseWriter, r *http.Request) error {
	_, wanted, err := pktline.NewReader(r.Body).Next()
	if err != nil {
		return err
	}
	left, err := strconv.ParseInt(strings.TrimSpace(strings.TrimPrefix(string(wanted), "bytes ")), 10, 64)
	if err != nil {
		return err
	}
	packet := pktline.Append(nil, append([]byte{1}, somePack(pktline.MaxPayload-1)...))
	w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
	for ; left > 0; left -= int64(len(packet)) {
		if _, err := w.Write(packet); err != nil {
			return err
		}
	}
	_, err = io.WriteString(w, pktline.FlushPacket)
	return err
}

// somePack returns n bytes that are as irregular as those of a pack.
func somePack(n int) []byte {
	random := rand.NewChaCha8([32]byte{7})
	text := make([]byte, n)
	_, _ = random.Read(text) // it never fails
	return text
}
