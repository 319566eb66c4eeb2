package doctor

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/internal/httpclient"
	"github.com/gatepass/gatepass/internal/redact"
)

// Proxies finds out which proxies are between this machine and a broker's gateway, and
// what they change in git's requests and answers. All fields but the last two must be
// set.
type Proxies struct {
	Gateway string           // https://HOST
	Host    string           // HOST
	Session credential.Token // for the gateway
	CAFile  string           // the gateway's authorities; "" means the system's
	Quiet   time.Duration    // how long the gateway sends nothing; 0 means DefaultQuiet
	Pause   time.Duration    // between two parts of an answer; 0 means 3 seconds
}

// DefaultQuiet is longer than the default timeouts of proxies.
const DefaultQuiet = 70 * time.Second

const (
	proxyGroup  = "between here and the gateway"
	uploadPiece = 1 << 20 // bytes; an upload has three pieces
	// oddPath changes when a proxy decodes paths.
	oddPath = "/a%2Fb/c%20d"
)

// Look makes all checks at the same time. It ends within Quiet and half a minute, and
// returns one finding for each check.
func (p Proxies) Look(ctx context.Context) []Finding {
	if p.Quiet == 0 {
		p.Quiet = DefaultQuiet
	}
	if p.Pause == 0 {
		p.Pause = 3 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, p.Quiet+30*time.Second)
	defer cancel()
	client, err := p.client()
	if err != nil {
		return []Finding{{Group: proxyGroup, Level: Failure, Text: err.Error(), Fix: "correct the file"}}
	}
	t := through{p, client}
	first, e := t.headers(ctx)
	if e == nil {
		return []Finding{first}
	}
	checks := []func(context.Context) Finding{
		func(context.Context) Finding { return first }, func(context.Context) Finding { return t.host(*e) }, t.path, t.upload, t.parts, t.quiet,
	}
	found := make([]Finding, len(checks))
	var all sync.WaitGroup
	for i, check := range checks {
		all.Go(func() { found[i] = check(ctx); found[i].Group = proxyGroup })
	}
	all.Wait()
	return found
}

func (p Proxies) client() (*http.Client, error) {
	roots, err := httpclient.Roots(p.CAFile, "the gateway's authorities")
	if err != nil {
		return nil, err
	}
	t := http.DefaultTransport.(*http.Transport).Clone() // uses the proxies of the environment, like git
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	t.MaxConnsPerHost, t.DisableCompression = 0, true
	return &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, nil
}

// through is a connection to the gateway under test.
type through struct {
	Proxies
	client *http.Client
}

// a reply is an answer to one request.
type reply struct {
	status int
	header http.Header
	body   []byte
	gap    time.Duration // between its first byte and its end
	took   time.Duration // until its first byte, or the error
}

func (t through) do(ctx context.Context, method, target string, body io.Reader) (r reply, err error) {
	request, err := http.NewRequestWithContext(ctx, method, t.Gateway+target, body)
	if err != nil {
		return r, err
	}
	request.SetBasicAuth(t.Session.Login(), t.Session.Secret())
	request.Header.Set("Git-Protocol", "version=2")
	request.Header.Set("User-Agent", "git/2 gatepass-doctor")
	begun := time.Now()
	response, err := t.client.Do(request)
	r.took = time.Since(begun)
	if err != nil {
		return r, err
	}
	defer response.Body.Close()
	r.status, r.header = response.StatusCode, response.Header
	first := make([]byte, 1)
	n, err := io.ReadFull(response.Body, first)
	begun = time.Now()
	if n == 0 {
		return r, ignoreEnd(err)
	}
	rest, err := io.ReadAll(io.LimitReader(response.Body, api.MaxAnswer))
	r.body, r.gap = append(first, rest...), time.Since(begun)
	return r, err
}

func ignoreEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// echo reads the broker's answer. If something else answered, why says what.
func (t through) echo(r reply, err error) (e api.Echo, why string) {
	if err != nil {
		return e, "it was cut after " + r.took.Round(time.Second).String() + ": " + redact.Text(trimURL(err), 200)
	}
	if r.status == http.StatusOK {
		if e, err = api.DecodeEcho(r.body); err == nil {
			return e, ""
		}
	}
	return e, fmt.Sprintf("%s answers %d after %s", by(r.header), r.status, r.took.Round(time.Second))
}

// by names the sender of an answer, from its headers.
func by(h http.Header) string {
	if h.Get("Gatepass-Decision") != "" || h.Get(api.EchoHeader) != "" {
		return "the broker"
	}
	for _, name := range []string{"Server", "Via"} {
		if text := h.Get(name); text != "" {
			return "a proxy (" + redact.Text(text, 60) + ")"
		}
	}
	return "a proxy"
}

func trimURL(err error) string {
	text := err.Error()
	if i := strings.LastIndex(text, `": `); i >= 0 {
		return text[i+3:]
	}
	return text
}

func fine(text string) Finding { return Finding{Level: OK, Text: text} }

