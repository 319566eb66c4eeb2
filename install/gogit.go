package install

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/format/config"
)

// secondReader parses with go-git what is about to be written: programs with their own
// parser must find our settings too. It accepts a file that go-git could not read
// before.
func secondReader(base, text []byte, want []setting) error {
	if _, err := decode(base); err != nil {
		return nil
	}
	cfg, err := decode(text)
	if err != nil {
		return fmt.Errorf("go-git could not read what is to be written: %w", err)
	}
	for _, s := range want {
		if !slices.Contains(optionAll(cfg, s.key), s.value) {
			return fmt.Errorf("go-git would not find %s in what is to be written", s.key)
		}
	}
	return nil
}

func decode(text []byte) (*config.Config, error) {
	cfg := config.New()
	return cfg, config.NewDecoder(bytes.NewReader(text)).Decode(cfg)
}

func optionAll(cfg *config.Config, key string) []string {
	first, last := strings.IndexByte(key, '.'), strings.LastIndexByte(key, '.')
	section := cfg.Section(key[:first])
	if first == last {
		return section.OptionAll(key[last+1:])
	}
	return section.Subsection(key[first+1 : last]).OptionAll(key[last+1:])
}
