package advert

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/gatepass/gatepass/broker/gateway/pktline"
)

const oid = "1111111111111111111111111111111111111111"

func pkts(lines ...string) string {
	var to []byte
	for _, line := range lines {
		to = pktline.Append(to, line)
	}
	return string(to)
}

const pushService, fetchService = "# service=git-receive-pack\n", "# service=git-upload-pack\n"

// What GitHub advertises for a push, and everything that git supports.
const githubPush = "report-status report-status-v2 delete-refs side-band-64k ofs-delta atomic object-format=sha1 quiet agent=github/spokes-receive-pack-2eb1f1f session-id=a:b push-options push-cert=1700000000-0123 x-new"

func TestReceivePack(t *testing.T) {
	const kept = "report-status report-status-v2 delete-refs side-band-64k ofs-delta atomic object-format=sha1 quiet agent=github/spokes-receive-pack-2eb1f1f"
	rest := pkts(oid+" refs/heads/x\n") + "0000"
	for _, c := range []struct {
		name, in, want string
		deletes        bool
	}{
		{"GitHub", pkts(pushService) + "0000" + pkts(oid+" refs/heads/main\x00"+githubPush+"\n") + rest, pkts(pushService) + "0000" + pkts(oid+" refs/heads/main\x00"+kept+"\n"), true},
		{"no deletes", pkts(pushService) + "0000" + pkts(oid+" refs/heads/main\x00"+githubPush+"\n") + rest, pkts(pushService) + "0000" + pkts(oid+" refs/heads/main\x00"+strings.Replace(kept, "delete-refs ", "", 1)+"\n"), false},
		{"version 1", pkts(pushService) + "0000" + pkts("version 1\n", oid+" refs/heads/main\x00atomic push-options") + rest, pkts(pushService) + "0000" + pkts("version 1\n", oid+" refs/heads/main\x00atomic\n"), false},
		{"an empty repository", pkts(pushService) + "0000" + pkts(strings.Repeat("0", 40)+" capabilities^{}\x00 push-options\n") + rest, pkts(pushService) + "0000" + pkts(strings.Repeat("0", 40)+" capabilities^{}\x00\n"), false},
	} {
		in := iotest.OneByteReader(strings.NewReader(c.in))
		got, err := ReceivePack(in, c.deletes)
		if err != nil || string(got) != c.want {
			t.Errorf("%s: ReceivePack = %q, %v, want %q", c.name, got, err, c.want)
		}
		if left, _ := io.ReadAll(in); string(left) != rest {
			t.Errorf("%s: %q is left, want the other refs", c.name, left)
		}
	}
}

func TestUploadPack(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{
			"version 2", pkts(fetchService) + "0000" + pkts(
				"version 2\n", "agent=git/github-1\n", "ls-refs=unborn\n", "fetch=shallow wait-for-done filter packfile-uris new\n", "server-option\n",
				"object-format=sha1\n", "object-info\n", "bundle-uri\n", "session-id=a\n", "promisor-remote=name=x,url=https://evil.example\n", "x-new=y\n", "ls-refs-new\n",
			) + "0000",
			pkts(fetchService) + "0000" + pkts("version 2\n", "agent=git/github-1\n", "ls-refs=unborn\n", "fetch=shallow wait-for-done filter\n", "server-option\n", "object-format=sha1\n") + "0000",
		},
		{"version 2 without the service", pkts("version 2\n", "fetch=new\n", "ls-refs") + "0000", pkts("version 2\n", "fetch\n", "ls-refs\n") + "0000"},
		{
			"version 0", pkts(fetchService) + "0000" + pkts(oid+" HEAD\x00multi_ack thin-pack symref=HEAD:refs/heads/main filter session-id=x packfile-uris agent=git/1\n"),
			pkts(fetchService) + "0000" + pkts(oid+" HEAD\x00multi_ack thin-pack symref=HEAD:refs/heads/main filter agent=git/1\n"),
		},
		// An empty repository has no ref to carry the capabilities; without them it
		// could not be cloned.
		{"version 0 of an empty repository", pkts(fetchService) + "0000" + "0000", pkts(fetchService) + "0000" + "0000"},
		{"version 1 of an empty repository", pkts(fetchService) + "0000" + pkts("version 1\n") + "0000", pkts(fetchService) + "0000" + pkts("version 1\n") + "0000"},
	} {
		if got, err := UploadPack(strings.NewReader(c.in)); err != nil || string(got) != c.want {
			t.Errorf("%s: UploadPack = %q, %v, want %q", c.name, got, err, c.want)
		}
	}
}

