//go:build linux

package serve

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A user who can change the broker's files decides who gets tokens, and a user who can
// read its secrets can speak in its name, or in GitHub's. --check and the start refuse
// both, and the hint in the error is enough to fix it.
func TestFilesThatOthersCanUseAreRefused(t *testing.T) {
	if testing.Short() {
		t.Skip("starts the broker many times")
	}
	w := newWorld(t)
	w.certify("broker")
	w.write("tls/none", "")
	for _, name := range []string{"tls.crt", "tls.key"} {
		if err := os.Rename(w.path(name), w.path("tls/"+name)); err != nil {
			t.Fatal(err)
		}
	}
	w.write("webhook/secret", strings.Repeat("s", 32))
	w.write("log/none", "")
	text := strings.Replace(testConfig, "audit: @DIR@/audit.jsonl", "audit: @DIR@/log/audit.jsonl", 1)
	text = strings.Replace(text, "listen: unix://@DIR@/broker.sock", "listen: https://127.0.0.1:0\ntls: {cert_file: @DIR@/tls/tls.crt, key_file: @DIR@/tls/tls.key}", 1)
	text += "  - oidc: {issuer: https://issuer.example, audience: a, jwks_file: @DIR@/jwks.json, ca_file: @DIR@/ca.pem}\n    workspace: x\n    profile: agent\n" +
		"  - mtls: {ca_file: @DIR@/clients.pem}\n    workspace: y\n    profile: agent\n"
	w.clientCertificate("spiffe://prod.example/sb-1")
	w.write("jwks.json", `{"keys": [`+publicKey+`]}`)
	w.write("broker.yaml", text+"webhook: {secret_file: @DIR@/webhook/secret}\n")
	w.write("log/audit.jsonl", "")
	says := func(args ...string) string {
		cmd := w.command(append(args, "--config", w.path("broker.yaml"))...)
		defer time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() }).Stop() // it must not start
		out, err := cmd.CombinedOutput()
		if err == nil {
			return ""
		}
		return string(out)
	}
	if out := says("--check"); out != "" {
		t.Fatalf("--check says %s", out)
	}
	for _, c := range []struct {
		name string
		mode os.FileMode
		want string
	}{
		{"broker.yaml", 0o620, "other users can write to it (mode 0620)"},
		{"profiles/agent.yaml", 0o602, "other users can write to it"},
		{"profiles", 0o777, "open to all"},
		{"webhook/secret", 0o604, "other users can read it (mode 0604)"},
		{"webhook/secret", 0o620, "other users can write to it"},
		{"webhook", 0o775, "can write to it (mode 0775)"},
		{"tls/tls.key", 0o644, "other users can read it (mode 0644)"},
		{"tls/tls.crt", 0o666, "other users can write to it"},
		{"tls", 0o777, "open to all"},
		{"jwks.json", 0o620, "trust the issuer's keys"},
		{"ca.pem", 0o602, "trust the issuer's authorities"},
		{"clients.pem", 0o620, "trust the authorities"},
		{"log/audit.jsonl", 0o620, "other users can write to it (mode"},
		{"log/audit.jsonl", 0o604, "other users can read and lock it (mode"},
		{"log", 0o770, "can write to it (mode 0770)"},
	} {
		path := w.path(c.name)
		info, err := os.Stat(path)
		if err = errors.Join(err, os.Chmod(path, c.mode)); err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{{"--check"}, {}} {
			out := says(args...)
			if !strings.Contains(out, c.want) || strings.Count(out, "\n") != 1 {
				t.Fatalf("%s with mode %04o: %q says %q, want one line with %q", c.name, c.mode, args, out, c.want)
			}
			_, fix, _ := strings.Cut(out, "run ")
			fix, _, _ = strings.Cut(strings.TrimSpace(fix), " (or add +t")
			fix, _, _ = strings.Cut(fix, " or move")
			fix, _, _ = strings.Cut(fix, ";")
			if err := exec.Command("sh", "-c", fix).Run(); err != nil || !strings.HasPrefix(fix, "chmod ") {
				t.Fatalf("%s: %q: %v", c.name, fix, err)
			}
			if out := says("--check"); out != "" {
				t.Errorf("%s: after %q, --check says %s", c.name, fix, out)
			}
			if err := os.Chmod(path, c.mode); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chmod(path, info.Mode().Perm()); err != nil {
			t.Fatal(err)
		}
	}
}

// publicKey is a key for ES256: the base point of the curve.
const publicKey = `{"kty": "EC", "crv": "P-256", "kid": "1", "x": "axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY", "y": "T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU"}`

