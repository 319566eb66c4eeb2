package access

import "testing"

// A resolver that lies must not lead a token into a private network.
func TestOnlyPublic(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]bool{
		"140.82.121.4:443": true, "[2606:50c0:8000::64]:443": true,
		"127.0.0.1:443": false, "10.0.0.1:443": false, "172.16.0.1:443": false, "192.168.1.1:443": false, "169.254.169.254:80": false, "100.64.0.1:443": false,
		"0.0.0.0:443": false, "224.0.0.1:443": false, "[::1]:443": false, "[fe80::1]:443": false, "[fd00::1]:443": false, "[::ffff:10.0.0.1]:443": false, "github.com:443": false,
	} {
		if err := onlyPublic("tcp", address, nil); (err == nil) != want {
			t.Errorf("onlyPublic(%s) = %v, want it public: %v", address, err, want)
		}
	}
	for github, want := range map[string]bool{"https://github.com": true, "https://acme.ghe.com": true, "https://github.example": false, "https://notgithub.com": false} {
		u, err := NewUpstream(github)
		if err != nil || isPublic(u.Git.Hostname()) != want {
			t.Errorf("%s: %v, want it public: %v", github, err, want)
		}
	}
}
