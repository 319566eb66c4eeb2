// Package advert rewrites what git servers advertise, so that clients of the gateway
// see only capabilities that the gateway knows. An unknown one could send clients to
// other servers, or make them ask for what the gateway refuses.
package advert

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/gatepass/gatepass/broker/gateway/pktline"
)

// ErrUnknown reports an answer that is not the service's advertisement.
var ErrUnknown = errors.New("not a git advertisement")

// maxPackets is the maximum number of packets in a version 2 capability list.
const maxPackets = 64

// ReceivePack reads the advertisement of git-receive-pack from r, up to and including
// its first ref, and returns it with known capabilities only. The caller passes on the
// rest of r, the other refs, unchanged. delete-refs is kept only if deletes is true.
func ReceivePack(r io.Reader, deletes bool) ([]byte, error) {
	keep := receivePack
	if !deletes {
		keep = slices.DeleteFunc(slices.Clone(keep), func(s string) bool { return s == "delete-refs" })
	}
	return rewrite(r, "git-receive-pack", keep, nil)
}

// UploadPack does the same for git-upload-pack. A version 2 advertisement is a list of
// capabilities; UploadPack reads all of it.
func UploadPack(r io.Reader) ([]byte, error) {
	return rewrite(r, "git-upload-pack", uploadPack, version2)
}

// rewrite reads an advertisement and keeps only known capabilities: those in keep for
// versions 0 and 1, those in version2 for version 2.
func rewrite(r io.Reader, service string, keep []string, version2 map[string][]string) ([]byte, error) {
	a := &advertisement{from: pktline.NewReader(r)}
	a.from.MaxPayload = pktline.MaxPayload - 1 // leaves room for a line break
	text, err := a.service(service)
	switch {
	case err != nil:
	case text == "version 2" && version2 != nil:
		a.line(text)
		err = a.version2(version2)
	default:
		err = a.firstRef(text, keep)
	}
	if errors.Is(err, errNoRefs) && service == "git-upload-pack" && len(a.to) > 0 {
		return append(a.to, pktline.FlushPacket...), nil // an empty repository, in versions 0 and 1
	}
	if err != nil {
		return nil, err
	}
	return a.to, nil
}

// errNoRefs reports a flush packet where a ref should be.
var errNoRefs = fmt.Errorf("%w: no refs", ErrUnknown)

// advertisement is an advertisement while it is rewritten.
type advertisement struct {
	from *pktline.Reader
	to   []byte
}

// next reads a packet with text, and removes its line break.
func (a *advertisement) next() (string, error) {
	kind, payload, err := a.from.Next()
	if err != nil {
		return "", unexpected(err)
	}
	switch kind {
	case pktline.Data:
		return strings.TrimSuffix(string(payload), "\n"), nil
	case pktline.Flush:
		return "", errNoRefs
	}
	return "", fmt.Errorf("%w: a special packet", ErrUnknown)
}

func (a *advertisement) line(text string) { a.to = pktline.Append(a.to, text+"\n") }

// service copies the announcement of smart HTTP, and returns the next line. git's own
// server sends no announcement in version 2.
func (a *advertisement) service(name string) (string, error) {
	text, err := a.next()
	if err != nil || text == "version 2" {
		return text, err
	}
	if text != "# service="+name {
		return "", fmt.Errorf("%w: it begins with %q", ErrUnknown, cut(text))
	}
	a.line(text)
	kind, _, err := a.from.Next()
	if err != nil {
		return "", unexpected(err)
	}
	if kind != pktline.Flush {
		return "", fmt.Errorf("%w: no flush packet after the service", ErrUnknown)
	}
	a.to = append(a.to, pktline.FlushPacket...)
	return a.next()
}

// firstRef copies everything up to the first ref, which has the capabilities.
func (a *advertisement) firstRef(text string, keep []string) (err error) {
	if text == "version 1" {
		a.line(text)
		if text, err = a.next(); err != nil {
			return err
		}
	}
	ref, capabilities, ok := strings.Cut(text, "\x00")
	if !ok || strings.Contains(capabilities, "\x00") {
		return fmt.Errorf("%w: its first ref is %q", ErrUnknown, cut(text))
	}
	a.line(ref + "\x00" + filter(capabilities, keep))
	return nil
}

// version2 copies the known capabilities of the list, to its end.
func (a *advertisement) version2(known map[string][]string) error {
	for range maxPackets {
		kind, payload, err := a.from.Next()
		switch {
		case err != nil:
			return unexpected(err)
		case kind == pktline.Flush:
			a.to = append(a.to, pktline.FlushPacket...)
			return nil
		case kind != pktline.Data:
			return fmt.Errorf("%w: a special packet", ErrUnknown)
		}
		text := strings.TrimSuffix(string(payload), "\n")
		name, value, hasValue := strings.Cut(text, "=")
		features, isKnown := known[name]
		if !isKnown {
			continue
		}
		if hasValue && features != nil {
			text = name + "=" + filter(value, features)
		}
		a.line(strings.TrimSuffix(text, "="))
	}
	return fmt.Errorf("%w: over %d capabilities", ErrUnknown, maxPackets)
}

// filter returns the capabilities of a list that are in keep, with or without a value.
func filter(list string, keep []string) string {
	kept := strings.Fields(list)
	kept = slices.DeleteFunc(kept, func(token string) bool {
		name, _, _ := strings.Cut(token, "=")
		return !slices.Contains(keep, name)
	})
	return strings.Join(kept, " ")
}

// unexpected turns an early EOF into io.ErrUnexpectedEOF.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, pktline.ErrMalformed) || errors.Is(err, pktline.ErrTooLong) {
		return fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	return fmt.Errorf("read the advertisement: %w", err)
}

func cut(text string) string { return text[:min(len(text), 100)] }

// receivePack are the capabilities of a push that the gateway supports. push-options
// and push-cert are missing on purpose: clients use them if they are advertised, and
// the gateway refuses both.
var receivePack = []string{"report-status", "report-status-v2", "delete-refs", "side-band-64k", "quiet", "atomic", "ofs-delta", "object-format", "agent"}

// uploadPack are the capabilities of a fetch in protocol versions 0 and 1.
var uploadPack = []string{
	"multi_ack", "multi_ack_detailed", "no-done", "thin-pack", "side-band", "side-band-64k", "ofs-delta",
	"shallow", "deepen-since", "deepen-not", "deepen-relative", "no-progress", "include-tag",
	"allow-tip-sha1-in-want", "allow-reachable-sha1-in-want", "symref", "filter", "object-format", "agent",
}

// version2 are the capabilities of a fetch in version 2, with the features that their
// values may name; nil allows any value. bundle-uri, promisor-remote and the feature
// packfile-uris name other servers, which workspaces cannot reach; no client uses
// object-info.
var version2 = map[string][]string{
	"agent":         nil,
	"ls-refs":       {"unborn"},
	"fetch":         {"shallow", "wait-for-done", "filter", "ref-in-want", "sideband-all"},
	"server-option": nil,
	"object-format": nil,
}
