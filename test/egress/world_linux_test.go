//go:build linux

// Package egress holds the rules of docs/egress.md against git and an attacker, in network
// namespaces of their own: a workspace, a router, and what is outside of it.
package egress

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepass/gatepass/broker/gateway"
	"github.com/gatepass/gatepass/broker/gateway/rest"
	"github.com/gatepass/gatepass/test/brokertest"
	"github.com/gatepass/gatepass/test/fakegithub"
	"golang.org/x/sys/unix"
)

// Addresses of documentation (RFC 5737), which lead nowhere but in the namespaces.
const (
	gatewayAddress  = "192.0.2.10:8443"
	workspaceSubnet = "203.0.113."
)

// elsewhere are hosts of GitHub's, and addresses that stand in for them.
var elsewhere = []struct{ host, address, ports string }{
	{"github.com", "198.51.100.1", "22 80 443 9418"},
	{"api.github.com", "198.51.100.2", "443"},
	{"ssh.github.com", "198.51.100.3", "443"},
	{"codeload.github.com", "198.51.100.4", "443"},
}

// A world is three namespaces, and a gateway that listens in the outer one.
type world struct {
	*brokertest.Gateway
	t                          *testing.T
	workspace, router, outside string // names of namespaces
	ca, home                   string
	session                    string
	reached                    atomic.Int32 // connections that the stand-ins took
}

const profile = `{allowedRepos: [acme/widgets], allowedRefs: [{ref: "agent/{workspace}/**", allow: [create, update, delete]}]}`

func newWorld(t *testing.T) *world {
	t.Helper()
	if os.Getenv("GATEPASS_TEST_EGRESS") == "" {
		t.Skip("missing: network namespaces (make test-real sets GATEPASS_TEST_EGRESS)")
	}
	for _, program := range []string{"ip", "nft", "git", "ssh", "curl", "bash"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip("missing: " + program)
		}
	}
	if os.Geteuid() != 0 {
		t.Skip("missing: root")
	}
	w := &world{Gateway: brokertest.NewGateway(t, fakegithub.Options{}, profile), t: t, home: t.TempDir()}
	w.session = w.Session("")
	w.Advance(5 * time.Minute) // GitHub knows every token by now
	w.connect()
	w.serveGateway()
	for _, e := range elsewhere {
		for port := range strings.FieldsSeq(e.ports) {
			w.standIn(w.listen(net.JoinHostPort(e.address, port)))
		}
	}
	w.standIn(w.listen("192.0.2.10:9000"))
	w.resolver("198.51.100.1:53")
	return w
}

// connect makes the namespaces, and the way from the workspace by the router to outside.
func (w *world) connect() {
	w.t.Helper()
	id := fmt.Sprint(os.Getpid()) + strings.ToLower(rand.Text()[:4])
	w.workspace, w.router, w.outside = "gp-ws-"+id, "gp-rt-"+id, "gp-out-"+id
	for _, name := range []string{w.workspace, w.router, w.outside} {
		if out, err := exec.Command("ip", "netns", "add", name).CombinedOutput(); err != nil {
			w.t.Skipf("missing: the right to make network namespaces: %s", out)
		}
		w.t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", name).Run() }) // with all that is in it
		w.in(name, "ip", "link", "set", "lo", "up")
	}
	w.in(w.router, "ip", "link", "add", "ws0", "type", "veth", "peer", "name", "eth0", "netns", w.workspace)
	w.in(w.router, "ip", "link", "add", "out0", "type", "veth", "peer", "name", "eth0", "netns", w.outside)
	for _, line := range []string{
		w.router + " addr add " + workspaceSubnet + "1/24 dev ws0", w.router + " link set ws0 up", w.router + " addr add 192.0.2.1/24 dev out0", w.router + " link set out0 up",
		w.router + " route add 198.51.100.0/24 via 192.0.2.10", w.workspace + " addr add " + workspaceSubnet + "2/24 dev eth0", w.workspace + " link set eth0 up",
		w.workspace + " route add default via " + workspaceSubnet + "1", w.outside + " addr add 192.0.2.10/24 dev eth0", w.outside + " link set eth0 up", w.outside + " route add default via 192.0.2.1",
	} {
		name, args, _ := strings.Cut(line, " ")
		w.in(name, append([]string{"ip"}, strings.Fields(args)...)...)
	}
	for _, e := range elsewhere {
		w.in(w.outside, "ip", "addr", "add", e.address+"/32", "dev", "lo")
	}
	w.in(w.router, "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")
	w.names()
}

