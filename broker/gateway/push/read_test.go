package push

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/gatepass/gatepass/broker/gateway/pktline"
)

const (
	zero   = "0000000000000000000000000000000000000000"
	oidX   = "1111111111111111111111111111111111111111"
	oidY   = "2222222222222222222222222222222222222222"
	caps   = " report-status-v2 side-band-64k"
	pack   = "PACK and so on"
	zero64 = zero + "000000000000000000000000"
	oid64  = oidX + "111111111111111111111111"
)

// pkts writes each line as a packet.
func pkts(lines ...string) string {
	var to []byte
	for _, line := range lines {
		to = pktline.Append(to, line)
	}
	return string(to)
}

// body returns a push of one command with capabilities, and more lines.
func body(ref, capabilities string, more ...string) string {
	return pkts(append([]string{oidX + " " + oidY + " " + ref + "\x00" + capabilities}, more...)...) + "0000"
}

func read(t testing.TB, text string) *Request {
	t.Helper()
	q, err := ReadRequest(strings.NewReader(text), Limits{})
	if err != nil {
		t.Fatalf("ReadRequest(%.300q) = %v, want a request", text, err)
	}
	return q
}

// Heads that real clients send.
func TestReadRequestUnderstands(t *testing.T) {
	x := Command{oidX, oidY, "refs/heads/x"}
	for _, c := range []struct {
		name, in, rest string
		want           Request
	}{
		{
			"git", body("refs/heads/x", " report-status-v2 side-band-64k quiet object-format=sha1 agent=git/2.39.5") + pack, pack,
			Request{Commands: []Command{x}, Capabilities: Capabilities{ReportStatusV2 | SideBand64k | Quiet, "sha1", "git/2.39.5"}},
		},
		{
			"isomorphic-git, with a line break behind the capabilities", body("refs/heads/x", " report-status side-band-64k agent=git/isomorphic-git@1\n") + pack, pack,
			Request{Commands: []Command{x}, Capabilities: Capabilities{ReportStatus | SideBand64k, "", "git/isomorphic-git@1"}},
		},
		{
			"go-git, without a space in front and without a side-band", body("refs/heads/x", "agent=go-git/5.x report-status") + pack, pack,
			Request{Commands: []Command{x}, Capabilities: Capabilities{ReportStatus, "", "go-git/5.x"}},
		},
		{
			"libgit2, with a line break behind every command", body("refs/heads/x", " report-status side-band-64k\n", oidX+" "+oidY+" refs/heads/y\n") + pack, pack,
			Request{Commands: []Command{x, {oidX, oidY, "refs/heads/y"}}, Capabilities: Capabilities{ReportStatus | SideBand64k, "", ""}},
		},
		{
			"JGit", body("refs/heads/x", " report-status delete-refs side-band-64k ofs-delta atomic agent=JGit/7") + pack, pack,
			Request{Commands: []Command{x}, Capabilities: Capabilities{ReportStatus | DeleteRefs | SideBand64k | OfsDelta | Atomic, "", "JGit/7"}},
		},
		{
			"a shallow clone", pkts("shallow "+oidX+"\n", "shallow "+oidY) + body("refs/heads/x", caps) + pack, pack,
			Request{Shallow: []string{oidX, oidY}, Commands: []Command{x}, Capabilities: Capabilities{ReportStatusV2 | SideBand64k, "", ""}},
		},
		{"a shallow clone with nothing to push", pkts("shallow "+oidX+"\n") + "0000", "", Request{Shallow: []string{oidX}}},
		{"the probe", "0000", "", Request{}},
		{
			"a delete, without a pack", pkts(oidX+" "+zero+" refs/tags/v1\x00"+caps) + "0000", "",
			Request{Commands: []Command{{oidX, zero, "refs/tags/v1"}}, Capabilities: Capabilities{ReportStatusV2 | SideBand64k, "", ""}},
		},
		{
			"SHA-256", pkts("shallow "+oid64, zero64+" "+oid64+" refs/heads/x\x00 report-status object-format=sha256") + "0000" + pack, pack,
			Request{Shallow: []string{oid64}, Commands: []Command{{zero64, oid64, "refs/heads/x"}}, Capabilities: Capabilities{ReportStatus, "sha256", ""}},
		},
		{
			"unknown capabilities, which are left out", body("refs/heads/x", " report-status session-id=a-b  x-new y=z ") + pack, pack,
			Request{Commands: []Command{x}, Capabilities: Capabilities{ReportStatus, "", ""}},
		},
	} {
		for _, in := range []io.Reader{strings.NewReader(c.in), iotest.OneByteReader(strings.NewReader(c.in))} {
			q, err := ReadRequest(in, Limits{})
			if err != nil || !reflect.DeepEqual(q, &c.want) {
				t.Errorf("%s: ReadRequest = %+v, %v, want %+v", c.name, q, err, c.want)
				continue
			}
			if rest, _ := io.ReadAll(in); string(rest) != c.rest {
				t.Errorf("%s: %q is left, want %q", c.name, rest, c.rest)
			}
		}
	}
}

