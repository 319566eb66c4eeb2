package gateway

import (
	"sync"
	"time"
)

// keepAliveEvery is how often something is sent to a client that waits, so that no
// proxy closes the connection as idle.
const keepAliveEvery = 5 * time.Second

// wait begins to send keep-alive packets to the client, if the client can read them.
func (p *pushing) wait() {
	p.answer = newAnswer(p.w)
	p.waiting = new(keepAlive)
	text := p.q.KeepAlive()
	if !p.bothWays() || text == nil {
		return
	}
	every := p.g.KeepAlive
	if every == 0 {
		every = keepAliveEvery
	}
	p.waiting.start(every, func() { p.began = true; _, _ = p.answer.Write(text) })
}

// A keepAlive calls a function at a fixed interval until it is stopped.
type keepAlive struct {
	once sync.Once
	quit chan struct{}
	gone chan struct{}
}

func (k *keepAlive) start(every time.Duration, say func()) {
	k.quit, k.gone = make(chan struct{}), make(chan struct{})
	go func() {
		defer close(k.gone)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				say()
			case <-k.quit:
				return
			}
		}
	}()
}

// stop ends the calls, and returns after the last one.
func (k *keepAlive) stop() {
	k.once.Do(func() {
		if k.quit != nil {
			close(k.quit)
			<-k.gone
		}
	})
}
