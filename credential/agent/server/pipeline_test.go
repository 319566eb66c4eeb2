package server

import (
	"context"
	"net/url"
	"testing"
	"time"

	"github.com/gatepass/gatepass/config"
	"github.com/gatepass/gatepass/credential"
)

// tended is a source that records calls of its upkeep.
type tended struct {
	credential.SourceFunc
	upkeeps chan struct{}
}

func (s tended) Upkeep(context.Context) { s.upkeeps <- struct{}{} }

func TestUpkeepReachesTheSource(t *testing.T) {
	s := tended{upkeeps: make(chan struct{})}
	p, err := newPipeline(&config.Workspace{Source: &url.URL{Scheme: "test"}}, func(*config.Workspace) (credential.Source, error) { return s, nil })
	if err != nil {
		t.Fatal(err)
	}
	p.upkeep(t.Context()) // does not wait for it
	select {
	case <-s.upkeeps:
	case <-time.After(time.Minute):
		t.Error("the source was not asked to look after itself")
	}
}
