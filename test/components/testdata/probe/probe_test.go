// Package probe checks the place that real components give to tests, from the
// inside: a test that passes here can rely on it.
package probe

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestGitRuns(t *testing.T) {
	dir := t.TempDir()
	for _, args := range [][]string{
		{"init", "-q", dir},
		{"-C", dir, "-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "-q", "--allow-empty", "-m", "x"},
	} {
		if out, err := exec.CommandContext(t.Context(), "git", args...).CombinedOutput(); err != nil {
			t.Fatalf("git %q = %v: %s", args, err, out)
		}
	}
}

func TestHomeIsEmpty(t *testing.T) {
	entries, err := os.ReadDir(os.Getenv("HOME"))
	if err != nil || len(entries) != 0 {
		t.Errorf("ReadDir(HOME) = %v, %v, want an empty folder", entries, err)
	}
}

func TestBinariesAreOnPATH(t *testing.T) {
	dir := os.Getenv("GATEPASS_TEST_BIN_DIR")
	if first, _, _ := strings.Cut(os.Getenv("PATH"), ":"); dir == "" || first != dir {
		t.Errorf("PATH starts with %q, want GATEPASS_TEST_BIN_DIR, %q", first, dir)
	}
	binaries, err := filepath.Glob(filepath.Join(dir, "gatepass*"))
	if err != nil || len(binaries) == 0 {
		t.Errorf("Glob(%s/gatepass*) = %v, %v, want our binaries", dir, binaries, err)
	}
}

func TestTestdataComesAlong(t *testing.T) {
	if text, err := os.ReadFile("testdata/hello.txt"); string(text) != "hello\n" {
		t.Errorf("ReadFile(testdata/hello.txt) = %q, %v, want hello", text, err)
	}
}

func TestDevices(t *testing.T) {
	for _, path := range []string{"/dev/null", "/proc/self/status"} {
		if _, err := os.ReadFile(path); err != nil {
			t.Error(err)
		}
	}
}

// Only this test's own processes are there, so none outlives the run.
func TestProcessesAreConfined(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	text, err := os.ReadFile("/proc/1/cmdline")
	if name, _, _ := strings.Cut(string(text), "\x00"); name != "sh" {
		t.Errorf("process 1 is %q, %v, want sh", name, err)
	}
}

func TestLoopback(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.DialTimeout("tcp", l.Addr().String(), 30*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

func TestAWSAnswers(t *testing.T) {
	endpoint := os.Getenv("GATEPASS_TEST_AWS_ENDPOINT")
	if endpoint == "" {
		t.Skip("missing: the AWS emulator (GATEPASS_TEST_AWS_ENDPOINT)")
	}
	client := &http.Client{Timeout: 30 * time.Second}
	resp, err := client.Get(endpoint + "/moto-api/")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("GET /moto-api/ = %s, want 200", resp.Status)
	}
}
