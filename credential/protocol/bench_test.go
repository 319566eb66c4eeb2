package protocol

import "testing"

// BenchmarkParseRequest reads what a recent git sends; both helper and agent do that.
func BenchmarkParseRequest(b *testing.B) {
	text := []byte("capability[]=authtype\ncapability[]=state\nprotocol=https\nhost=github.com\npath=acme/widgets.git\nwwwauth[]=Basic realm=\"GitHub\"\n\n")
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseRequest(text); err != nil {
			b.Fatal(err)
		}
	}
}
