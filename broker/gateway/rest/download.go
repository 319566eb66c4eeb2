package rest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/internal/gitname"
)

// The limits of one answer.
const (
	maxDownload = 4 << 30          // bytes of a file from storage
	maxAnswer   = 512 << 20        // decompressed bytes of any other answer
	maxDuration = time.Hour        // of one answer as a whole
	idle        = time.Minute      // without a byte in either direction
	firstByte   = 90 * time.Second // until GitHub begins to answer
	maxHops     = 3                // redirects from one storage host to the next
)

// errCut is the error of an answer that ended early, after its status was sent.
var errCut = errors.New("the answer is incomplete")

// A download follows redirects to GitHub's storage and passes the file on: the client
// cannot reach those hosts, and their signed URLs work for anyone. It sends no token to
// the storage.
type download struct {
	do    func(*http.Request) (*http.Response, error)
	hosts []string
}

// serve answers with the file at u. Its error is a [*broker.Refusal] if nothing was
// answered, or errCut.
func (d download) serve(w http.ResponseWriter, r *http.Request, u *url.URL) error {
	ctx, cancel := context.WithTimeout(r.Context(), maxDuration)
	defer cancel()
	watch := time.AfterFunc(firstByte, cancel)
	defer watch.Stop()
	resp, err := d.follow(ctx, r, u)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := checkStored(resp); err != nil {
		return err
	}
	copyHeaders(w.Header(), resp.Header, stored)
	w.WriteHeader(resp.StatusCode)
	if r.Method == http.MethodHead {
		return nil
	}
	return pump(ctx, w, resp.Body, maxDownload, watch)
}

// follow requests u, and follows its redirects.
func (d download) follow(ctx context.Context, r *http.Request, u *url.URL) (*http.Response, error) {
	for range maxHops {
		if !isStorage(u, d.hosts) {
			return nil, unavailable("GitHub redirects this download to a host that is not one of its known storage hosts: "+u.Hostname(), nil)
		}
		req, err := http.NewRequestWithContext(ctx, r.Method, u.String(), nil)
		if err != nil {
			return nil, unavailable("GitHub redirects this download to a URL that cannot be read", nil)
		}
		copyHeaders(req.Header, r.Header, []string{"Range", "If-Range"})
		req.Header.Set("User-Agent", agent)
		req.Header.Set("Accept-Encoding", "identity")
		resp, err := d.do(req)
		if err != nil {
			return nil, unavailable("GitHub's storage cannot be reached", hideURL(err))
		}
		if !isRedirect(resp.StatusCode) {
			return resp, nil
		}
		resp.Body.Close()
		if u, err = resp.Location(); err != nil {
			return nil, unavailable("GitHub's storage redirects without a Location", nil)
		}
	}
	return nil, unavailable("GitHub's storage redirects too often", nil)
}

// hideURL removes the URL from an error, because its query contains a signature.
func hideURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