// refused are heads that some servers read differently, and other malformed ones.
var refused = []struct{ name, in string }{
	{"a NUL in a later command", body("refs/heads/agent/x", caps, oidX+" "+oidY+" refs/heads/main\x00/agent")},
	{"capabilities on a later command", body("refs/heads/x", caps, oidX+" "+oidY+" refs/heads/y\x00 report-status")},
	{"two NULs", body("refs/heads/x", caps+"\x00 atomic")},
	{"a line break in a ref", body("refs/heads/main\nrefs/heads/agent/x", caps)},
	{"a line break in a later ref", body("refs/heads/x", caps, oidX+" "+oidY+" refs/heads/main\nrefs/heads/agent/x")},
	{"a line break in front of the NUL", body("refs/heads/x\n", caps)},
	{"two line breaks at the end", body("refs/heads/x", caps, oidX+" "+oidY+" refs/heads/y\n\n")},
	{"0001 as the end", strings.TrimSuffix(body("refs/heads/x", caps), "0000") + "0001"},
	{"0002 as the end", strings.TrimSuffix(body("refs/heads/x", caps), "0000") + "0002"},
	{"0003 as the end", strings.TrimSuffix(body("refs/heads/x", caps), "0000") + "0003"},
	{"an empty packet as the end", strings.TrimSuffix(body("refs/heads/x", caps), "0000") + "0004"},
	{"0001 first", "0001" + body("refs/heads/x", caps)},
	{"a certificate", pkts("push-cert\x00"+caps, "certificate version 0.1\n", "pusher x\n", "\n", oidX+" "+oidY+" refs/heads/main\n", "push-cert-end\n") + "0000"},
	{"a certificate behind a command", body("refs/heads/x", caps, "push-cert\n", "\n", oidX+" "+oidY+" refs/heads/main\n", "push-cert-end\n")},
	{"a shallow line behind a command", body("refs/heads/x", caps, "shallow "+oidX+"\n")},
	{"capabilities in a shallow line", pkts("shallow "+oidX+"\x00"+caps) + body("refs/heads/x", caps)},
	{"a shallow line with more behind it", pkts("shallow "+oidX+" x\n") + body("refs/heads/x", caps)},
	{"a shallow line with half an id", pkts("shallow 11\n") + body("refs/heads/x", caps)},
	{"no capabilities at all", pkts(oidX+" "+oidY+" refs/heads/x") + "0000"},
	{"capabilities behind a tab", body("refs/heads/x", " report-status\tpush-options")},
	{"capabilities behind a line break", body("refs/heads/x", " report-status\npush-options")},
	{"capabilities behind a vertical tab", body("refs/heads/x", " report-status\vpush-options")},
	{"capabilities that are not ASCII", body("refs/heads/x", " agent=gït")},
	{"ids of 50 digits", pkts(strings.Repeat("1", 50)+" "+strings.Repeat("2", 50)+" refs/heads/x\x00"+caps) + "0000"},
	{"ids in upper case", pkts(strings.Repeat("A", 40)+" "+oidY+" refs/heads/x\x00"+caps) + "0000"},
	{"ids of two lengths", pkts(oidX+" "+oid64+" refs/heads/x\x00"+caps) + "0000"},
	{"ids of two lengths in two commands", body("refs/heads/x", caps, oid64+" "+oid64+" refs/heads/y")},
	{"a shallow id of another length", pkts("shallow "+oid64) + body("refs/heads/x", caps)},
	{"SHA-256 ids without the format", pkts(oid64+" "+oid64+" refs/heads/x\x00"+caps) + "0000"},
	{"SHA-1 ids and SHA-256 as the format", body("refs/heads/x", caps+" object-format=sha256")},
	{"a space behind the ref", body("refs/heads/x ", caps)},
	{"a CR behind the ref", body("refs/heads/x\r", caps)},
	{"a tab between ids", pkts(oidX+"\t"+oidY+" refs/heads/x\x00"+caps) + "0000"},
	{"two spaces between ids", pkts(oidX+"  "+oidY+" refs/heads/x\x00"+caps) + "0000"},
	{"a space in front", pkts(" "+oidX+" "+oidY+" refs/heads/x\x00"+caps) + "0000"},
	{"no ref", body("", caps)},
	{"a ref that is no full name", body("main", caps)},
	{"HEAD", body("HEAD", caps)},
	{"a ref with two dots", body("refs/heads/a..b", caps)},
	{"a ref that ends with .lock", body("refs/heads/x.lock", caps)},
	{"a ref that is not UTF-8", body("refs/heads/x\xfe", caps)},
	{"a ref of 1025 bytes", body("refs/heads/"+strings.Repeat("x", 1014), caps)},
	{"a ref given twice", body("refs/heads/x", caps, oidX+" "+oidY+" refs/heads/x")},
	{"nothing to nothing", pkts(zero+" "+zero+" refs/heads/x\x00"+caps) + "0000"},
	{"an error packet", pkts("ERR no") + "0000"},
	{"a length in upper case", "00 6C"},
	{"no end", strings.TrimSuffix(body("refs/heads/x", caps), "0000")},
	{"no bytes", ""},
	{"a pack behind a probe", "0000" + pack},
	{"a pack behind shallow lines alone", pkts("shallow "+oidX) + "0000" + pack},
	{"a second list behind deletes", pkts(oidX+" "+zero+" refs/heads/x\x00"+caps) + "0000" + body("refs/heads/main", caps)},
}

