package agent

import (
	"reflect"
	"testing"
	"time"
)

func TestCallComesBackAsItWas(t *testing.T) {
	c := Call{Operation: Get, Config: "/etc/a file.yaml", Timeout: 1500 * time.Millisecond, Asker: 7, Identity: "0a1b", Payload: []byte("a=b\n\n")}
	wire := AppendCall(nil, c)
	for n := range len(wire) {
		if _, whole, err := ParseCall(wire[:n]); whole || err != nil {
			t.Fatalf("ParseCall of the first %d bytes = whole %v, %v, want neither", n, whole, err)
		}
	}
	got, whole, err := ParseCall(wire)
	if err != nil || !whole || !reflect.DeepEqual(got, c) {
		t.Errorf("ParseCall = %+v, %v, %v, want %+v", got, whole, err, c)
	}
}

// GATEPASS_TIMEOUT may be any duration.
func TestALongTimeoutIsCutAndUnderstood(t *testing.T) {
	for _, wait := range []time.Duration{time.Hour, 1000 * time.Hour, 1 << 62} {
		got, whole, err := ParseCall(AppendCall(nil, Call{Operation: Get, Config: "/x", Timeout: wait}))
		if want := min(wait, 24*24*time.Hour); err != nil || !whole || got.Timeout < want {
			t.Errorf("ParseCall of a timeout of %v = %v, %v, want at least %v", wait, got.Timeout, err, want)
		}
	}
}

func TestReplyComesBackAsItWas(t *testing.T) {
	r := Reply{Exit: 1, Stdout: []byte("out\n"), Stderr: []byte("err\n")}
	wire := AppendReply(nil, r)
	for n := range len(wire) {
		if _, whole, err := ParseReply(wire[:n]); whole || err != nil {
			t.Fatalf("ParseReply of the first %d bytes = whole %v, %v, want neither", n, whole, err)
		}
	}
	if got, whole, err := ParseReply(wire); err != nil || !whole || !reflect.DeepEqual(got, r) {
		t.Errorf("ParseReply = %+v, %v, %v, want %+v", got, whole, err, r)
	}
}

func FuzzParseCall(f *testing.F) {
	f.Add([]byte("gatepass/2 get 100 0 3 abc /x\nabc"))
	f.Add([]byte("gatepass/2 get -1 0 3 - /x\nabc"))
	f.Add([]byte("gatepass/3 get 1 0 0 - /x\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, whole, err := ParseCall(data)
		if err == nil && whole && (c.Config[0] != '/' || c.Timeout < 0 || len(c.Payload) > MaxMessage) {
			t.Errorf("ParseCall(%q) = %+v", data, c)
		}
	})
}

func FuzzParseReply(f *testing.F) {
	f.Add([]byte("gatepass/2 0 3 0\nabc"))
	f.Add([]byte("gatepass/2 0 2147483647 2147483647\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, whole, err := ParseReply(data)
		if err == nil && whole && (r.Exit < 0 || r.Exit > 127 || len(r.Stdout)+len(r.Stderr) > len(data)) {
			t.Errorf("ParseReply(%q) = %+v", data, r)
		}
	})
}
