package push

import (
	"bytes"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
)

// Heads as git's own server parses them. This package must be stricter.

// TestWhatGitLetsThrough shows what each refusal is for: git moves a ref that another
// reading of the same bytes does not name, or accepts a malformed end.
func TestWhatGitLetsThrough(t *testing.T) {
	t.Parallel()
	s := newScratch(t)
	first := commitA + " " + commitB + " refs/heads/agent/x\x00 report-status"
	onMain := commitA + " " + commitB + " refs/heads/main"
	for _, c := range []struct {
		name, head, moved string
	}{
		{"a NUL in a later command", pkts(first, onMain+"\x00/agent") + "0000", "refs/heads/agent/x refs/heads/main"},
		{"a line break in a ref", pkts(onMain+"\nrefs/heads/agent/x\x00 report-status") + "0000", ""},
		{"0001 as the end", pkts(first) + "0001", "refs/heads/agent/x"},
		{"0002 as the end", pkts(first) + "0002", "refs/heads/agent/x"},
		{"a certificate", pkts("push-cert\x00 report-status", "certificate version 0.1\n", "pusher x\n", "\n", onMain+"\n", "push-cert-end\n") + "0000", "refs/heads/main"},
		{"capabilities on a later command", pkts(first, onMain+"\x00 atomic") + "0000", "refs/heads/agent/x refs/heads/main"},
		{"no capabilities at all", pkts(onMain) + "0000", "refs/heads/main"},
		{"a length in upper case", "007A" + pkts(first + "   ")[4:] + "0000", "refs/heads/agent/x"},
		{"ids in upper case", pkts(strings.ToUpper(commitA)+" "+strings.ToUpper(commitB)+" refs/heads/main\x00 report-status") + "0000", "refs/heads/main"},
		{"push options behind a tab", pkts(commitA+" "+commitB+" refs/heads/main\x00 report-status\tpush-options") + "0000" + pkts("o") + "0000", "refs/heads/main"},
		{"push options with a value", pkts(commitA+" "+commitB+" refs/heads/main\x00 report-status push-options=1") + "0000" + pkts("o") + "0000", "refs/heads/main"},
		{"a space behind the ref", pkts(onMain+" \x00 report-status") + "0000", ""},
		{"more behind a delete", pkts(commitA+" "+zero+" refs/heads/main\x00 report-status") + "0000" + "junk", "refs/heads/main"},
	} {
		body := []byte(c.head + emptyPack)
		_, moved := s.receive(t, body)
		if got := strings.Join(sorted(moved), " "); got != c.moved {
			t.Errorf("%s: git moves %q, want %q", c.name, got, c.moved)
		}
		q, err := ReadRequest(bytes.NewReader(body), Limits{})
		if err == nil && q.Objection == "" {
			t.Errorf("%s: ReadRequest = %+v, want a refusal", c.name, q)
		}
	}
}

// pushes are bodies that git accepts; those with a mark move what they name.
var pushes = []string{
	pkts(commitA+" "+commitB+" refs/heads/agent/x\x00 report-status") + "0000" + emptyPack,
	pkts(commitA+" "+commitC+" refs/heads/agent/x\x00 report-status-v2 side-band-64k quiet object-format=sha1 agent=git/2.39.5", zero+" "+commitB+" refs/heads/new", commitA+" "+zero+" refs/tags/v1") + "0000" + emptyPack,
	pkts(commitA+" "+zero+" refs/heads/main\x00 report-status delete-refs") + "0000",
	pkts("shallow "+commitA+"\n", commitA+" "+commitB+" refs/heads/main\x00 report-status atomic") + "0000" + emptyPack,
	pkts(commitA+" "+commitB+" refs/heads/agent/x\x00report-status agent=go-git/5.x\n") + "0000" + emptyPack,
	pkts(commitB+" "+commitC+" refs/heads/agent/x\x00 report-status") + "0000" + emptyPack, // not the current object
	pkts(zero+" "+oidX+" refs/heads/agent/y\x00 report-status") + "0000" + emptyPack,       // an object that does not exist
	"0000",
}