func TestReadRequestRefuses(t *testing.T) {
	for _, c := range refused {
		q, err := ReadRequest(strings.NewReader(c.in), Limits{})
		var wrong *RequestError
		if q != nil || !errors.As(err, &wrong) || wrong.TooLarge {
			t.Errorf("%s: ReadRequest = %+v, %v, want a RequestError", c.name, q, err)
		}
	}
}

// The client gets the objection for every ref, so the head is read.
func TestReadRequestObjects(t *testing.T) {
	for _, c := range []struct{ capabilities, want string }{
		{" report-status push-options", "push options"},
		{" report-status push-options=1", "push options"},
		{" report-status report-status", "twice"},
		{" report-status agent=a agent=a", "twice"},
		{" report-status x x=1", "twice"},
		{" report-status=1", "it must not have a value"},
		{" report-status atomic=", "it must not have a value"},
		{" report-status agent", "its value must have up to"},
		{" report-status agent=", "its value must have up to"},
		{" report-status agent=a=b", "without ="},
		{" report-status agent=" + strings.Repeat("x", 257), "its value must have up to"},
		{" report-status object-format", "it must be sha1 or sha256"},
		{" report-status object-format=SHA1", "it must be sha1 or sha256"},
	} {
		q := read(t, body("refs/heads/x", c.capabilities)+"0000"+pack)
		if !strings.Contains(q.Objection, c.want) || !q.CanReport() {
			t.Errorf("capabilities %q: objection %q (can report: %v), want %q", c.capabilities, q.Objection, q.CanReport(), c.want)
		}
	}
	// What follows the commands of a refused push is not read.
	read(t, pkts(oidX+" "+zero+" refs/heads/x\x00 report-status push-options")+"0000"+pkts("o")+"0000")
}