// Without its file of keys, a rule answers its callers 503. The broker still starts,
// because the file may appear later, and --check reports it.
func TestCheckReadsTheFilesOfKeys(t *testing.T) {
	w := newWorld(t)
	w.write("empty", "")
	w.write("jwks.json", `{"keys": [`+publicKey+`]}`)
	w.write("encrypts.json", `{"keys": [`+strings.Replace(publicKey, `"kid"`, `"use": "enc", "kid"`, 1)+`]}`)
	w.clientCertificate("spiffe://prod.example/sb-1")
	const issuer = "oidc: {issuer: https://issuer.example, audience: a, "
	for proof, want := range map[string]string{
		issuer + "jwks_file: @DIR@/jwks.json}":                             "",
		issuer + "jwks_file: @DIR@/jwks.json, ca_file: @DIR@/ca.pem}":      "",
		issuer + "jwks_file: @DIR@/none}":                                  "read the issuer's keys @DIR@/none: no such file",
		issuer + "jwks_file: @DIR@/empty}":                                 "read the issuer's keys @DIR@/empty: it is not a JWK Set",
		issuer + "jwks_file: @DIR@/encrypts.json}":                         `read the issuer's keys @DIR@/encrypts.json: it has no public key that verifies signatures / key "1" cannot be used: its use is "enc"`,
		issuer + "ca_file: @DIR@/none}":                                    "read the issuer's authorities @DIR@/none: no such file",
		issuer + "ca_file: @DIR@/empty}":                                   "read the issuer's authorities @DIR@/empty: it has no certificate in PEM form",
		"mtls: {ca_file: @DIR@/clients.pem}":                               "",
		"mtls: {ca_file: @DIR@/none}":                                      "read the authorities of callers @DIR@/none: no such file",
		"mtls: {ca_file: @DIR@/empty}":                                     "read the authorities of callers @DIR@/empty: ",
		"mtls: {bundle_file: @DIR@/jwks.json, trust_domain: prod.example}": "read the authorities of callers @DIR@/jwks.json: ",
	} {
		rule := "  - " + proof + "\n    workspace: x\n    profile: agent\n"
		w.write("broker.yaml", testConfig+rule+rule) // an error of both rules is reported once
		out, err := w.command("--check", "--config", w.path("broker.yaml")).CombinedOutput()
		want = strings.ReplaceAll(want, "@DIR@/", w.path("")+"/")
		warned := strings.Count(string(out), "warning: ")
		if err != nil || want == "" && warned > 0 || want != "" && (warned != 1 || !strings.Contains(string(out), "warning: "+want)) {
			t.Errorf("--check of %s = %v: %s, want one warning, %q", proof, err, out, want)
		}
	}
}

// --check warns of a store that others can use: the broker would refuse to read it, and
// give nothing.
func TestCheckWarnsOfAStoreThatOthersCanUse(t *testing.T) {
	w := newWorld(t)
	w.write("broker.yaml", testConfig)
	w.addApp(1)
	for _, c := range []struct {
		mode  os.FileMode
		isBad bool
	}{{0o700, false}, {0o770, true}, {0o705, true}} {
		if err := os.Chmod(w.path("store"), c.mode); err != nil {
			t.Fatal(err)
		}
		out, err := w.command("--check", "--config", w.path("broker.yaml")).CombinedOutput()
		if err != nil || strings.Contains(string(out), "warning: ") != c.isBad || c.isBad && !strings.Contains(string(out), "other users can use it") {
			t.Errorf("--check with a store of mode %04o = %v: %s, warning wanted: %v", c.mode, err, out, c.isBad)
		}
		if err := os.Chmod(w.path("store"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
}

// A truncated or empty secret would refuse every delivery, once GitHub sends one.
func TestCheckSaysThatTheWebhooksSecretIsTooShort(t *testing.T) {
	w := newWorld(t)
	w.write("broker.yaml", testConfig+"webhook: {secret_file: @DIR@/secret}\n")
	for _, secret := range []string{"", "\n", strings.Repeat("s", 15) + "\n"} {
		w.write("secret", secret)
		cmd := w.command("--check", "--config", w.path("broker.yaml"))
		if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "shorter than 16 bytes; write a longer one") || strings.Count(string(out), "\n") != 1 {
			t.Errorf("--check of the secret %q = %v: %s, want one line that says that it is too short", secret, err, out)
		}
	}
}

// A directory of links, as package managers make them, is as good as a file, if no
// other user can change a link.
func TestLinksOnTheWayToTheConfiguration(t *testing.T) {
	w := newWorld(t)
	w.write("links/none", "")
	link := w.path("links/broker.yaml")
	if err := os.Symlink(w.path("broker.yaml"), link); err != nil {
		t.Fatal(err)
	}
	check := func() (string, bool) {
		out, err := w.command("--check", "--config", link).CombinedOutput()
		return string(out), err == nil
	}
	if out, good := check(); !good {
		t.Errorf("--check says %s", out)
	}
	if err := os.Chmod(filepath.Dir(link), 0o777); err != nil {
		t.Fatal(err)
	}
	if out, good := check(); good || !strings.Contains(out, "other users can replace it") {
		t.Errorf("--check says %s, want the directory of the link refused", out)
	}
}
