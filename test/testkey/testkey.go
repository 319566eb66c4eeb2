// Package testkey has RSA keys for tests, the same in every run. Anybody can compute them:
// they protect nothing. To find the primes of a key takes a good part of a second of
// processor time, and most packages need one; here the search is done, and only its
// results are in the table.
package testkey

import (
	"crypto/rsa"
	"crypto/sha256"
	"fmt"
	"math/big"
)

// primes says how far the two primes of each key are from where the search for them
// began. All keys of one size differ.
var primes = map[int][][2]int64{
	2048: {{636, 52}, {42, 1632}, {212, 486}, {16, 308}},
	3072: {{286, 646}},
	4096: {{2156, 502}},
}

// RSA returns the key with that index, from 0, of those that have that many bits. It
// panics if there is no such key.
func RSA(bits, index int) *rsa.PrivateKey {
	keys := primes[bits]
	if index >= len(keys) {
		panic(fmt.Sprintf("test/testkey has no key %d of %d bits", index, bits))
	}
	p := begin(bits, index, "p")
	q := begin(bits, index, "q")
	p.Add(p, big.NewInt(keys[index][0]))
	q.Add(q, big.NewInt(keys[index][1]))
	return fromPrimes(p, q)
}

func fromPrimes(p, q *big.Int) *rsa.PrivateKey {
	one := big.NewInt(1)
	key := &rsa.PrivateKey{Primes: []*big.Int{p, q}}
	key.N, key.E = new(big.Int).Mul(p, q), 65537
	phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
	key.D = new(big.Int).ModInverse(big.NewInt(int64(key.E)), phi)
	key.Precompute()
	return key
}

// begin returns an odd number of half a key's bits that depends on the arguments alone.
// Its two highest bits are set, so that the product of two has all bits of the key.
func begin(bits, index int, prime string) *big.Int {
	var text []byte
	for block := 0; len(text) < bits/16; block++ {
		sum := sha256.Sum256(fmt.Appendf(nil, "gatepass test key %d %d %s %d", bits, index, prime, block))
		text = append(text, sum[:]...)
	}
	text = text[:bits/16]
	text[0] |= 0xc0
	text[len(text)-1] |= 1
	return new(big.Int).SetBytes(text)
}
