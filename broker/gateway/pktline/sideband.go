package pktline

// A Band is a stream within side-band-64k: the first byte of a payload.
type Band byte

// The bands of side-band-64k.
const (
	Report   Band = 1 // the answer to the request
	Progress Band = 2 // text that git prints after "remote: "
	Fatal    Band = 3 // text of an error that ends the exchange
)

// KeepAlive is an empty packet of side-band-64k, which clients ignore.
const KeepAlive = "0005\x01"

// AppendBand appends text on a band, in as many packets as needed.
func AppendBand(to []byte, band Band, text []byte) []byte {
	for len(text) > 0 {
		n := min(len(text), MaxPayload-1)
		to = append(append(appendHeader(to, n+1), byte(band)), text[:n]...)
		text = text[n:]
	}
	return to
}
