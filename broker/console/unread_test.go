package console

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/broker"
)

const soon = 4 * time.Second // an answer that is not read has five

// unread asks for a path over one connection of HTTP/2 as often as told, and takes
// nothing of the answers: its streams have windows of 0 bytes (RFC 9113, section 6.5.2).
func unread(t *testing.T, address, path string, times int) net.Conn {
	t.Helper()
	c, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}) // of this test
	if err != nil {
		t.Fatal(err)
	}
	frame := func(kind, flags byte, stream uint32, payload string) string {
		n := len(payload)
		return string([]byte{byte(n >> 16), byte(n >> 8), byte(n), kind, flags, byte(stream >> 24), byte(stream >> 16), byte(stream >> 8), byte(stream)}) + payload
	}
	const settings, headers, endAll = 4, 1, 1 | 4 // of the stream, and of its headers
	// By the static table of HPACK: GET, https, and a path and an authority in letters.
	fields := "\x82\x87\x04" + string(byte(len(path))) + path + "\x01\x06broker"
	said := "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(settings, 0, 0, "\x00\x04\x00\x00\x00\x00")
	for i := range times {
		said += frame(headers, endAll, uint32(2*i+1), fields)
	}
	if _, err := io.WriteString(c, said); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, c) }() // all but what streams have to say
	return c
}

// Who takes no answers does not hold the places of everybody.
func TestUnreadAnswersAreNotInTheWay(t *testing.T) {
	const limit = 128
	for _, path := range []string{PagePath, stylePath, api.OpenAPIPath, loginPath, api.NoncePath, "/nowhere"} {
		b := newBench(t)
		var come atomic.Int64
		counted := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			come.Add(1)
			b.Handler().ServeHTTP(w, r)
		})
		s := httptest.NewUnstartedServer(broker.Gated(func() int { return limit }, nil, counted))
		s.EnableHTTP2 = true
		s.StartTLS()
		for range 2 {
			c := unread(t, s.Listener.Addr().String(), path, limit)
			defer c.Close()
		}
		for begun := time.Now(); come.Load() < limit && time.Since(begun) < time.Minute; {
			time.Sleep(10 * time.Millisecond)
		}
		begun := time.Now()
		code := 0
		for code = get(t, s, path); code == http.StatusTooManyRequests && time.Since(begun) < soon; code = get(t, s, path) {
			time.Sleep(50 * time.Millisecond)
		}
		if took := time.Since(begun); code == http.StatusTooManyRequests || took > soon {
			t.Errorf("GET %s meanwhile is answered %d after %v, want it within %v", path, code, took, soon)
		}
		s.CloseClientConnections()
		s.Close()
	}
}

// get reads an answer whole and returns its status.
func get(t *testing.T, s *httptest.Server, path string) int {
	t.Helper()
	answer, err := s.Client().Get(s.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode
}
