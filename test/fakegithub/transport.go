package fakegithub

import (
	"bytes"
	"errors"
	"io"
	"net/http"
)

// Transport reaches the server without a network, so that it can be used in a
// testing/synctest bubble. It buffers whole answers in memory.
func (s *Server) Transport() http.RoundTripper { return transport{s} }

type transport struct{ h http.Handler }

var errReset = errors.New("connection reset by the server")

func (t transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		defer req.Body.Close()
	}
	r := req.Clone(req.Context())
	r.RequestURI = r.URL.RequestURI()
	r.RemoteAddr = "192.0.2.1:1234" // RFC 5737: for documentation
	if r.Host == "" {
		r.Host = r.URL.Host
	}
	if r.Body == nil {
		r.Body = http.NoBody
	}
	if _, set := r.Header["User-Agent"]; !set {
		r.Header.Set("User-Agent", "Go-http-client/1.1") // as http.Transport does
	}
	w := &memoryWriter{header: http.Header{}}
	broken := w.run(t.h, r)
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	if broken && w.status == 0 {
		return nil, errReset
	}
	return w.response(req, broken), nil
}

// A memoryWriter buffers an answer.
type memoryWriter struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *memoryWriter) Header() http.Header { return w.header }

func (w *memoryWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

func (w *memoryWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(p)
}

// run runs the handler, and reports whether it broke the connection.
func (w *memoryWriter) run(h http.Handler, r *http.Request) (broken bool) {
	defer func() {
		if v := recover(); v != nil && v != http.ErrAbortHandler {
			panic(v)
		} else {
			broken = v != nil
		}
	}()
	h.ServeHTTP(w, r)
	return false
}

func (w *memoryWriter) response(req *http.Request, broken bool) *http.Response {
	w.WriteHeader(http.StatusOK)
	var body io.Reader = bytes.NewReader(w.body.Bytes())
	if broken {
		body = io.MultiReader(body, brokenReader{})
	}
	return &http.Response{
		Status:     http.StatusText(w.status),
		StatusCode: w.status,
		Proto:      "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:        w.header,
		Body:          io.NopCloser(body),
		ContentLength: -1,
		Request:       req,
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
