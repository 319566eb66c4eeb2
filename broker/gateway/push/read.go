package push

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/gatepass/gatepass/broker/gateway/pktline"
	"github.com/gatepass/gatepass/hooks/refs"
)

const (
	maxCapabilities = 4096                                             // bytes of the text after the NUL
	maxLine         = 64 + 1 + 64 + 1 + 1024 + 1 + maxCapabilities + 1 // bytes of one line's payload
)

// Limits bound the head of a request. A field that is 0 means its default.
type Limits struct {
	Commands int   // default 2,000
	Head     int64 // bytes before the pack; default 1 MiB
}

func (l Limits) orDefaults() Limits {
	if l.Commands <= 0 {
		l.Commands = 2000
	}
	if l.Head <= 0 {
		l.Head = 1 << 20
	}
	return l
}

// ReadRequest reads the head of a git-receive-pack request, and no byte of the pack
// after it. r is the body after gzip decoding; it should be buffered, because
// ReadRequest makes small reads. If no pack follows, ReadRequest waits for the end of
// r, and refuses more bytes.
//
// A [*RequestError] says what is wrong with the bytes. It wraps io.ErrUnexpectedEOF if they
// end too early. Every other error is that of r.
func ReadRequest(r io.Reader, limits Limits) (*Request, error) {
	limits = limits.orDefaults()
	lines := pktline.NewReader(r)
	lines.MaxPayload, lines.MaxTotal = maxLine, limits.Head
	h := &head{limits: limits, request: &Request{}}
	for {
		kind, payload, err := lines.Next()
		if err != nil {
			return nil, readError(lines.Offset(), err)
		}
		if kind == pktline.Flush {
			break
		}
		if err := h.packet(kind, string(payload)); err != nil {
			return nil, &RequestError{Offset: lines.Offset(), Why: err.Error(), TooLarge: errors.Is(err, pktline.ErrTooLong)}
		}
	}
	if err := h.checkFormat(); err != nil {
		return nil, &RequestError{Offset: lines.Offset(), Why: err.Error()}
	}
	if err := checkEnd(r, h.request); err != nil {
		return nil, readError(lines.Offset(), err)
	}
	return h.request, nil
}

var errTrailing = errors.New("bytes follow a request that needs no pack")

// checkEnd returns an error if no pack follows and r does not end. It skips requests
// with an objection, because a list of push options may follow them.
func checkEnd(r io.Reader, q *Request) error {
	if q.HasPack() || q.Objection != "" {
		return nil
	}
	var one [1]byte
	_, err := io.ReadFull(r, one[:])
	switch {
	case err == nil:
		return errTrailing
	case errors.Is(err, io.EOF):
		return nil
	}
	return err
}

// readError returns a RequestError for wrong bytes, and wraps every other error.
func readError(offset int64, err error) error {
	tooLarge := errors.Is(err, pktline.ErrTooLong)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return &RequestError{Offset: offset, Why: "it ends too early", Err: io.ErrUnexpectedEOF}
	case tooLarge, errors.Is(err, pktline.ErrMalformed), errors.Is(err, errTrailing):
		return &RequestError{Offset: offset, Why: err.Error(), TooLarge: tooLarge}
	}
	return fmt.Errorf("read the push: %w", err)
}

// A head is a request that is being read.
type head struct {
	limits  Limits
	request *Request
	length  int             // of every object id; 0 before the first one
	refs    map[string]bool // the refs read so far
}

// packet handles a packet before the final flush.
func (h *head) packet(kind pktline.Kind, line string) error {
	if kind != pktline.Data {
		return errors.New("it has a special packet where a command or 0000 must be")
	}
	line = strings.TrimSuffix(line, "\n") // one line break only, as git does
	if oid, ok := strings.CutPrefix(line, "shallow "); ok {
		return h.shallow(oid)
	}
	return h.command(line)
}

func (h *head) shallow(oid string) error {
	if len(h.request.Commands) > 0 {
		return errors.New("a shallow line follows a command")
	}
	if err := h.checkOID(oid); err != nil {
		return fmt.Errorf("a shallow line: %w", err)
	}
	h.request.Shallow = append(h.request.Shallow, oid)
	return nil
}

func (h *head) command(line string) error {
	q := h.request
	if len(q.Commands) >= h.limits.Commands {
		return fmt.Errorf("commands: %w of %d; push fewer refs at once", pktline.ErrTooLong, h.limits.Commands)
	}
	line, capabilities, has := strings.Cut(line, "\x00")
	if isFirst := len(q.Commands) == 0; has != isFirst {
		return errors.New("capabilities must follow the first command, and no other")
	}
	c, err := h.parseCommand(line)
	if err != nil {
		return err
	}
	if has {
		if err := h.capabilities(capabilities); err != nil {
			return err
		}
	}
	return h.add(c)
}

func (h *head) capabilities(text string) error {
	if len(text) > maxCapabilities {
		return fmt.Errorf("capabilities: %w of %d bytes", pktline.ErrTooLong, maxCapabilities)
	}
	if strings.IndexFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) >= 0 {
		return errors.New("a capability has a character that is not printable ASCII")
	}
	h.request.Capabilities, h.request.Objection = parseCapabilities(text)
	return nil
}

func (h *head) parseCommand(line string) (Command, error) {
	before, rest, ok1 := strings.Cut(line, " ")
	after, ref, ok2 := strings.Cut(rest, " ")
	if !ok1 || !ok2 {
		return Command{}, errors.New("a line is not a command: want <old> <new> <ref>")
	}
	c := Command{Old: before, New: after, Ref: ref}
	for _, oid := range []string{c.Old, c.New} {
		if err := h.checkOID(oid); err != nil {
			return Command{}, err
		}
	}
	if err := refs.CheckRef(ref); err != nil {
		return Command{}, fmt.Errorf("ref %q: %w", ref, err)
	}
	if !utf8.ValidString(ref) {
		return Command{}, fmt.Errorf("ref %q: it is not UTF-8", ref) // go-git would read another name
	}
	if isZero(c.Old) && isZero(c.New) {
		return Command{}, fmt.Errorf("ref %q: both object IDs are zero", ref)
	}
	return c, nil
}

func (h *head) add(c Command) error {
	if h.refs == nil {
		h.refs = map[string]bool{}
	}
	if h.refs[c.Ref] {
		return fmt.Errorf("ref %q: it is given twice", c.Ref)
	}
	h.refs[c.Ref] = true
	h.request.Commands = append(h.request.Commands, c)
	return nil
}

func (h *head) checkOID(oid string) error {
	if !isOID(oid) {
		return errors.New("want object IDs of 40 or of 64 hex digits in lower case")
	}
	if h.length != 0 && h.length != len(oid) {
		return errors.New("the object IDs have two lengths")
	}
	h.length = len(oid)
	return nil
}

// checkFormat checks the length of the object ids against the object-format. A request
// without commands has no object-format.
func (h *head) checkFormat() error {
	if h.request.IsProbe() || h.length == h.request.Capabilities.oidLength() {
		return nil
	}
	return errors.New("the object IDs do not have the length of the object-format")
}
