package agent

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

func TestSum256IsSHA256(t *testing.T) {
	data := bytes.Repeat([]byte("gatepass\xff\x00"), 1000)
	for n := range 300 {
		if got, want := sum256(data[:n]), sha256.Sum256(data[:n]); got != want {
			t.Fatalf("sum256 of %d bytes = %x, want %x", n, got, want)
		}
	}
	if got, want := sum256(data), sha256.Sum256(data); got != want {
		t.Errorf("sum256 = %x, want %x", got, want)
	}
}

func located(t *testing.T, config string, values map[string]string) Place {
	t.Helper()
	p, err := Locate(config, env(values))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Otherwise two jobs of one user with different identities would get the identity of
// the one that asked first (vscode-remote-release#2763 is this mistake with another
// agent).
func TestEveryVariableMakesAnotherAgent(t *testing.T) {
	base := map[string]string{"XDG_RUNTIME_DIR": short(t), "GATEPASS_AGENT_IDLE": "1s"}
	seen := map[string]string{located(t, "/x", base).Identity: "nothing set"}
	for _, name := range Variables(readsAll) {
		for _, value := range []string{"a", "b"} {
			values := maps.Clone(base)
			values[name] = value
			p := located(t, "/x", values)
			if before, ok := seen[p.Identity]; ok {
				t.Errorf("%s=%s has the agent of %s", name, value, before)
			}
			seen[p.Identity] = name + "=" + value
			if again := located(t, "/x", values); again != p {
				t.Errorf("%s=%s has two agents, %+v and %+v", name, value, p, again)
			}
			if p.Socket != p.Directory+"/"+p.Identity[:nameLength]+".sock" {
				t.Errorf("%s=%s: socket %s, identity %s", name, value, p.Socket, p.Identity)
			}
		}
	}
	other := maps.Clone(base)
	other["EDITOR"] = "vi"
	if got, want := located(t, "/x", other), located(t, "/x", base); got != want {
		t.Errorf("a variable that no source reads makes another agent: %+v, want %+v", got, want)
	}
	one := maps.Clone(base)
	one["VAULT_ADDR"], one["VAULT_TOKEN"] = "ab", "c"
	two := maps.Clone(base)
	two["VAULT_ADDR"], two["VAULT_TOKEN"] = "a", "bc"
	if located(t, "/x", one) == located(t, "/x", two) {
		t.Error("values that run together have one agent")
	}
}

// All users can read the names of sockets in /proc/net/unix: the name must not confirm
// a guess at a password in HTTPS_PROXY.
func TestIdentityIsKeyed(t *testing.T) {
	values := func(run string) map[string]string {
		return map[string]string{"XDG_RUNTIME_DIR": run, "HTTPS_PROXY": "http://me:secret@proxy"}
	}
	first, second := located(t, "/x", values(short(t))), located(t, "/x", values(short(t)))
	if first.Identity == second.Identity {
		t.Errorf("two directories give the same identity %s, want a key of each", first.Identity)
	}
	info, err := os.Stat(first.Directory + "/key")
	if err != nil || info.Mode().Perm() != 0o600 || info.Size() != keySize {
		t.Errorf("key = %v, %v, want %d bytes for the owner alone", info, err, keySize)
	}
	if left, _ := filepath.Glob(first.Directory + "/key.*"); left != nil {
		t.Errorf("%q is left behind", left)
	}
}

func TestThoseWhoStartTogetherMakeOneKey(t *testing.T) {
	values := map[string]string{"XDG_RUNTIME_DIR": short(t)}
	var mu sync.Mutex // guards seen
	seen := map[Place]bool{}
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			p, err := Locate("/x", env(values))
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			seen[p] = true
		})
	}
	wg.Wait()
	if len(seen) != 1 {
		t.Errorf("%d places, want one", len(seen))
	}
}