// names has the workspace know the gateway and, as an attacker would see to it, GitHub's
// hosts; it knows no resolver.
func (w *world) names() {
	w.t.Helper()
	hosts := "127.0.0.1 localhost\n192.0.2.10 gateway.internal\n"
	for _, e := range elsewhere {
		hosts += e.address + " " + e.host + "\n"
	}
	dir := filepath.Join("/etc/netns", w.workspace)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = os.RemoveAll(dir); _ = os.Remove("/etc/netns") }) // the latter only where it is empty
	w.write(filepath.Join(dir, "hosts"), hosts)
	w.write(filepath.Join(dir, "resolv.conf"), "nameserver 127.0.0.1\n")
}

func (w *world) write(path, text string) {
	w.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

// in runs a program in a namespace, and wants it to work.
func (w *world) in(namespace string, args ...string) {
	w.t.Helper()
	if out, err := exec.Command("ip", append([]string{"netns", "exec", namespace}, args...)...).CombinedOutput(); err != nil {
		w.t.Fatalf("%s: %v: %s", args, err, out)
	}
}

// listen opens a socket in the outer namespace.
func (w *world) listen(address string) net.Listener {
	w.t.Helper()
	l, err := outside(w, func() (net.Listener, error) { return net.Listen("tcp4", address) })
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = l.Close() })
	return l
}

// resolver counts datagrams.
func (w *world) resolver(address string) {
	w.t.Helper()
	conn, err := outside(w, func() (net.PacketConn, error) { return net.ListenPacket("udp4", address) })
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = conn.Close() })
	go func() {
		for b := make([]byte, 1500); ; w.reached.Add(1) {
			if _, _, err := conn.ReadFrom(b); err != nil {
				return
			}
		}
	}()
}

// outside opens something in the outer namespace.
func outside[T any](w *world, open func() (T, error)) (made T, err error) {
	namespace, err := os.Open(filepath.Join("/run/netns", w.outside))
	if err != nil {
		return made, err
	}
	defer namespace.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlock it: the thread ends in the other namespace
		if err = unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET); err == nil {
			made, err = open()
		}
	}()
	<-done
	return made, err
}

// standIn counts connections, and answers none.
func (w *world) standIn(l net.Listener) {
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			w.reached.Add(1)
			_ = conn.Close()
		}
	}()
}

// serveGateway starts the gateway in the outer namespace. It reaches the double of GitHub
// from this one.
func (w *world) serveGateway() {
	w.t.Helper()
	settings := gateway.Settings{MaxPack: 64 << 20, IdleTimeout: time.Minute, Transfers: 8}
	g := gateway.New(w.Access, func() gateway.Settings { return settings }, rest.Options{})
	certificate := certificateFor(w.t, "gateway.internal")
	server := httptest.NewUnstartedServer(g.Handler(w.Access.Broker.Handler()))
	_ = server.Listener.Close() // another one takes its place
	server.Listener, server.EnableHTTP2 = w.listen(gatewayAddress), true
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	server.StartTLS()
	w.t.Cleanup(server.Close)
	w.ca = filepath.Join(w.home, "ca.pem")
	w.write(w.ca, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]})))
}

func certificateFor(t *testing.T, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// run runs a shell command in the workspace, and returns what it printed, whether it exited
// with 0, and how long it took.
func (w *world) run(command string) (string, bool, time.Duration) {
	w.t.Helper()
	cmd := exec.CommandContext(w.t.Context(), "ip", "netns", "exec", w.workspace, "bash", "-c", command)
	cmd.Dir = w.home
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + w.home, "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "LC_ALL=C", "GIT_SSL_CAINFO=" + w.ca, "SESSION=" + w.session,
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com",
		"GIT_SSH_COMMAND=ssh -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null",
	}
	begun := time.Now()
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err == nil, time.Since(begun)
}
