//go:build unix

package filestore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gatepass/gatepass/credential"
)

const secret = "ghs_0123456789abcdefghijABCDEFGHIJ012345"

var widgets = credential.Request{Protocol: "https", Host: "github.com", Path: "acme/widgets.git"}

func open(t *testing.T, raw string) *Source {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(u, "sb-1")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func write(t *testing.T, name, text string, mode fs.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOpenRefuses(t *testing.T) {
	for _, c := range []struct{ name, url, want string }{
		{"a host", "file://host/path", "write file:///path"},
		{"localhost too", "file://localhost/path", "write file:///path"},
		{"a relative path", "file:token", "write file:///path"},
		{"no path", "file://", "write file:///path"},
		{"a query", "file:///path?mode=0644", "a file source must have only a path"},
		{"a fragment", "file:///path#x", "a file source must have only a path"},
		{"another scheme", "ssm:///path", "scheme is not file"},
		{"an unknown placeholder", "file:///path/{user}", "unknown placeholder {user}"},
	} {
		t.Run(c.name, func(t *testing.T) {
			u, err := url.Parse(c.url)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Open(u, "sb-1"); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Open(%s) = %v, want an error with %q", c.url, err, c.want)
			}
		})
	}
}

func TestToken(t *testing.T) {
	path := write(t, "token", secret+"\n", 0o600)
	written := time.Now().Add(-10 * time.Minute).Truncate(time.Second)
	if err := os.Chtimes(path, written, written); err != nil {
		t.Fatal(err)
	}
	token, err := open(t, "file://"+path).Token(t.Context(), widgets)
	if err != nil {
		t.Fatal(err)
	}
	if token.Secret() != secret || !token.Expiry.Equal(written.Add(time.Hour)) {
		t.Errorf("Token = %v until %v, want the file's until %v", token, token.Expiry, written.Add(time.Hour))
	}
}

func TestTokenStatesItsExpiry(t *testing.T) {
	expiry := time.Now().Add(8 * time.Hour).Truncate(time.Second)
	path := write(t, "token", fmt.Sprintf(`{"token":%q,"expires_at":%q}`, secret, expiry.Format(time.RFC3339)), 0o400)
	token, err := open(t, "file://"+path).Token(t.Context(), widgets)
	if err != nil || token.Secret() != secret || !token.Expiry.Equal(expiry) {
		t.Errorf("Token = %v until %v, %v, want the file's until %v", token, token.Expiry, err, expiry)
	}
}

func TestTheLongestToken(t *testing.T) {
	long := strings.Repeat("a", credential.MaxToken)
	for name, text := range map[string]string{"bare": long, "with a newline": long + "\n", "in JSON": `{"token":"` + long + `"}`} {
		if token, err := open(t, "file://"+write(t, "token", text, 0o600)).Token(t.Context(), widgets); err != nil || token.Secret() != long {
			t.Errorf("%s: Token = %v, %v, want the one of 8 KiB", name, token, err)
		}
	}
}

func TestPlaceholdersNameTheFile(t *testing.T) {
	path := write(t, "sb-1-acme-widgets", secret, 0o600)
	s := open(t, "file://"+filepath.Dir(path)+"/{workspace}-{owner}-{repo}")
	if token, err := s.Token(t.Context(), widgets); err != nil || token.Secret() != secret {
		t.Errorf("Token = %v, %v, want the one of %s", token, err, path)
	}
	if got := s.Key(widgets); got != path {
		t.Errorf("Key = %q, want %q", got, path)
	}
}

func TestTokenRefuses(t *testing.T) {
	dir := t.TempDir()
	own := write(t, "own", secret, 0o600)
	link := filepath.Join(dir, "link")
	fifo := filepath.Join(dir, "fifo")
	if err := errors.Join(os.Symlink(own, link), syscall.Mkfifo(fifo, 0o600)); err != nil {
		t.Fatal(err)
	}
	old := write(t, "old", secret, 0o600)
	past := time.Now().Add(-2 * time.Hour)
	if err := os.Chtimes(old, past, past); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, path, want string }{
		{"a file the group can read", write(t, "x", secret, 0o640), "chmod 600"},
		{"a file the world can read", write(t, "x", secret, 0o604), "mode 0604"},
		{"a file the group can write", write(t, "x", secret, 0o620), "mode 0620"},
		{"a symbolic link", link, "it is a symbolic link; name the file itself"},
		{"a directory", dir, "it is not a regular file"},
		{"a pipe without a writer", fifo, "it is not a regular file"},
		{"no file", dir + "/none", "there is no such file"},
		{"an empty file", write(t, "x", "", 0o600), "it is empty"},
		{"two lines", write(t, "x", secret+"\n"+secret, 0o600), "control characters"},
		{"null", write(t, "x", "null\n", 0o600), "it is a word for an empty value, such as null"},
		{"a web page", write(t, "x", "<html>"+secret, 0o600), "web page"},
		{"broken JSON", write(t, "x", `{"token":"`+secret, 0o600), "not the JSON object"},
		{"8 KiB and a byte", write(t, "x", strings.Repeat("a", 8<<10+1), 0o600), "longer than 8 KiB"},
		{"16 KiB", write(t, "x", strings.Repeat("a", 16<<10), 0o600), "longer than 8 KiB"},
		{"a token of two hours ago", old, "the token in it expired at"},
		{"a token that says it ran out", write(t, "x", `{"token":"`+secret+`","expires_at":"2020-01-01T00:00:00Z"}`, 0o600), "expired at 2020-01-01T00:00:00Z"},
	} {
		t.Run(c.name, func(t *testing.T) {
			token, err := open(t, "file://"+c.path).Token(t.Context(), widgets)
			if err == nil || !token.IsZero() || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("Token = %v, %v, want an error with %q", token, err, c.want)
			}
			if strings.Contains(err.Error(), secret) {
				t.Errorf("the token is in the error %q", err)
			}
		})
	}
}

func TestTokenRefusesSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := open(t, "file://"+path).Token(t.Context(), widgets); err == nil {
		t.Error("Token of a socket succeeded")
	}
}

func TestTokenRefusesAnotherOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("missing: root, to give a file to another user")
	}
	path := write(t, "token", secret, 0o600)
	if err := os.Chown(path, 65534, 65534); err != nil {
		t.Skip("missing: the right to give a file to another user")
	}
	if _, err := open(t, "file://"+path).Token(t.Context(), widgets); err == nil || !strings.Contains(err.Error(), "another user") {
		t.Errorf("Token = %v, want an error about its owner", err)
	}
}

func TestTokenAfterTheDeadline(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	path := write(t, "token", secret, 0o600)
	if _, err := open(t, "file://"+path).Token(ctx, widgets); !errors.Is(err, context.Canceled) {
		t.Errorf("Token = %v, want context.Canceled", err)
	}
}