func isRedirect(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// checkStored refuses answers that are not a file. It does not pass on the storage's
// error text, which names accounts.
func checkStored(resp *http.Response) error {
	switch resp.StatusCode {
	case http.StatusOK, http.StatusPartialContent, http.StatusRequestedRangeNotSatisfiable:
	case http.StatusNotFound, http.StatusGone:
		return refuse(resp.StatusCode, broker.ReasonGitHub, "GitHub's storage does not have this file any more")
	default:
		return unavailable("GitHub's storage answered "+strconv.Itoa(resp.StatusCode), nil)
	}
	if resp.ContentLength > maxDownload {
		return refuse(http.StatusForbidden, broker.ReasonLimit, fmt.Sprintf("the file has %d bytes; the gateway forwards at most %d", resp.ContentLength, int64(maxDownload)))
	}
	return nil
}

var buffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// pump copies at most limit bytes to the client. It returns errCut if there are more,
// if the source fails, or if either side is idle. watch ends the source; every byte
// restarts it.
func pump(ctx context.Context, w http.ResponseWriter, from io.Reader, limit int64, watch *time.Timer) error {
	out, done := newPatientWriter(ctx, w, watch)
	defer done()
	buffer := buffers.Get().(*[32 << 10]byte)
	defer buffers.Put(buffer)
	watch.Reset(idle)
	n, err := io.CopyBuffer(out, onlyReader{io.LimitReader(from, limit+1)}, buffer[:])
	if err != nil || n > limit {
		return errCut
	}
	return nil
}

// onlyReader hides WriterTo, which would allocate its own buffer.
type onlyReader struct{ io.Reader }

// patientWriter is a writer to the client. Each write must end within idle. It writes nothing
// after ctx has ended.
type patientWriter struct {
	ctx   context.Context
	w     http.ResponseWriter
	rc    *http.ResponseController
	watch *time.Timer
}

// newPatientWriter returns a patient; a blocked write ends with ctx. Call done after the last
// write.
func newPatientWriter(ctx context.Context, w http.ResponseWriter, watch *time.Timer) (p patientWriter, done func()) {
	rc := http.NewResponseController(w)
	stop := context.AfterFunc(ctx, func() { _ = rc.SetWriteDeadline(past) }) // fails only in tests, without a connection
	return patientWriter{ctx, w, rc, watch}, func() { stop() }
}

func (p patientWriter) Write(b []byte) (int, error) {
	_ = p.rc.SetWriteDeadline(time.Now().Add(idle)) // fails only in tests, without a connection
	if err := p.ctx.Err(); err != nil {             // checked after the deadline is set: the end of ctx sets another one
		return 0, err
	}
	n, err := p.w.Write(b)
	p.watch.Reset(idle)
	return n, err
}

// pumpRewritten is pump for JSON. It rewrites the URLs in it. hasErrors is jsonRewriter's.
func pumpRewritten(ctx context.Context, w http.ResponseWriter, from io.Reader, back bases, watch *time.Timer) (hasErrors bool, err error) {
	out, done := newPatientWriter(ctx, w, watch)
	defer done()
	l := newJSONRewriter(out, back)
	buffer := buffers.Get().(*[32 << 10]byte)
	defer buffers.Put(buffer)
	watch.Reset(idle)
	n, err := io.CopyBuffer(l, onlyReader{io.LimitReader(from, maxAnswer+1)}, buffer[:])
	if closed := l.Close(); err != nil || closed != nil || n > maxAnswer {
		return l.hasErrors, errCut
	}
	return l.hasErrors, nil
}

// DefaultStorage returns the hosts to which an API redirects downloads, according to
// GitHub's documentation. "*.NAME" means every host below NAME, and "*" every host: an
// Enterprise Server stores logs and artifacts where its administrator chooses.
func DefaultStorage(api *url.URL) []string {
	host, _ := gitname.Host(api.Host)
	if host == "api.github.com" {
		return []string{
			"codeload.github.com", "objects.githubusercontent.com", "objects-origin.githubusercontent.com", "release-assets.githubusercontent.com",
			"github-releases.githubusercontent.com", "*.actions.githubusercontent.com", resultsStorage,
		}
	}
	if tenant, isTenant := strings.CutPrefix(host, "api."); isTenant && strings.HasSuffix(tenant, ".ghe.com") {
		return []string{tenant, "*." + tenant, resultsStorage}
	}
	return []string{anyHost}
}

const anyHost = "*"

// resultsStorage are the Azure accounts in which GitHub Actions stores logs and
// artifacts: productionresultssa0 to 19, and prodREGIONresultssaN with data residency.
const resultsStorage = "prod*resultssa*.blob.core.windows.net"

// isStorage reports whether a redirect to u is followed.
func isStorage(u *url.URL, hosts []string) bool {
	host, ok := gitname.Host(u.Host)
	return ok && u.Scheme == "https" && u.User == nil && u.Opaque == "" && slices.ContainsFunc(hosts, func(h string) bool { return isHost(host, h) })
}

func isHost(host, pattern string) bool {
	switch pattern {
	case anyHost:
		return true
	case resultsStorage:
		return isResults(host)
	}
	if parent, ok := strings.CutPrefix(pattern, "*."); ok {
		return strings.HasSuffix(host, "."+parent) && parent != ""
	}
	return host == pattern && host != ""
}

func isResults(host string) bool {
	account, ok := strings.CutSuffix(host, ".blob.core.windows.net")
	region, number, isAccount := strings.Cut(account, "resultssa")
	isOurs := strings.HasPrefix(region, "prod")
	return ok && isAccount && isOurs && strings.Trim(region, "abcdefghijklmnopqrstuvwxyz0123456789") == "" && number != "" && len(number) <= 3 && strings.Trim(number, "0123456789") == ""
}