func TestRefusesWhatIsNoAdvertisement(t *testing.T) {
	for _, c := range []struct{ name, in string }{
		{"nothing", ""},
		{"a page", "<html>"},
		{"an error of git", pkts("ERR no such repository")},
		{"another service", pkts("# service=git-upload-archive\n") + "0000"},
		{"no flush", pkts(pushService, oid+" HEAD\x00x")},
		{"a first ref without capabilities", pkts(pushService) + "0000" + pkts(oid+" HEAD")},
		{"a first ref with two NULs", pkts(pushService) + "0000" + pkts(oid+" HEAD\x00a\x00b")},
		{"no refs", pkts(pushService) + "0000" + "0000"},
		{"no service and no refs", "0000"},
		{"half of it", pkts(pushService) + "00"},
		{"version 2 of a push", pkts(pushService) + "0000" + pkts("version 2\n", "ls-refs\n") + "0000"},
		{"a list without end", pkts(fetchService) + "0000" + pkts("version 2\n") + strings.Repeat(pkts("x\n"), 100)},
		{"a list with a delimiter", pkts(fetchService) + "0000" + pkts("version 2\n") + "0001"},
		{"a line with no room for a line break", pkts(fetchService) + "0000" + pkts(oid+" HEAD\x00"+strings.Repeat("x", pktline.MaxPayload-46))},
	} {
		service := UploadPack
		if strings.HasPrefix(c.in, pkts(pushService)) {
			service = func(r io.Reader) ([]byte, error) { return ReceivePack(r, true) }
		}
		if got, err := service(strings.NewReader(c.in)); !errors.Is(err, ErrUnknown) || got != nil {
			t.Errorf("%s: %q, %v, want ErrUnknown", c.name, got, err)
		}
	}
	gone := errors.New("connection reset")
	if _, err := UploadPack(iotest.ErrReader(gone)); !errors.Is(err, gone) || errors.Is(err, ErrUnknown) {
		t.Errorf("UploadPack = %v, want the error of the connection", err)
	}
}

// git's own servers, configured to advertise everything they support: bundle-uri since
// 2.40.
func TestWhatGitAdvertises(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("missing: git")
	}
	dir := filepath.Join(t.TempDir(), "r.git")
	run := func(env string, args ...string) []byte {
		cmd := exec.Command("git", args...)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", env)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("git %q: %v", args, err)
		}
		return out
	}
	run("", "init", "-q", "--bare", dir)
	for _, key := range []string{"uploadpack.advertiseBundleURIs", "transfer.advertiseObjectInfo", "transfer.advertiseSID", "receive.advertisePushOptions", "uploadpack.allowFilter"} {
		run("", "-C", dir, "config", key, "true")
	}
	run("", "-C", dir, "config", "receive.certNonceSeed", "x")
	run("", "-C", dir, "config", "uploadpack.blobPackfileUri", oid+" "+oid+" https://cdn.example/x")

	v2 := run("GIT_PROTOCOL=version=2", "upload-pack", "--http-backend-info-refs", dir)
	push := append([]byte(pkts(pushService)+"0000"), run("", "receive-pack", "--http-backend-info-refs", dir)...)
	for _, c := range []struct {
		name, leaves string
		in           []byte
		rewrite      func(io.Reader) ([]byte, error)
	}{
		{"upload-pack", "object-info packfile-uris session-id", v2, UploadPack},
		{"receive-pack", "push-options push-cert session-id", push, func(r io.Reader) ([]byte, error) { return ReceivePack(r, true) }},
	} {
		got, err := c.rewrite(bytes.NewReader(c.in))
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		for gone := range strings.FieldsSeq(c.leaves) {
			if bytes.Contains(got, []byte("bundle-uri")) || !bytes.Contains(c.in, []byte(gone)) || bytes.Contains(got, []byte(gone)) {
				t.Errorf("%s: %s: want it in %q and not in %q", c.name, gone, c.in, got)
			}
		}
	}
}

// Whatever a server sends, clients see known capabilities only.
func FuzzUploadPack(f *testing.F) {
	f.Add([]byte(pkts(fetchService) + "0000" + pkts("version 2\n", "fetch=shallow new\n", "bundle-uri\n") + "0000"))
	f.Add([]byte(pkts(fetchService) + "0000" + pkts("version 1", oid+" HEAD\x00filter new")))
	f.Fuzz(func(t *testing.T, in []byte) {
		got, err := UploadPack(bytes.NewReader(in))
		if err != nil {
			return
		}
		again, err := UploadPack(bytes.NewReader(got))
		if err != nil || !bytes.Equal(again, got) {
			t.Errorf("UploadPack(%q) = %q, and of that %q, %v", in, got, again, err)
		}
	})
}