func TestGitMovesWhatWasRead(t *testing.T) {
	t.Parallel()
	s := newScratch(t)
	for i, body := range pushes {
		checkMoves(t, s, []byte(body))
		if q := read(t, body); !q.IsProbe() && i < 5 {
			if _, moved := s.receive(t, []byte(body)); len(moved) != len(q.Commands) {
				t.Errorf("git moves %q for %.200q, want all of its refs", sorted(moved), body)
			}
		}
	}
	for _, c := range refused {
		checkMoves(t, s, []byte(c.in+emptyPack))
	}
}

// checkMoves checks, for an accepted body, that git's server moves a ref only to where
// a command that was read moves it, both with the original body and with the rewritten
// head, and does the same for both. It reports whether the body was accepted.
func checkMoves(t *testing.T, s *scratch, body []byte) (accepted bool) {
	t.Helper()
	in := bytes.NewReader(body)
	q, err := ReadRequest(in, Limits{})
	if err != nil || q.Objection != "" {
		return false
	}
	rest := body[len(body)-in.Len():]
	_, original := s.receive(t, body)
	_, rewritten := s.receive(t, append(q.encode(), rest...))
	if !maps.Equal(original, rewritten) {
		t.Errorf("for %.300q git moves %q, and %q for what is forwarded", body, original, rewritten)
	}
	for ref, oid := range rewritten {
		if !slices.ContainsFunc(q.Commands, func(c Command) bool { return c.Ref == ref && c.New == oid }) {
			t.Errorf("git moves %s to %s, which no command of %+v says; body %.300q", ref, oid, q, body)
		}
	}
	checkFence(t, q, rewritten)
	return true
}

// A lenient parses a head as receive-pack of git 2.39 does, in its order.
type lenient struct {
	commands []Command
	died     bool
}

// readAsGit is read_head_info of builtin/receive-pack.c, without certificates.
func readAsGit(in string) lenient {
	var l lenient
	for {
		line, special, ok := gitPacket(&in)
		if !ok {
			return lenient{died: true}
		}
		if special {
			return l // flush, delimiter and response end alike
		}
		text, _, _ := strings.Cut(line, "\x00")
		if strings.HasPrefix(line, "shallow ") {
			if len(text) < 8+40 || strings.Trim(strings.ToLower(text[8:48]), "0123456789abcdef") != "" {
				return lenient{died: true}
			}
			continue
		}
		c, ok := gitCommand(text)
		if !ok {
			return lenient{died: true}
		}
		l.commands = append(l.commands, c)
	}
}

// gitPacket reads a packet like packet_read: digits of any case, 65,520 bytes and more.
func gitPacket(in *string) (line string, special, ok bool) {
	if len(*in) < 4 {
		return "", false, false
	}
	n, err := strconv.ParseUint((*in)[:4], 16, 16)
	switch {
	case err != nil || n == 3 || n > 4 && int(n) > len(*in):
		return "", false, false
	case n < 3:
		*in = (*in)[4:]
		return "", true, true
	}
	line, *in = (*in)[4:n], (*in)[n:]
	return strings.TrimSuffix(line, "\n"), false, true
}

// gitCommand is queue_command.
func gitCommand(text string) (Command, bool) {
	if len(text) < 82 || text[40] != ' ' || text[81] != ' ' {
		return Command{}, false
	}
	c := Command{Old: strings.ToLower(text[:40]), New: strings.ToLower(text[41:81]), Ref: text[82:]}
	return c, isOID(c.Old) && isOID(c.New)
}

var githubCommand = regexp.MustCompile(`^([0-9a-f]{40,64}) ([0-9a-f]{40,64}) (.+)`)

