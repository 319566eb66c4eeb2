package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/gatepass/gatepass/internal/usererr"
)

// A Call describes one call of workspaces whose body is JSON: [TokenCall],
// [ExchangeCall], [SessionCall] or [RefusedPushCall].
type Call[T any] struct {
	MaxSize int64  // bytes of a request's body
	usage   string // the error for a client that uses another method
	decode  func([]byte) (T, error)
}

// The calls of workspaces.
var (
	TokenCall       = Call[TokenRequest]{MaxRequest, "ask for a token with POST", DecodeRequest}
	ExchangeCall    = Call[ExchangeRequest]{MaxRequest, "ask for a session with POST", DecodeExchange}
	SessionCall     = Call[SessionRequest]{MaxRequest, "ask for a gateway session with POST", DecodeSessionRequest}
	RefusedPushCall = Call[RefusedPush]{MaxRefusedPush, "report a refused push with POST", DecodeRefusedPush}
)

// Read reads the request from r. Its error is a [Problem] with the status to answer.
func (c Call[T]) Read(w http.ResponseWriter, r *http.Request) (T, error) {
	var none T
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return none, NewProblem(http.StatusMethodNotAllowed, c.usage)
	}
	if !isMedia(r.Header.Get("Content-Type"), MediaType) {
		return none, NewProblem(http.StatusUnsupportedMediaType, "the request's Content-Type must be "+MediaType)
	}
	if coding := r.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return none, NewProblem(http.StatusUnsupportedMediaType, "the request has a Content-Encoding; send it without one")
	}
	body, err := ReadBody(w, r, c.MaxSize)
	if err != nil {
		return none, err
	}
	request, err := c.decode(body)
	if err != nil {
		return none, NewProblem(http.StatusBadRequest, err.Error())
	}
	return request, nil
}

// ReadBody reads the body of r, up to limit bytes. Its error is a [Problem] with the
// status to answer.
func ReadBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	tooLarge := NewProblem(http.StatusRequestEntityTooLarge, fmt.Sprintf("the request is over %d bytes", limit))
	if r.ContentLength > limit {
		return nil, tooLarge // refused before its body is read
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err == nil {
		return body, nil
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, tooLarge
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, NewProblem(http.StatusRequestTimeout, "the request arrived too slowly")
	}
	return nil, NewProblem(http.StatusBadRequest, "the request ended early")
}

// Bearer returns the bearer token of r, and "" if r has none or more than one.
func Bearer(r *http.Request) string {
	values := r.Header.Values("Authorization")
	if len(values) != 1 {
		return ""
	}
	scheme, identity, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimLeft(identity, " ")
}

// AttemptHeader carries the key of one attempt to renew a session. A client that got no
// answer retries with the same key; each new renewal has a new key. So the broker can
// tell a retry from another holder of the same session.
const AttemptHeader = "Idempotency-Key"

const maxAttemptKey = 64

// AttemptKey returns the attempt key of r. It returns "" unless the key is 1 to 64
// letters, digits, dots, hyphens and underscores.
func AttemptKey(r *http.Request) string {
	values := r.Header.Values(AttemptHeader)
	if len(values) != 1 || !isPlain(values[0], maxAttemptKey) {
		return ""
	}
	return values[0]
}

// WriteAnswer answers 200 with a, and forbids caches to store it.
func WriteAnswer(w http.ResponseWriter, a TokenAnswer) error {
	body, err := EncodeAnswer(a)
	if err != nil {
		return err
	}
	return write(w, http.StatusOK, MediaType, body)
}

// NewProblem returns the problem for an HTTP status, with its standard title.
func NewProblem(status int, detail string) Problem {
	return Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail}
}

// WriteProblem answers with p and its status. The caller sets Retry-After and
// WWW-Authenticate before.
func WriteProblem(w http.ResponseWriter, p Problem) error {
	body, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return write(w, p.Status, ProblemMediaType, body)
}

func write(w http.ResponseWriter, status int, mediaType string, body []byte) error {
	h := w.Header()
	h.Set("Content-Type", mediaType)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, err := usererr.JSONWriter(w).Write(append(body, '\n')) // escaped, because people read it in terminals, too
	return err
}

// isMedia reports whether a Content-Type header names the media type want. It ignores
// parameters.
func isMedia(contentType, want string) bool {
	got, _, err := mime.ParseMediaType(contentType)
	return err == nil && got == want
}

// IsJSON reports whether a Content-Type header says JSON.
func IsJSON(contentType string) bool { return isMedia(contentType, MediaType) }

// EchoPath is where a broker with a gateway tells a client how its request arrived, so
// that proxies between the two can be found. It accepts every identity that the gateway
// accepts. It ignores what follows the path.
//
// A POST request's body is read and measured. A GET request with the query
// quiet=SECONDS is answered after that many seconds; with pause=SECONDS its answer is
// sent in two parts, with a pause of that length between them.
const EchoPath = "/v1/echo"

// The limits of an echo.
const (
	MaxEcho     = 8 << 20         // bytes of a request's body
	MaxEchoWait = 2 * time.Minute // the maximum of quiet and pause
)

// EchoHeader is a header that every echo has. The gateway's answers use it, and proxies
// do not know it.
const EchoHeader = "Gatepass-Note"

// An Echo is a request as it reached the broker.
type Echo struct {
	Protocol    string `json:"protocol"`     // such as HTTP/1.1
	Host        string `json:"host"`         // the name by which the client called the broker
	Target      string `json:"target"`       // path and query, unchanged
	GitProtocol string `json:"git_protocol"` // the header
	Bytes       int64  `json:"bytes"`        // of the body
	// BodyMilliseconds is the time from the body's first byte to its last.
	BodyMilliseconds int64 `json:"body_ms"`
}

// EncodeEcho returns e as JSON.
func EncodeEcho(e Echo) ([]byte, error) { return json.Marshal(e) }

// DecodeEcho reads an answer. It ignores unknown keys. It returns an error unless data
// is an echo.
func DecodeEcho(data []byte) (Echo, error) {
	var e Echo
	if len(data) > MaxAnswer || json.Unmarshal(data, &e) != nil || e.Protocol == "" {
		return Echo{}, errors.New("the answer is not the JSON of an echo")
	}
	return e, nil
}

// EchoHeaders sets the headers of an echo.
func EchoHeaders(h http.Header) {
	h.Set("Content-Type", MediaType)
	h.Set("Cache-Control", "no-store")
	h.Set(EchoHeader, "echo")
}
