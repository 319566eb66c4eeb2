package config

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestGateway(t *testing.T) {
	defaults := Gateway{MaxPack: 4 << 30, IdleTimeout: 2 * time.Minute, Transfers: 8, APIRequests: 2000}
	full := Gateway{MaxPack: 500e6, IdleTimeout: time.Minute, Transfers: 2, Rate: 10 << 30, APIRequests: 50, StorageHosts: []string{"minio.acme.example:9000", "*.acme.example", "*"}}
	for _, c := range []struct {
		line string
		want *Gateway
	}{
		{"", nil},
		{"gateway:", nil},
		{"gateway: {}", &defaults},
		{`gateway: {max_pack: 500MB, idle_timeout: 1m, transfers: 2, transfer_rate: 10GiB, api_requests: 50, storage_hosts: ["minio.acme.example:9000", "*.acme.example", "*"]}`, &full},
	} {
		f, err := loadFile(t, whole+"\n"+c.line+"\n")
		if err != nil || !reflect.DeepEqual(f.Gateway, c.want) {
			t.Errorf("%s: %+v, %v, want %+v", c.line, f.Gateway, err, c.want)
		}
	}
	for _, c := range []struct{ line, want string }{
		{"gateway: {http2: maybe}", "true or false"},
		{"gateway: true", "want a mapping: gateway: {}"},
		{"gateway: {max_packs: 1}", `unknown key "max_packs"`},
		{"gateway: {api_requests: -1}", "below 0"},
		{"gateway: {transfers: -1}", "below 0"},
		{"gateway: {storage_hosts: [https://minio.acme.example]}", "storage_hosts[0]"},
		{`gateway: {storage_hosts: [a.example, "a.*.example"]}`, "storage_hosts[1]"},
		{`gateway: {storage_hosts: ["*."]}`, "storage_hosts[0]"},
		{"gateway: {storage_hosts: [Minio.example]}", "lower case"},
	} {
		if _, err := loadFile(t, whole+"\n"+c.line+"\n"); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.line, err, c.want)
		}
	}
}

func TestHTTP2(t *testing.T) {
	for line, want := range map[string]bool{"": true, "gateway: {}": true, "gateway: {http2: true}": true, "gateway: {http2: false}": false} {
		f, err := loadFile(t, whole+"\n"+line+"\n")
		if err != nil || f.Gateway.OffersHTTP2() != want {
			t.Errorf("%q: %v, want %v", line, err, want)
		}
	}
}

func TestUpstream(t *testing.T) {
	for _, c := range []struct{ lines, want string }{
		{"upstream_proxy: http://proxy.acme.example:3128", ""},
		{"upstream_proxy: https://proxy.acme.example/\nno_proxy: [github.acme.example, '*.acme.example']", ""},
		{"upstream_proxy: proxy.acme.example:3128", "want http://HOST:PORT"},
		{"upstream_proxy: socks5://proxy.acme.example", "want http://HOST:PORT"},
		{"upstream_proxy: http://proxy.acme.example/path", "want http://HOST:PORT"},
		{"upstream_proxy: http://km:pass@proxy.acme.example", "upstream_proxy_login_file"},
		{"no_proxy: [a.example]", "upstream_proxy is missing"},
		{"upstream_proxy_login_file: /login", "upstream_proxy is missing"},
		{"upstream_proxy: http://proxy.acme.example\nno_proxy: ['*']", "no_proxy[0]"},
		{"upstream_proxy: http://proxy.acme.example\nno_proxy: [.acme.example]", "no_proxy[0]"},
	} {
		_, err := loadFile(t, whole+"\n"+c.lines+"\n")
		if (err == nil) != (c.want == "") || err != nil && (!strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "pass@")) {
			t.Errorf("%s: %v, want %q", c.lines, err, c.want)
		}
	}
	if err := (Upstream{Proxy: "http://proxy.acme.example"}).check("http://127.0.0.1:1"); err == nil {
		t.Error("a GitHub without TLS is taken to be behind the proxy")
	}
}
