package credential

import "testing"

// BenchmarkWarmToken measures what the cache adds to every answer of the agent.
func BenchmarkWarmToken(b *testing.B) {
	c := &Cache{Source: &issuer{}}
	if _, err := c.Token(b.Context(), widgets); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Token(b.Context(), widgets); err != nil {
			b.Fatal(err)
		}
	}
}
