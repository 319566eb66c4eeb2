package yamlfile

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

type shared struct {
	Name string `yaml:"name"`
}

type rule struct {
	shared  `yaml:"-"`
	Inlined shared         `yaml:",inline"`
	Claims  map[string]tls `yaml:"claims"`
	Max     int            `yaml:"max"`
}

type tls struct {
	CertFile string `yaml:"cert_file"`
}

type byHand struct{ text string }

func (b *byHand) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind != yaml.ScalarNode {
		return At(node, "want a text")
	}
	b.text = node.Value
	return nil
}

type document struct {
	Listen  []string      `yaml:"listen"`
	TLS     *tls          `yaml:"tls"`
	Rules   []rule        `yaml:"rules"`
	Wait    time.Duration `yaml:"wait"`
	Strict  bool          `yaml:"strict"`
	ByHand  byHand        `yaml:"by_hand"`
	Anyhow  yaml.Node     `yaml:"anyhow"`
	Ignored string        `yaml:"-"`
}

func TestDecodeSaysWhereAMistakeIs(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"a key that was mistyped", "listen: [a]\nwiat: 3s\n", `line 2 column 1: unknown key "wiat": did you mean "wait"?`},
		{"one that resembles none", "xyzzy: 1\n", `line 1 column 1: unknown key "xyzzy"; known are anyhow, by_hand, listen, rules, strict, tls, wait`},
		{"one further in", "tls:\n  cret_file: x\n", `line 2 column 3: unknown key "cret_file": did you mean "cert_file"?`},
		{"one in a list and a map", "rules:\n- name: a\n  claims: {x: {certfile: y}}\n", `line 3 column 16: unknown key "certfile": did you mean "cert_file"?`},
		{"one that is no key of the file", "ignored: x\n", `unknown key "ignored"`},
		{"two", "a: 1\nlsten: [x]\n", `line 1 column 1: unknown key "a"; known are anyhow, by_hand, listen, rules, strict, tls, wait, line 2 column 1: unknown key "lsten": did you mean "listen"?`},
		{"a list for a text", "tls: {cert_file: [x]}\n", "line 1: want a string, not a list"},
		{"a text for a list", "listen: x\n", "line 1: want a list, not `x`"},
		{"a text for a number", "rules: [{max: much}]\n", "line 1: want a number, not `much`"},
		{"a text for a time", "wait: long\n", "line 1: want a time such as 90s or 2h, not `long`"},
		{"a text for a truth", "strict: perhaps\n", "line 1: want true or false, not `perhaps`"},
		{"a text for a mapping", "tls: x\n", "line 1: want a mapping, not `x`"},
		{"a key twice", "strict: true\nstrict: false\n", `line 2: "strict" is given twice, first on line 1`},
		{"what a reader of ours says", "by_hand: [x]\n", "line 1 column 10: want a text"},
		{"both kinds", "by_hand: [x]\nwiat: 1s\n", `line 2 column 1: unknown key "wiat"`},
		{"two documents", "strict: true\n---\nstrict: true\n", "it has more than one YAML document"},
		{"what is not YAML", "a: [\n", "did not find expected node content"},
		{"a key full of control characters", "\"a\\nb\\e\": 1\n", `unknown key "a\nb\x1b"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := Decode([]byte(c.text), new(document))
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.ContainsAny(err.Error(), "\n\x1b") {
				t.Errorf("got %v\nwant %s", err, c.want)
			}
		})
	}
}

func TestDecodeReads(t *testing.T) {
	var d document
	if err := Decode([]byte("listen: [a]\ntls: {cert_file: b}\nrules: [{name: c}]\nwait: 3s\nanyhow: {x: {y: z}}\n"), &d); err != nil {
		t.Fatal(err)
	}
	if d.Listen[0] != "a" || d.TLS.CertFile != "b" || d.Rules[0].Inlined.Name != "c" || d.Wait != 3*time.Second {
		t.Errorf("got %+v", d)
	}
	if err := Decode(nil, &d); !errors.Is(err, io.EOF) {
		t.Errorf("of nothing: %v, want io.EOF", err)
	}
}

func TestPlace(t *testing.T) {
	text := []byte("tls:\n  cert_file: x\nrules:\n- name: a\n- name: b\n")
	for path, want := range map[string]string{
		"tls": "line 1 column 1: bad", "tls.cert_file": "line 2 column 3: bad", "rules[1]": "line 5 column 3: bad", "rules[1].name": "line 5 column 3: bad",
		"rules[2]": "bad", "none": "bad", "tls.cert_file.x": "bad", "rules[x]": "bad", "": "bad",
	} {
		if got := Place(text, path, errors.New("bad")).Error(); got != want {
			t.Errorf("Place(%q) = %q, want %q", path, got, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("listen: [a]\nwiat: 3s\n")
	f.Add("rules: [{max: much}]\n")
	f.Fuzz(func(t *testing.T, text string) {
		if err := Decode([]byte(text), new(document)); err != nil && strings.ContainsAny(err.Error(), "\x1b") {
			t.Errorf("the error has control characters: %q", err)
		}
		_ = Place([]byte(text), "rules[0].name", io.EOF)
	})
}
