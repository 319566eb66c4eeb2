package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/gatepass/gatepass/broker/gateway/pktline"
)

// A transferClient pushes packs to bulk and fetches them by one route: through a gateway, through
// a proxy, or straight.
type transferClient struct {
	base     string // URL of acme/bulk.git, with a slash at its end
	user     string
	password string
	client   *http.Client
}

// newTransferClient returns a client with its own connections. roots are certificates to trust,
// PEM; nil means no TLS.
func newTransferClient(url, user, password string, roots []byte) *transferClient {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(roots)
	return &transferClient{base: url + "/acme/" + bulkRepo + ".git/", user: user, password: password, client: &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool}, WriteBufferSize: 64 << 10, ReadBufferSize: 64 << 10, MaxIdleConnsPerHost: 4,
	}}}
}

func (m *transferClient) close() { m.client.CloseIdleConnections() }

// A slow reader waits at a gate after it has read a number of bytes.
type slowReader struct {
	from io.Reader
	left int64
	wait func()
}

func (r *slowReader) Read(p []byte) (int, error) {
	if r.left <= 0 && r.wait != nil {
		r.wait()
		r.wait = nil
	}
	n, err := r.from.Read(p)
	r.left -= int64(n)
	return n, err
}

// A packReader reads n bytes of the same text over and over.
type packReader struct {
	text []byte
	at   int
	left int64
}

func (r *packReader) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(int64(len(p)), r.left)], r.text[r.at:])
	r.at = (r.at + n) % len(r.text)
	r.left -= int64(n)
	return n, nil
}

var pushed = somePack(1 << 20)

// push sends a pack of n bytes, with a length or chunked. wait is called after its
// first part, unless it is nil.
func (m *transferClient) push(n int64, chunked bool, wait func()) error {
	zero := strings.Repeat("0", len(tip))
	head := append(pktline.Append(nil, zero+" "+tip+" "+agentBranch+"\x00report-status side-band-64k agent=bench"), pktline.FlushPacket...)
	body := io.MultiReader(bytes.NewReader(head), &slowReader{&packReader{text: pushed, left: n}, n / 4, wait})
	length := int64(len(head)) + n
	if chunked {
		length = -1
	}
	response, err := m.post("git-receive-pack", body, length)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err == nil && !bytes.Contains(answer, []byte("ok "+agentBranch)) {
		err = fmt.Errorf("a push is answered %.200q", answer)
	}
	return err
}

// fetch receives a pack of n bytes.
func (m *transferClient) fetch(n int64, wait func()) error {
	request := append(pktline.Append(nil, fmt.Sprintf("bytes %d\n", n)), pktline.FlushPacket...)
	response, err := m.post("git-upload-pack", bytes.NewReader(request), int64(len(request)))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	got, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, &slowReader{response.Body, n / 4, wait}, make([]byte, 64<<10))
	if err == nil && got < n {
		err = fmt.Errorf("a fetch of %d bytes had %d", n, got)
	}
	return err
}

// small requests the refs as a fetch does.
func (m *transferClient) small() (time.Duration, error) { return m.refs("git-upload-pack") }

// refs requests the refs, and returns how long the answer took.
func (m *transferClient) refs(service string) (time.Duration, error) {
	begun := time.Now()
	response, err := m.do(http.MethodGet, "info/refs?service="+service, nil, 0)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return time.Since(begun), err
}

func (m *transferClient) post(service string, body io.Reader, length int64) (*http.Response, error) {
	return m.do(http.MethodPost, service, body, length)
}

func (m *transferClient) do(method, rest string, body io.Reader, length int64) (*http.Response, error) {
	r, err := http.NewRequest(method, m.base+rest, body)
	if err != nil {
		return nil, err
	}
	r.SetBasicAuth(m.user, m.password)
	if body != nil {
		r.ContentLength = length
		r.Header.Set("Content-Type", "application/x-"+rest+"-request")
	}
	response, err := m.client.Do(r)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 200))
		response.Body.Close()
		return nil, errors.New(rest + " is answered " + response.Status + ": " + string(text))
	}
	return response, nil
}
