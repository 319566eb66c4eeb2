package config

import (
	"bytes"

	"github.com/gatepass/gatepass/hooks/refs"
	"go.yaml.in/yaml/v3"
)

// A Draft is what the issuing side puts into a workspace file.
type Draft struct {
	Workspace string
	Hosts     []string
	Source    string   // "" leaves it out
	Repos     []string // none allows none
	Refs      []refs.Entry
}

// draft is the file in the order in which people read it.
type draft struct {
	Workspace string   `yaml:"workspace"`
	Hosts     []string `yaml:"hosts,flow"`
	Source    string   `yaml:"source,omitempty"`
	Repos     []string `yaml:"repos"`
	Refs      []any    `yaml:"refs"`
}

// entry is a ref with what may be done to it.
type entry struct {
	Ref   string      `yaml:"ref"`
	Allow []refs.Verb `yaml:"allow,flow"`
}

// Encode returns the file's text, unless Parse would refuse it.
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