// readAsGitHub parses like GitHub's receive-pack (spokes-receive-pack 2eb1f1f): the
// first NUL of any line begins the capabilities, an id may have any length from 40 to
// 64, and a ref ends at a line break.
func readAsGitHub(in string) (commands []Command, ok bool) {
	hasCapabilities := false
	for {
		if len(in) < 4 {
			return nil, false
		}
		n, err := strconv.ParseUint(in[:4], 16, 16)
		if err != nil || int(n) > len(in) {
			return nil, false
		}
		if in[:4] == "0000" {
			return commands, true
		}
		line := in[4:max(4, n)]
		in = in[max(4, n):]
		if before, capabilities, has := strings.Cut(line, "\x00"); has && !hasCapabilities {
			line, hasCapabilities = before, true
			for name := range strings.SplitSeq(capabilities, " ") {
				if strings.Count(name, "=") > 1 {
					return nil, false
				}
			}
		}
		if strings.HasPrefix(line, "shallow") {
			if strings.Count(line, " ") != 1 {
				return nil, false
			}
			continue
		}
		m := githubCommand.FindStringSubmatch(line)
		if m == nil {
			return nil, false
		}
		commands = append(commands, Command{m[1], m[2], m[3]})
	}
}

// TestWhatGitHubLetsThrough shows heads that GitHub reads differently from git.
func TestWhatGitHubLetsThrough(t *testing.T) {
	for name, want := range map[string]string{
		"a NUL in a later command": "refs/heads/agent/x refs/heads/main\x00/agent",
		"a line break in a ref":    "refs/heads/main",
		"ids of 50 digits":         "refs/heads/x",
		"a space behind the ref":   "refs/heads/x ",
		"a CR behind the ref":      "refs/heads/x\r",
	} {
		i := slices.IndexFunc(refused, func(c struct{ name, in string }) bool { return c.name == name })
		commands, ok := readAsGitHub(refused[i].in)
		var got []string
		for _, c := range commands {
			got = append(got, c.Ref)
		}
		if !ok || strings.Join(got, " ") != want {
			t.Errorf("%s: GitHub reads %q, %v, want %q", name, got, ok, want)
		}
	}
}

// The model of git's parser is checked against git's server, independently of this
// package.
func TestTheModelReadsAsGitDoes(t *testing.T) {
	t.Parallel()
	s := newScratch(t)
	for _, head := range []string{
		pkts(commitA+" "+commitB+" refs/heads/agent/x\x00 report-status", commitA+" "+commitB+" refs/heads/main\x00/agent") + "0000",
		pkts(commitA+" "+commitB+" refs/heads/agent/x", "shallow "+commitA, strings.ToUpper(commitA)+" "+zero+" refs/tags/v1\n") + "0002",
	} {
		_, moved := s.receive(t, []byte(head+emptyPack))
		want := map[string]string{}
		for _, c := range readAsGit(head + emptyPack).commands {
			want[c.Ref] = c.New
		}
		if !maps.Equal(moved, want) {
			t.Errorf("git moves %q for %q, the model reads %q", moved, head, want)
		}
	}
}

// checkReadings checks that all parsers read the same commands in an accepted head:
// this package, git, GitHub, and go-git if it can read it.
func checkReadings(t testing.TB, body []byte) {
	t.Helper()
	in := bytes.NewReader(body)
	q, err := ReadRequest(in, Limits{})
	if err != nil || q.Objection != "" {
		return
	}
	checkCanonical(t, q)
	if q.Capabilities.oidLength() == 40 {
		if git := readAsGit(string(body)); git.died || !slices.Equal(git.commands, q.Commands) {
			t.Errorf("git reads %+v in %.300q, ReadRequest %+v", git, body, q.Commands)
		}
	}
	if again := readAsGit(string(q.encode())); q.Capabilities.oidLength() == 40 && !slices.Equal(again.commands, q.Commands) {
		t.Errorf("git reads %+v in what is written for %+v", again, q.Commands)
	}
	if github, ok := readAsGitHub(string(body)); ok && !slices.Equal(github, q.Commands) {
		t.Errorf("GitHub reads %+v in %.300q, ReadRequest %+v", github, body, q.Commands)
	}
	if github, ok := readAsGitHub(string(q.encode())); !ok || !slices.Equal(github, q.Commands) {
		t.Errorf("GitHub reads %+v in what is written for %+v", github, q.Commands)
	}
	theirs := packp.NewReferenceUpdateRequest()
	if q.IsProbe() || theirs.Decode(bytes.NewReader(q.encode())) != nil {
		return // go-git reads no probes, no two shallow lines, and no SHA-256
	}
	for i, c := range theirs.Commands {
		if got := (Command{c.Old.String(), c.New.String(), c.Name.String()}); i >= len(q.Commands) || got != q.Commands[i] {
			t.Errorf("go-git reads %+v in %.300q, ReadRequest %+v", got, body, q.Commands)
		}
	}
}

