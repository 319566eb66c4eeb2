package testkey

import (
	"math/big"
	"testing"
)

// The table is what a search finds, and each key is a valid one of its own.
func TestEveryKeyIsValid(t *testing.T) {
	seen := map[string]bool{}
	for bits, keys := range primes {
		for index, offsets := range keys {
			for i, prime := range []string{"p", "q"} {
				p := begin(bits, index, prime)
				p.Add(p, big.NewInt(offsets[i]))
				if !p.ProbablyPrime(1) {
					t.Errorf("%s of key %d of %d bits is not a prime; the search finds %d", prime, index, bits, search(bits, index, prime))
				}
			}
			key := RSA(bits, index)
			if err := key.Validate(); err != nil || key.N.BitLen() != bits {
				t.Errorf("key %d of %d bits has %d bits, %v", index, bits, key.N.BitLen(), err)
			}
			if seen[key.N.String()] {
				t.Errorf("key %d of %d bits is there twice", index, bits)
			}
			seen[key.N.String()] = true
		}
	}
}

// search returns the distance of the first prime from where the search begins. The
// exponent divides no prime minus one that it returns.
func search(bits, index int, prime string) int64 {
	p := begin(bits, index, prime)
	for distance := int64(0); ; distance += 2 {
		if isNot := new(big.Int).Mod(p, big.NewInt(65537)); isNot.Int64() != 1 && p.ProbablyPrime(20) {
			return distance
		}
		p.Add(p, big.NewInt(2))
	}
}

func TestAKeyThatIsNotThere(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("RSA(1024, 0) returned a key")
		}
	}()
	RSA(1024, 0)
}