func TestLimits(t *testing.T) {
	many := func(n int) string {
		lines := make([]string, n)
		for i := range lines {
			lines[i] = oidX + " " + oidY + " refs/heads/" + fmt.Sprint(i)
		}
		lines[0] += "\x00" + caps
		return pkts(lines...) + "0000"
	}
	read(t, many(2000))
	long := strings.Repeat("x", 1024-len("refs/heads/"))
	read(t, body("refs/heads/"+long, " "+strings.Repeat("y", 4095)))
	for _, c := range []struct {
		name, in string
		limits   Limits
	}{
		{"2001 commands", many(2001), Limits{}},
		{"commands over a smaller limit", many(3), Limits{Commands: 2}},
		{"a head over the limit", strings.Repeat(pkts("shallow "+oidX+"\n"), 1<<20/53+1) + "0000", Limits{}},
		{"a head over a smaller limit", many(10), Limits{Head: 500}},
		{"capabilities over the limit", body("refs/heads/x", " "+strings.Repeat("y", 4096)), Limits{}},
		{"a line over the limit", pkts(strings.Repeat("x", 6000)) + "0000", Limits{}},
	} {
		q, err := ReadRequest(strings.NewReader(c.in), c.limits)
		var wrong *RequestError
		if q != nil || !errors.As(err, &wrong) || !wrong.TooLarge {
			t.Errorf("%s: ReadRequest = %v, %v, want an error of size", c.name, q, err)
		}
	}
}

// A gigabyte of head needs no more memory than the limit: the rest is not read.
func TestLimitOfTheHeadIsWhereReadingEnds(t *testing.T) {
	endless := &counted{from: &repeated{text: pkts("shallow " + oidX + "\n")}}
	if _, err := ReadRequest(endless, Limits{}); err == nil || endless.n > 1<<20 {
		t.Errorf("ReadRequest = %v after %d bytes, want an error within 1 MiB", err, endless.n)
	}
}

func TestReadRequestTellsTheConnectionFromTheBytes(t *testing.T) {
	gone := errors.New("connection reset")
	for _, at := range []string{"", "00", pkts("shallow " + oidX), "0000"} {
		_, err := ReadRequest(io.MultiReader(strings.NewReader(at), iotest.ErrReader(gone)), Limits{})
		var wrong *RequestError
		if !errors.Is(err, gone) || errors.As(err, &wrong) {
			t.Errorf("after %q: ReadRequest = %v, want the error of the connection", at, err)
		}
	}
}

func TestEncodeIsCanonical(t *testing.T) {
	in := pkts("shallow "+oidY, oidX+" "+oidY+" refs/heads/x\x00agent=a  object-format=sha1 quiet unknown report-status\n", oidX+" "+zero+" refs/heads/y\n") + "0000"
	want := pkts("shallow "+oidY+"\n", oidX+" "+oidY+" refs/heads/x\x00 report-status quiet object-format=sha1 agent=a", oidX+" "+zero+" refs/heads/y") + "0000"
	if got := string(read(t, in).encode()); got != want {
		t.Errorf("encode = %q, want %q", got, want)
	}
	checkCanonical(t, read(t, in))
}

// checkCanonical checks that an encoded request is read back unchanged, and encodes to
// the same bytes.
func checkCanonical(t testing.TB, q *Request) {
	t.Helper()
	first := q.encode()
	again := read(t, string(first))
	if !reflect.DeepEqual(again, q) {
		t.Errorf("read(encode(%+v)) = %+v", q, again)
	}
	if second := again.encode(); string(second) != string(first) {
		t.Errorf("encode(read(%q)) = %q", first, second)
	}
}

// repeated is an endless text.
type repeated struct {
	text string
	at   int
}

func (r *repeated) Read(p []byte) (int, error) {
	n := copy(p, r.text[r.at:])
	r.at = (r.at + n) % len(r.text)
	return n, nil
}

type counted struct {
	from io.Reader
	n    int
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	c.n += n
	return n, err
}
