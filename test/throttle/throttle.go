// Package throttle refuses AWS calls as AWS does if an account makes too many. It runs
// in front of an emulator or a double, and counts the calls by operation:
//
//	emulator, err := throttle.To(emulatorURL)
//	proxy := throttle.New(emulator, throttle.ParameterStore)
//	server := httptest.NewServer(proxy)
//
// A refused call does not reach the emulator.
package throttle

import (
	"fmt"
	"hash/crc32"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A Limit is a token bucket that some operations share. It is full at first.
type Limit struct {
	Operations []string // as in "AmazonSSM.PutParameter", the header X-Amz-Target
	PerSecond  float64  // calls that refill per second
	Burst      float64  // calls in a full bucket; 0 means one second's
	Code       string   // error of a refused call; "" means ThrottlingException
}

// burst returns the size of the bucket: at least one call, because otherwise no call
// would pass.
func (l Limit) burst() float64 {
	if l.Burst > 0 {
		return l.Burst
	}
	return max(l.PerSecond, 1)
}

// A Proxy is an http.Handler that forwards calls within the limits. Calls of operations
// without a limit are forwarded and counted.
type Proxy struct {
	next   http.Handler
	limits map[string]*bucket // by operation

	mu     sync.Mutex // guards counts and the buckets' contents
	counts map[string]Count
}

// A bucket is the remaining part of a limit.
type bucket struct {
	Limit
	left float64
	at   time.Time // when left had that value
}

// A Count is how often an operation was called.
type Count struct {
	Passed  int // calls that were passed on
	Refused int // calls that were refused with a throttling error
}

// New returns a Proxy in front of next. If limits name an operation twice, the last one
// applies.
func New(next http.Handler, limits ...[]Limit) *Proxy {
	p := &Proxy{next: next, limits: map[string]*bucket{}, counts: map[string]Count{}}
	for _, some := range limits {
		for _, limit := range some {
			b := &bucket{Limit: limit, left: limit.burst(), at: time.Now()}
			for _, operation := range limit.Operations {
				p.limits[operation] = b
			}
		}
	}
	return p
}

// To returns a handler that forwards calls to the server at that address, for New. It
// preserves the Host header, which is signed.
func To(address string) (http.Handler, error) {
	to, err := url.Parse(address)
	if err != nil || to.Host == "" {
		return nil, fmt.Errorf("%q is not a server's address", address)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = nil
	transport.MaxIdleConnsPerHost = 64
	return &httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Host = r.In.Host
	}}, nil
}

// ServeHTTP implements http.Handler.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	operation := r.Header.Get("X-Amz-Target")
	if code := p.take(operation); code != "" {
		refuse(w, operation, code)
		return
	}
	p.next.ServeHTTP(w, r)
}

// take counts a call. It returns the error code if the call is refused, or "".
func (p *Proxy) take(operation string) (code string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	count := p.counts[operation]
	defer func() { p.counts[operation] = count }()
	if b := p.limits[operation]; b != nil && !b.take(time.Now()) {
		count.Refused++
		if b.Code != "" {
			return b.Code
		}
		return "ThrottlingException"
	}
	count.Passed++
	return ""
}

// take takes one call out of the bucket, and reports whether there was one.
func (b *bucket) take(now time.Time) bool {
	b.left = min(b.burst(), b.left+now.Sub(b.at).Seconds()*b.PerSecond)
	b.at = now
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}

// Counts returns the calls so far by operation, without the service's name.
func (p *Proxy) Counts() map[string]Count {
	p.mu.Lock()
	defer p.mu.Unlock()
	counts := map[string]Count{}
	for operation, c := range p.counts {
		name := operation[strings.LastIndexByte(operation, '.')+1:]
		sum := counts[name]
		counts[name] = Count{Passed: sum.Passed + c.Passed, Refused: sum.Refused + c.Refused}
	}
	return counts
}

// Total returns the sum of Counts.
func (p *Proxy) Total() (total Count) {
	for _, c := range p.Counts() {
		total.Passed += c.Passed
		total.Refused += c.Refused
	}
	return total
}

// Reset sets the counts to zero. The buckets stay as they are.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.counts)
}

// refuse answers as the service does: in its version of JSON, and for DynamoDB with the
// namespace of its errors and a checksum that clients verify.
func refuse(w http.ResponseWriter, operation, code string) {
	version, kind := "1.1", code
	if strings.HasPrefix(operation, "DynamoDB_") {
		version = "1.0"
		kind = "com.amazonaws.dynamodb.v20120810#" + code
		if code == "ThrottlingException" {
			kind = "com.amazon.coral.availability#" + code
		}
	}
	body := fmt.Sprintf("{%q:%q,%q:%q}", "__type", kind, "message", messages[code])
	header := w.Header()
	header.Set("Content-Type", "application/x-amz-json-"+version)
	header.Set("X-Amzn-Requestid", "00000000-0000-4000-8000-000000000000")
	if version == "1.0" {
		header.Set("X-Amz-Crc32", strconv.FormatUint(uint64(crc32.ChecksumIEEE([]byte(body))), 10))
	}
	w.WriteHeader(http.StatusBadRequest)
	_, _ = w.Write([]byte(body))
}

// messages are AWS's messages by code.
var messages = map[string]string{
	"ThrottlingException":                    "Rate exceeded",
	"ProvisionedThroughputExceededException": "The level of configured provisioned throughput for the table was exceeded. Consider increasing your provisioning level with the UpdateTable API.",
	"RequestLimitExceeded":                   "Throughput exceeds the current throughput limit for your account. Please contact AWS Support at https://aws.amazon.com/support request a limit increase.",
}
