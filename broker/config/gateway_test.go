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
