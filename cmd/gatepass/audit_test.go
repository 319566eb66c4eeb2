package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/audit"
)

// auditLog is a log of two workspaces.
func auditLog(t *testing.T) (*audit.Log, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l, err := audit.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	for i, e := range []broker.Entry{
		{Decision: broker.Granted, Workspace: "sb-1", Repository: "acme/widgets", Operation: "read", Hash: "abc="},
		{Decision: broker.Refused, Workspace: "sb-1", Repository: "acme/payroll", Reason: broker.ReasonRepository, Detail: "not \x1b[31m yours"},
		{Decision: broker.Granted, Workspace: "sb-2", Repository: "acme/widgets", Operation: "write", Hash: "def="},
	} {
		e.Kind, e.Time = broker.KindRequest, time.Date(2026, 1, 2, 3, i, 0, 0, time.UTC)
		if err := l.Write(t.Context(), e, true); err != nil {
			t.Fatal(err)
		}
	}
	return l, path
}

// gatepass runs the program.
func gatepass(ctx context.Context, args ...string) (stdout, stderr string, status int) {
	var out, errs bytes.Buffer
	status = run(ctx, args, func(string) string { return "" }, strings.NewReader(""), &out, &errs)
	return out.String(), errs.String(), status
}

func TestAuditVerify(t *testing.T) {
	l, path := auditLog(t)
	_, head := l.Head()
	out, errs, status := gatepass(t.Context(), "audit", "verify", path, "--head", head)
	if status != 0 || !strings.Contains(out, "4 lines are intact, number 1 to 4\nhead "+head) {
		t.Errorf("verify = %d %q %q", status, out, errs)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(t.TempDir(), "bad.jsonl")
	for _, c := range []struct{ name, text, head, want string }{
		{"a bit", strings.Replace(string(data), "payroll", "payrolm", 1), "", "bad.jsonl: line 3: its hash is wrong: the line was changed"},
		{"a line less at the end", string(data[:bytes.LastIndexByte(data[:len(data)-1], '\n')+1]), head, "it has no line with the hash " + head},
		{"another head", string(data), strings.Repeat("0", 64), "it has no line with the hash 000"},
		{"nothing", "", "", "line 1: the file is empty"},
	} {
		if err := os.WriteFile(bad, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		args := []string{"audit", "verify", bad, "--json"}
		if c.head != "" {
			args = append(args, "--head", c.head)
		}
		out, errs, status := gatepass(t.Context(), args...)
		var said chainReport
		if err := json.Unmarshal([]byte(out), &said); err != nil || said.OK || !strings.Contains(said.Why, c.want) {
			t.Errorf("%s: verify says %s, %v, want %q", c.name, out, err, c.want)
		}
		if status != 1 || !strings.Contains(errs, c.want) || strings.Count(errs, "\n") != 1 {
			t.Errorf("%s: verify = %d %q, want one line with %q", c.name, status, errs, c.want)
		}
	}
}

func TestAuditSearch(t *testing.T) {
	_, path := auditLog(t)
	for _, c := range []struct {
		options string
		want    string // numbers of the lines
	}{
		{"", "1 2 3 4"},
		{"--kind request", "2 3 4"},
		{"--workspace sb-1", "2 3"},
		{"--repo Acme/Widgets", "2 4"},
		{"--decision refused", "3"},
		{"--reason repository", "3"},
		{"--hash def=", "4"},
		{"--workspace sb-2 --decision refused", ""},
		{"--until 2026-01-02T03:02:00Z --since 2026-01-02T03:01", "3"},
		{"--since 2026-01-03 --kind request", ""},
		{"--since 1h", "1"},
	} {
		out, errs, status := gatepass(t.Context(), append([]string{"audit", "search", path, "--json"}, strings.Fields(c.options)...)...)
		var got []string
		for line := range strings.Lines(out) {
			var r audit.Record
			if err := json.Unmarshal([]byte(line), &r); err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprint(r.Seq))
		}
		if strings.Join(got, " ") != c.want || status != 0 {
			t.Errorf("search %s = %v, %d %s, want %s", c.options, got, status, errs, c.want)
		}
	}
	out, _, _ := gatepass(t.Context(), "audit", "search", path, "--reason", "repository")
	if !strings.Contains(out, `request    refused   sb-1          acme/payroll              repository: not \x1b[31m yours`) || strings.Contains(out, "\x1b") {
		t.Errorf("search prints %q", out)
	}
	if _, errs, status := gatepass(t.Context(), "audit", "search", path, "--since", "yesterday"); status != 2 || !strings.Contains(errs, `"yesterday" is not a time`) {
		t.Errorf("a time that is none: %d %s", status, errs)
	}
}

// The file has the words of earlier versions; people read those of the options.
func TestAuditShowsBlocksInTodaysWords(t *testing.T) {
	text := lineText(audit.Record{Entry: broker.Entry{Kind: broker.KindUnblocked, Decision: broker.Granted, Target: "workspace sb-1"}})
	text += lineText(audit.Record{Entry: broker.Entry{Kind: broker.KindRequest, Decision: broker.Refused, Reason: broker.ReasonBlocked, Detail: "workspace sb-1 was revoked"}})
	for _, want := range []string{"unblocked  granted", "workspace sb-1", "blocked: workspace sb-1 was revoked"} {
		if !strings.Contains(text, want) {
			t.Errorf("lines are %q, want %q in them", text, want)
		}
	}
	if strings.Contains(text, "barred") || strings.Contains(text, "admitted") {
		t.Errorf("lines are %q, want no word of the file", text)
	}
}

// buffer can be written and read at the same time.
type buffer struct {
	mu  sync.Mutex // guards the rest
	buf bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// A push report of a workspace is marked as such, and escaped like all other text.
func TestAuditShowsRefusedPushes(t *testing.T) {
	l, path := auditLog(t)
	e := broker.Entry{
		Kind: broker.KindReported, Time: time.Date(2026, 1, 2, 4, 0, 0, 0, time.UTC), Decision: broker.Refused, Reason: broker.ReasonReported, Workspace: "sb-1",
		Repository: "acme/widgets", Operation: "force", Ref: "refs/heads/<b>\u202e$(id)\u009b31m", Detail: "no rule allows it",
	}
	if err := l.Write(t.Context(), e, true); err != nil {
		t.Fatal(err)
	}
	want := `2026-01-02T04:00:00.000Z  reported-push  refused   sb-1          force acme/widgets refs/heads/<b>\u202e$(id)\u009b31m  reported-by-workspace: no rule allows it` + "\n"
	if out, errs, status := gatepass(t.Context(), "audit", "search", path, "--kind", "reported-push"); status != 0 || out != want {
		t.Errorf("search = %d %q %q, want %q", status, out, errs, want)
	}
	if out, errs, status := gatepass(t.Context(), "audit", "tail", path, "--lines", "1"); status != 0 || out != want {
		t.Errorf("tail = %d %q %q, want %q", status, out, errs, want)
	}
}

func TestAuditTail(t *testing.T) {
	l, path := auditLog(t)
	if out, _, _ := gatepass(t.Context(), "audit", "tail", path, "-n", "2"); strings.Count(out, "\n") != 2 || !strings.Contains(out, "sb-2") {
		t.Errorf("tail prints %q, want the last two lines", out)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out, errs buffer
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, []string{"audit", "tail", "-f", "-n", "0", path}, func(string) string { return "" }, strings.NewReader(""), &out, &errs)
	}()
	write := func(id string) {
		t.Helper()
		if err := l.Write(t.Context(), broker.Entry{Kind: broker.KindRequest, Workspace: id}, false); err != nil {
			t.Fatal(err)
		}
		for range 1200 {
			if strings.Contains(out.String(), id) {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
		t.Fatalf("tail -f prints %q, want %s", out.String(), id)
	}
	begin := broker.Entry{Kind: broker.KindRequest, Workspace: "begin"}
	for range 600 { // it prints only what was written after its first read
		if err := l.Write(t.Context(), begin, false); err != nil {
			t.Fatal(err)
		}
		if time.Sleep(tailPoll / 2); strings.Contains(out.String(), begin.Workspace) {
			break
		}
	}
	write("sb-8")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := l.Reopen(); err != nil {
		t.Fatal(err)
	}
	write("sb-9")
	for i := range 2 { // emptied by copytruncate; the second time the file has grown beyond its old size before tail reads it
		if err := os.Truncate(path, 0); err != nil {
			t.Fatal(err)
		}
		for range 20 * i {
			if err := l.Write(t.Context(), begin, false); err != nil {
				t.Fatal(err)
			}
		}
		write(fmt.Sprint("sb-1", i))
	}
	cancel()
	if status := <-done; status != 0 || strings.Count(out.String(), "sb-") != 4 {
		t.Errorf("tail = %d %q %q, want each line once", status, out.String(), errs.String())
	}
}
