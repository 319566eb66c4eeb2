package pktline

// A Band is a stream within side-band-64k: the first byte of a payload.
type Band byte

// The bands of side-band-64k.
const (
	Report   Band = 1 // what the request asked for
	Progress Band = 2 // text, which git shows behind "remote: "
	Fatal    Band = 3 // a text that ends the exchange
)

// KeepAlive is a packet of side-band-64k that says nothing.
const KeepAlive = "0005\x01"

// AppendBand appends text to a band, in as many packets as it needs.
func AppendBand(to []byte, band Band, text []byte) []byte {
	for len(text) > 0 {
		n := min(len(text), MaxPayload-1)
		to = append(append(appendHeader(to, n+1), byte(band)), text[:n]...)
		text = text[n:]
	}
	return to
}
