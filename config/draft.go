package config

import (
	"bytes"

	"github.com/gatepass/gatepass/hooks/refs"
	"go.yaml.in/yaml/v3"
)

// A Draft is the content of a workspace file that the issuing side writes.
type Draft struct {
	Workspace string
	Hosts     []string
	Source    string   // "" omits the key
	Repos     []string // empty allows no repository
	Refs      []refs.Entry
}

// draft has the keys in the order in which people read them.
type draft struct {
	Workspace string   `yaml:"workspace"`
	Hosts     []string `yaml:"hosts,flow"`
	Source    string   `yaml:"source,omitempty"`
	Repos     []string `yaml:"repos"`
	Refs      []any    `yaml:"refs"`
}

// entry is a ref and what may be done to it.
type entry struct {
	Ref   string      `yaml:"ref"`
	Allow []refs.Verb `yaml:"allow,flow"`
}

// Encode returns the file's text. It returns an error if Parse would refuse it.
func (d Draft) Encode() ([]byte, error) {
	f := draft{Workspace: d.Workspace, Hosts: d.Hosts, Source: d.Source, Repos: append([]string{}, d.Repos...), Refs: []any{}}
	for _, e := range d.Refs {
		if e.Allow == nil {
			f.Refs = append(f.Refs, e.Ref)
		} else {
			f.Refs = append(f.Refs, entry(e))
		}
	}
	var text bytes.Buffer
	enc := yaml.NewEncoder(&text)
	enc.SetIndent(2)
	if err := enc.Encode(f); err != nil {
		return nil, err
	}
	if _, err := parse(text.Bytes()); err != nil {
		return nil, err
	}
	return text.Bytes(), nil
}
