package access

import (
	"net/http"
	"net/netip"
	"strings"

	"github.com/gatepass/gatepass/internal/gitname"
)

// Origin returns the scheme and host by which the client reached the gateway, such as
// https://broker.example. ok is false if the Host header is malformed.
//
// Without TLS, the broker listens on loopback addresses only. So a request without TLS
// for another host came through a proxy with TLS, and its scheme is https.
func Origin(r *http.Request) (origin string, ok bool) {
	host, ok := gitname.Host(r.Host)
	if !ok {
		return "", false
	}
	name := host
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		name = host[:i]
	}
	ip, _ := netip.ParseAddr(strings.Trim(name, "[]"))
	if r.TLS == nil && (name == "localhost" || ip.IsLoopback()) {
		return "http://" + host, true
	}
	return "https://" + host, true
}