func seeds(f *testing.F) {
	for _, body := range pushes {
		f.Add([]byte(body))
	}
	for _, c := range refused {
		f.Add([]byte(c.in))
	}
	f.Add([]byte(pkts("shallow "+oid64, zero64+" "+oid64+" refs/heads/x\x00 report-status object-format=sha256") + "0000"))
}

// FuzzReadings is fast, because it starts no process.
func FuzzReadings(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, body []byte) { checkReadings(t, body) })
}

// FuzzReadingsOfLines does the same with lines that it puts into packets, so that the
// fuzzer changes what the lines say.
func FuzzReadingsOfLines(f *testing.F) {
	lineSeeds(f)
	f.Fuzz(func(t *testing.T, lines string) { checkReadings(t, []byte(fromLines(lines))) })
}

// FuzzMoves gives accepted bodies to git's own server, and the same with a rewritten
// head.
func FuzzMoves(f *testing.F) {
	lineSeeds(f)
	s := newScratch(f)
	f.Fuzz(func(t *testing.T, lines string) { checkMoves(t, s, []byte(fromLines(lines))) })
}

// fromLines makes a body from lines that end with "|". Each becomes a packet, except
// those that begin with "!", which are copied unchanged. A, B, C and Z in ids mean the
// commits.
func fromLines(lines string) string {
	ids := strings.NewReplacer("<A>", commitA, "<B>", commitB, "<C>", commitC, "<Z>", zero, "<P>", emptyPack, "<N>", "\x00")
	var body strings.Builder
	for line := range strings.SplitSeq(lines, "|") {
		line = ids.Replace(line)
		switch raw, isRaw := strings.CutPrefix(line, "!"); {
		case isRaw:
			body.WriteString(raw)
		case len(line) < 65000:
			body.WriteString(pkts(line))
		}
	}
	return body.String()
}

func lineSeeds(f *testing.F) {
	for _, lines := range []string{
		"<A> <B> refs/heads/agent/x<N> report-status|!0000<P>",
		"<A> <B> refs/heads/agent/x<N> report-status|<A> <B> refs/heads/main<N>/agent|!0000<P>",
		"<A> <B> refs/heads/main\nrefs/heads/agent/x<N> report-status|!0000<P>",
		"shallow <A>\n|<A> <C> refs/heads/main<N> report-status-v2 side-band-64k atomic object-format=sha1|<A> <Z> refs/tags/v1|!0000<P>",
		"<A> <Z> refs/heads/main<N>report-status|!0000",
		"<Z> <B> refs/heads/new<N> report-status quiet|<Z> <C> refs/heads/new/x|!0001<P>",
		"<A> <B> refs/heads/agent/x<N> report-status push-options|!0000|o|!0000<P>",
		"push-cert<N> report-status|certificate version 0.1\n|\n|<A> <B> refs/heads/main\n|push-cert-end\n|!0000<P>",
		"shallow <A>|!0000", "!0000", "|!0000<P>",
	} {
		f.Add(lines)
	}
}
