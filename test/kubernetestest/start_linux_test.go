package kubernetestest

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// A test program that is killed takes its cluster with it.
func TestClusterEndsWithTheTestProgram(t *testing.T) {
	if os.Getenv("KUBERNETESTEST_CHILD") != "" {
		c := Start(t, Options{})
		fmt.Println("\nlisten:", c.Host, c.etcdAt)
		time.Sleep(10 * time.Minute)
		return
	}
	need(t, "GATEPASS_TEST_KUBE_ASSETS")
	cmd := exec.Command(os.Args[0], "-test.run=^TestClusterEndsWithTheTestProgram$", "-test.v")
	cmd.Env = append(os.Environ(), "KUBERNETESTEST_CHILD=1", "TMPDIR="+t.TempDir())
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	urls := listening(bufio.NewScanner(out))
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait() // it was killed
	if len(urls) != 2 {
		t.Fatalf("the child's cluster listens at %q, want two URLs", urls)
	}
	client := &http.Client{Timeout: time.Second}
	for _, url := range urls {
		Wait(t, time.Minute, url+" to be gone", func() (bool, any) {
			_, err := client.Get(url)
			return err != nil && strings.Contains(err.Error(), "connection refused"), err
		})
	}
}

func listening(lines *bufio.Scanner) []string {
	for lines.Scan() {
		if urls, ok := strings.CutPrefix(lines.Text(), "listen: "); ok {
			return strings.Fields(urls)
		}
	}
	return nil
}
