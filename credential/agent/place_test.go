package agent

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func env(values map[string]string) func(string) string {
	return func(name string) string { return values[name] }
}

// short returns a directory whose path leaves room for a socket's.
func short(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "gp")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestLocatePrefersTheRuntimeDirectory(t *testing.T) {
	run, tmp := short(t), short(t)
	p, err := Locate("/etc/a.yaml", env(map[string]string{"XDG_RUNTIME_DIR": run, "TMPDIR": tmp}))
	if err != nil || p.Directory != run+"/gatepass" {
		t.Fatalf("Locate = %+v, %v, want it below %s", p, err, run)
	}
	info, err := os.Stat(p.Directory)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory mode = %v, %v, want 0700", info.Mode(), err)
	}
	other, _ := Locate("/etc/b.yaml", env(map[string]string{"XDG_RUNTIME_DIR": run}))
	if other.Socket == p.Socket {
		t.Errorf("two files share the socket %s", p.Socket)
	}
}

func TestLocateFallsBackToATemporaryDirectoryOfTheUser(t *testing.T) {
	perUser := "gatepass-" + strconv.Itoa(os.Geteuid())
	for name, spoil := range map[string]func(run string) string{
		"unset":         func(string) string { return "" },
		"relative":      func(string) string { return "run" },
		"gone":          func(run string) string { return run + "/gone" },
		"too long":      func(run string) string { return run + "/" + strings.Repeat("x", 100) },
		"open to all":   func(run string) string { _ = os.Mkdir(run+"/gatepass", 0o755); return run },
		"a link":        func(run string) string { _ = os.Symlink("/tmp", run+"/gatepass"); return run },
		"a plain file":  func(run string) string { _ = os.WriteFile(run+"/gatepass", nil, 0o700); return run },
		"a broken link": func(run string) string { _ = os.Symlink(run+"/no", run+"/gatepass"); return run },
	} {
		t.Run(name, func(t *testing.T) {
			run, tmp := short(t), short(t)
			p, err := Locate("/etc/a.yaml", env(map[string]string{"XDG_RUNTIME_DIR": spoil(run), "TMPDIR": tmp}))
			if err != nil || p.Directory != filepath.Join(tmp, perUser) {
				t.Errorf("Locate = %+v, %v, want %s", p, err, filepath.Join(tmp, perUser))
			}
		})
	}
}

func TestLocateKeepsSocketPathsShort(t *testing.T) {
	run := short(t)
	deep := run
	for len(deep) < 70 {
		deep += "/xxxxxxxxx"
	}
	if err := os.MkdirAll(deep, 0o700); err != nil {
		t.Fatal(err)
	}
	p, err := Locate("/etc/a.yaml", env(map[string]string{"XDG_RUNTIME_DIR": deep, "TMPDIR": run}))
	if err != nil || len(p.Socket) > maxSocketPath-len(".new") {
		t.Errorf("Locate = %q (%d bytes), %v", p.Socket, len(p.Socket), err)
	}
}
