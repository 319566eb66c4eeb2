package signer

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/test/testkey"
)

var digest = sha256.Sum256([]byte("header.claims"))

// kms is a KMS with a key whose current version can be changed.
type kms struct {
	t       *testing.T
	current string
	keys    map[string]*rsa.PrivateKey
	looks   int
}

func newKMS(t *testing.T, versions ...string) *kms {
	t.Helper()
	k := &kms{t: t, current: versions[0], keys: map[string]*rsa.PrivateKey{}}
	for i, v := range versions {
		k.keys[v] = testkey.RSA(2048, i)
	}
	return k
}

func (k *kms) look(context.Context, string) (*Versions, error) {
	k.looks++
	return One(k.current, &k.keys[k.current].PublicKey), nil
}

// ask signs with the current version, whichever was requested.
func (k *kms) ask(ctx context.Context, _ string, digest [sha256.Size]byte) ([]byte, string, error) {
	if _, ok := ctx.Deadline(); !ok {
		k.t.Error("the KMS is asked without a deadline")
	}
	signature, err := rsa.SignPKCS1v15(rand.Reader, k.keys[k.current], crypto.SHA256, digest[:])
	return signature, k.current, err
}

func (k *kms) key() *Key {
	return &Key{PublicKeys: k.look, SignWith: k.ask, Name: func(v string) string { return "the key app/" + v }, Check: "check the address"}
}

// A version that signs is read once.
func TestSign(t *testing.T) {
	k := newKMS(t, "1", "2")
	s := k.key()
	for _, c := range []struct {
		version string
		looks   int
	}{{"1", 1}, {"1", 1}, {"2", 2}, {"2", 2}} {
		k.current = c.version
		signature, err := s.Sign(t.Context(), digest)
		if err != nil || mint.CheckSignature(&k.keys[c.version].PublicKey, digest, signature) != nil || k.looks != c.looks {
			t.Errorf("Sign by version %s = %x, %v after %d looks, want a signature after %d", c.version, signature, err, k.looks, c.looks)
		}
	}
}

func TestPublicKey(t *testing.T) {
	for _, pinned := range []bool{false, true} {
		k := newKMS(t, "1", "2")
		s := k.key()
		s.Pinned = pinned
		want := "2"
		if pinned {
			want = "1"
		}
		if _, err := s.PublicKey(t.Context()); err != nil {
			t.Fatal(err)
		}
		k.current = "2"
		if key, err := s.PublicKey(t.Context()); err != nil || !key.Equal(&k.keys[want].PublicKey) {
			t.Errorf("PublicKey, pinned %v, is not that of version %s: %v", pinned, want, err)
		}
	}
}

func TestWrongSignatureIsRefused(t *testing.T) {
	k := newKMS(t, "1", "2")
	s := k.key()
	for _, by := range []string{"", "1", "unknown"} {
		s.SignWith = func(context.Context, string, [sha256.Size]byte) ([]byte, string, error) {
			signature, err := rsa.SignPKCS1v15(rand.Reader, k.keys["2"], crypto.SHA256, digest[:])
			return signature, by, err
		}
		const want = "sign with the key app/1: the signature does not fit the key and the signed data; check the address"
		if signature, err := s.Sign(t.Context(), digest); signature != nil || err == nil || err.Error() != want {
			t.Errorf("Sign by version %q = %x, %v, want %s", by, signature, err, want)
		}
	}
}

// checkCall makes a call whose attempts end in failures, and then in success.
func checkCall(t *testing.T, failures []error, calls, opened int, want string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		opens, closes, n := 0, 0, 0
		c := &Client[int]{
			Service: "The KMS", Host: "kms.example", Close: func(*int) { closes++ },
			Open: func(context.Context) (*int, error) { opens++; return new(int), nil },
		}
		explain := func(err error) *Problem { return New("explained: "+err.Error(), "mend it") }
		_, err := Call(t.Context(), c, "sign", explain, func(ctx context.Context, _ *int) (int, error) {
			if n++; n > len(failures) {
				return n, nil
			}
			if errors.Is(failures[n-1], context.DeadlineExceeded) {
				<-ctx.Done()
			}
			return 0, failures[n-1]
		})
		said := ""
		if err != nil {
			said = err.Error()
		}
		if said != want || n != calls || opens != opened || closes != opened-1 {
			t.Errorf("Call = %q after %d calls, %d clients opened and %d closed; want %q, %d, %d and %d", said, n, opens, closes, want, calls, opened, opened-1)
		}
	})
}

func TestCall(t *testing.T) {
	busy := Passing("busy", "wait", time.Millisecond)
	stale := &Problem{Why: "expired", Do: "log in", Stale: true, Again: true}
	checkCall(t, nil, 1, 1, "")
	checkCall(t, []error{busy, busy}, 3, 1, "")
	checkCall(t, []error{stale}, 2, 2, "")
	checkCall(t, []error{LateToken()}, 2, 2, "")
	checkCall(t, []error{context.DeadlineExceeded}, 2, 1, "")
	checkCall(t, []error{New("denied", "allow it")}, 1, 1, "sign: denied; allow it")
	checkCall(t, []error{errors.New("odd")}, 1, 1, "sign: explained: odd; mend it")
}

// When no time is left, the error says so; a deadline during the wait for an access
// token has an error of its own.
func TestCallThatIsCutShort(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		want string
	}{
		{"silence", context.DeadlineExceeded, "sign: The KMS did not answer in time; check that kms.example can be reached from here"},
		{"no token", LateToken(), "sign: the access token did not arrive in time; check that the server of the credentials"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				k := &Client[int]{Service: "The KMS", Host: "kms.example", Open: func(context.Context) (*int, error) { return new(int), nil }}
				_, err := Call(ctx, k, "sign", nil, func(ctx context.Context, _ *int) (int, error) {
					<-ctx.Done()
					return 0, c.err
				})
				if err == nil || !strings.HasPrefix(err.Error(), c.want) || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Call = %v, want %s", err, c.want)
				}
			})
		})
	}
}