// headers checks whether the headers that git sends arrive. It returns a nil echo if
// the broker did not answer; then no other check runs.
func (t through) headers(ctx context.Context) (Finding, *api.Echo) {
	r, err := t.do(ctx, http.MethodGet, api.EchoPath, nil)
	e, why := t.echo(r, err)
	switch {
	case why != "" && by(r.header) == "the broker" && r.status == http.StatusUnauthorized:
		return Finding{Group: proxyGroup, Level: Failure, Text: "the broker does not know the session, or a proxy removed the header Authorization", Fix: "let Authorization through (nginx does; a proxy with its own login does not)"}, nil
	case why != "" && r.status == http.StatusNotFound:
		return Finding{Group: proxyGroup, Level: Failure, Text: t.Gateway + api.EchoPath + ": " + why, Fix: "check that " + t.Gateway + " is the broker, and that it has gateway: {} and this version"}, nil
	case why != "":
		return Finding{Group: proxyGroup, Level: Failure, Text: "no request reaches the gateway: " + why, Fix: "see the proxy's log"}, nil
	case e.GitProtocol != "version=2":
		return Finding{Level: Warning, Text: "the header Git-Protocol does not reach the broker, so git lists every ref at each fetch", Fix: "let the header Git-Protocol through"}, &e
	}
	return fine("requests reach the broker as " + e.Protocol + ", with their headers"), &e
}

// host checks by which name the broker is called: addresses in its answers use that
// name.
func (t through) host(e api.Echo) Finding {
	if strings.EqualFold(e.Host, t.Host) {
		return fine("requests reach the broker with the name " + t.Host)
	}
	return Finding{
		Level: Warning, Text: "requests reach the broker with the name " + redact.Text(e.Host, 100) + " instead of " + t.Host + ", so addresses in answers of the API and of Git LFS are wrong",
		Fix: "forward the header Host (nginx: proxy_set_header Host $http_host)",
	}
}

func (t through) path(ctx context.Context) Finding {
	e, why := t.echo(t.do(ctx, http.MethodGet, api.EchoPath+oddPath, nil))
	mend := "forward paths without a change (nginx: proxy_pass without a path after the host)"
	switch {
	case why != "":
		return Finding{Level: Warning, Text: "a path with %2F in it: " + why, Fix: mend}
	case e.Target != api.EchoPath+oddPath:
		return Finding{Level: Warning, Text: "a proxy changes paths: " + oddPath + " arrives as " + redact.Text(strings.TrimPrefix(e.Target, api.EchoPath), 100) + ", so the API does not find names with a slash", Fix: mend}
	}
	return fine("paths arrive without a change")
}

// upload sends three pieces in chunked encoding, as git sends a large push.
func (t through) upload(ctx context.Context) Finding {
	body, in := io.Pipe()
	wait := t.Pause / 2
	go func() {
		piece := bytes.Repeat([]byte("gatepass"), uploadPiece/8)
		for i := range 3 {
			if i > 0 {
				time.Sleep(wait)
			}
			if _, err := in.Write(piece); err != nil {
				return
			}
		}
		_ = in.Close() // never fails
	}()
	defer body.Close()
	r, err := t.do(ctx, http.MethodPost, api.EchoPath, body)
	e, why := t.echo(r, err)
	switch {
	case r.status == http.StatusRequestEntityTooLarge:
		return Finding{Level: Failure, Text: "a push of 3 MiB is too large: " + why, Fix: "remove the limit (nginx: client_max_body_size 0)"}
	case r.status == http.StatusLengthRequired:
		return Finding{Level: Failure, Text: "requests without a length are refused: " + why, Fix: "let chunked requests through; a load balancer that cannot must be removed from the path"}
	case why != "":
		return Finding{Level: Failure, Text: "a push of 3 MiB does not arrive: " + why, Fix: "see the proxy's log"}
	case e.Bytes != 3*uploadPiece:
		return Finding{Level: Failure, Text: "a push of 3 MiB arrives with " + strconv.FormatInt(e.Bytes, 10) + " bytes", Fix: "see the proxy's log"}
	case time.Duration(e.BodyMilliseconds)*time.Millisecond < wait:
		return Finding{Level: Warning, Text: "a proxy buffers a whole push: it needs space for packs, and a long push looks idle", Fix: "forward requests immediately (nginx: proxy_request_buffering off)"}
	}
	return fine("a push of 3 MiB in chunks arrives immediately")
}

// parts checks whether an answer arrives while it is being written, which progress and
// keepalives need.
func (t through) parts(ctx context.Context) Finding {
	r, err := t.do(ctx, http.MethodGet, api.EchoPath+"?pause="+seconds(t.Pause), nil)
	_, why := t.echo(r, err)
	mend := "forward answers immediately (nginx: proxy_buffering off)"
	switch {
	case why != "":
		return Finding{Level: Failure, Text: "an answer in two parts does not arrive: " + why, Fix: mend}
	case r.gap < t.Pause/2:
		return Finding{Level: Warning, Text: "a proxy buffers answers, so git shows no progress and the gateway's keepalives do not arrive", Fix: mend}
	}
	return fine("answers arrive immediately")
}

// quiet checks whether a long silence closes the connection.
func (t through) quiet(ctx context.Context) Finding {
	_, why := t.echo(t.do(ctx, http.MethodGet, api.EchoPath+"?quiet="+seconds(t.Quiet), nil))
	if why != "" {
		return Finding{
			Level: Failure, Text: "a silence of " + t.Quiet.String() + " is cut: " + why + "; git prints RPC failed if GitHub is slow",
			Fix: "let requests wait for an hour (nginx: proxy_read_timeout 1h; a load balancer: its idle timeout)",
		}
	}
	return fine("a silence of " + t.Quiet.String() + " is not cut")
}

func seconds(d time.Duration) string { return strconv.Itoa(int(d / time.Second)) }
