package serve

import (
	"crypto/tls"
	"sync"
	"time"

	"github.com/gatepass/gatepass/internal/filestamp"
	"github.com/gatepass/gatepass/internal/trustedfile"
	"github.com/gatepass/gatepass/internal/usererr"
)

// certificateEvery is how often the files are looked at.
const certificateEvery = time.Second

// A Certificate is a certificate and its key, in files. Make it with LoadCertificate.
type Certificate struct {
	// Failed is told why a changed pair is not used, once for each change; nil
	// means nobody is.
	Failed func(error)

	certFile, keyFile string

	mu     sync.Mutex // guards the rest
	pair   *tls.Certificate
	seen   [2]filestamp.Stamp // when they were read last
	looked time.Time
}

// LoadCertificate reads a pair. The error is one line.
func LoadCertificate(certFile, keyFile string) (*Certificate, error) {
	p := &Certificate{certFile: certFile, keyFile: keyFile}
	p.seen = p.stamps()
	pair, err := p.read()
	if err != nil {
		return nil, err
	}
	p.pair, p.looked = pair, time.Now()
	return p, nil
}

func (p *Certificate) stamps() [2]filestamp.Stamp {
	cert, _ := filestamp.Of(p.certFile) // a file that is not there has a stamp, too
	key, _ := filestamp.Of(p.keyFile)
	return [2]filestamp.Stamp{cert, key}
}

func (p *Certificate) read() (*tls.Certificate, error) {
	what := "read the certificate " + p.certFile + " and its key"
	cert, err := trustedfile.Read("the certificate", p.certFile, trustedfile.Writing, maxFile)
	if err != nil {
		return nil, usererr.Wrap(what, err, "")
	}
	key, err := trustedfile.Read("the certificate's key", p.keyFile, trustedfile.ReadingAndWriting, maxFile)
	if err != nil {
		return nil, usererr.Wrap(what, err, "")
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, usererr.Wrap(what, err, "write a certificate and the key that belongs to it")
	}
	return &pair, nil
}

// maxFile bounds a file, in bytes.
const maxFile = 1 << 20

// Get returns the pair for a handshake, for [tls.Config]. Files that changed are
// read again; while they are no pair, because one is written after the other, the
// last good one stays.
func (p *Certificate) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); now.Sub(p.looked) >= certificateEvery {
		p.looked = now
		p.refresh()
	}
	return p.pair, nil
}

// refresh reads what changed. The caller holds mu.
func (p *Certificate) refresh() {
	now := p.stamps()
	if now == p.seen {
		return
	}
	p.seen = now
	pair, err := p.read()
	if err != nil {
		if p.Failed != nil {
			p.Failed(err)
		}
		return
	}
	p.pair = pair
}

// Expires returns when the certificate that is used runs out.
func (p *Certificate) Expires() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pair.Leaf == nil {
		return time.Time{}
	}
	return p.pair.Leaf.NotAfter
}