// A full disk can leave an empty file.
func TestAKeyThatIsNoneIsReplaced(t *testing.T) {
	values := map[string]string{"XDG_RUNTIME_DIR": short(t)}
	before := located(t, "/x", values)
	for _, bad := range []string{"", "short", strings.Repeat("x", keySize+1)} {
		if err := os.WriteFile(before.Directory+"/key", []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if after := located(t, "/x", values); after == before || after != located(t, "/x", values) {
			t.Errorf("after a key %q: %+v, want another place that stays", bad, after)
		}
	}
}

// If nothing can be written, no agent runs, and the call is still answered.
func TestWithoutAKeyThereIsNoPlace(t *testing.T) {
	run, tmp := short(t), short(t)
	p := located(t, "/x", map[string]string{"XDG_RUNTIME_DIR": run})
	if err := os.Remove(p.Directory + "/key"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(p.Directory+"/key", 0o700); err != nil { // stops even root
		t.Fatal(err)
	}
	other := located(t, "/x", map[string]string{"XDG_RUNTIME_DIR": run, "TMPDIR": tmp})
	if !strings.HasPrefix(other.Directory, tmp) {
		t.Errorf("Locate = %+v, want it below %s", other, tmp)
	}
}

func TestSocketsListsAllOfAUser(t *testing.T) {
	run, tmp := short(t), short(t)
	getenv := env(map[string]string{"XDG_RUNTIME_DIR": run, "TMPDIR": tmp})
	if got := below(Sockets(getenv), run, tmp); got != nil {
		t.Errorf("Sockets = %q, want none", got)
	}
	if _, err := os.Stat(run + "/gatepass"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Sockets made a directory: %v", err)
	}
	var want []string
	for _, values := range []map[string]string{
		{"XDG_RUNTIME_DIR": run}, {"XDG_RUNTIME_DIR": run, "VAULT_TOKEN": "x"}, {"TMPDIR": tmp},
	} {
		p := located(t, "/x", values)
		want = append(want, p.Socket)
		for _, file := range []string{p.Socket, p.Lock, p.Start} {
			if err := os.WriteFile(file, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	got := below(Sockets(getenv), run, tmp)
	if len(got) != len(want) {
		t.Errorf("Sockets = %q, want %q", got, want)
	}
	for _, socket := range want {
		if !strings.Contains(strings.Join(got, " "), socket) {
			t.Errorf("Sockets = %q, want %s among them", got, socket)
		}
	}
}

// below leaves out the sockets of other programs in /tmp of this machine.
func below(sockets []string, dirs ...string) (list []string) {
	for _, socket := range sockets {
		for _, dir := range dirs {
			if strings.HasPrefix(socket, dir+"/") {
				list = append(list, socket)
			}
		}
	}
	return list
}

// Some NFS, 9p and gVisor have no flock(2): then the child answers.
func TestAskWhereThereAreNoLocks(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.ENOLCK, syscall.EOPNOTSUPP, syscall.ENOSYS, syscall.EINVAL} {
		t.Run(errno.Error(), func(t *testing.T) {
			flock = func(int, int) error { return errno }
			t.Cleanup(func() { flock = syscall.Flock })
			wantChildsAnswer(t, short(t))
		})
	}
}

// The helper does not know the source. For the variables that the source reads it uses
// what the agent reported last.
func TestTheAgentSaysWhichVariablesMatter(t *testing.T) {
	run := short(t)
	mine := map[string]string{"XDG_RUNTIME_DIR": run, "VAULT_TOKEN": "one", "AWS_PROFILE": "one"}
	other := map[string]string{"XDG_RUNTIME_DIR": run, "VAULT_TOKEN": "one", "AWS_PROFILE": "two"}
	if located(t, "/x", mine) == located(t, "/x", other) {
		t.Error("before an agent has said anything, one place for two environments")
	}
	p, err := LocateFor("/x", ReadsVault, env(mine))
	if err != nil || p.Reads != ReadsVault || p != located(t, "/x", mine) || p != located(t, "/x", other) {
		t.Errorf("Settle = %+v, %v, want one place for all with the same Vault token", p, err)
	}
	if p, err := LocateFor("/x", "", env(mine)); err != nil || p.Reads != "" || p != located(t, "/x", map[string]string{"XDG_RUNTIME_DIR": run}) {
		t.Errorf("Settle = %+v, %v, want one place for all", p, err)
	}
	if located(t, "/y", mine) == located(t, "/y", other) {
		t.Error("what one workspace file reads is taken for another")
	}
	if left, _ := filepath.Glob(run + "/gatepass/*.reads.*"); left != nil {
		t.Errorf("%q is left behind", left)
	}
}

func TestThoseWhoStartTogetherLeaveOneHint(t *testing.T) {
	directory := short(t)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if err := Hint(directory, "/x", ReadsVault); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := hinted(directory, "/x"); got != ReadsVault {
		t.Errorf("hinted = %q, want %q", got, ReadsVault)
	}
	if left, _ := filepath.Glob(directory + "/*.reads.*"); left != nil {
		t.Errorf("%q are left behind", left)
	}
}
