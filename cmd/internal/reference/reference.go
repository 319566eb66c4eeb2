// Package reference describes the keys of gatepass's configuration files in one place.
// The JSON Schemas, the tables of docs/reference and the manual pages of section 5 are
// generated from it, and its tests compare it with the programs that read the files.
package reference

// A File is one kind of configuration file.
type File struct {
	Name    string // of its schema and pages: "workspace"
	Title   string // "The workspace file"
	About   string // its purpose, in one or two sentences
	Default string // the path that is read unless another one is named
	Keys    []Key
	Example string // a complete file
}

// A Key is one key of a mapping.
type Key struct {
	Name     string
	About    string // its meaning, in one sentence without a full stop
	Default  string // the value without the key; "" if that is obvious
	Required bool
	Of       Type
}

// A Type says which values are allowed. At most one field besides Pattern is set; the
// zero Type allows any text.
type Type struct {
	Pattern string   // a regular expression (ECMA 262) that a text must match
	OneOf   []string // these texts
	Number  bool     // a number, 0 or more
	Truth   bool     // true or false
	Any     bool     // anything
	List    *Type    // a list of this type
	Map     *Type    // a mapping of any names to this type
	Keys    []Key    // a mapping with these keys
	Either  []Type   // any of these types
}

// Common types.
var (
	text     = Type{}
	number   = Type{Number: true}
	truth    = Type{Truth: true}
	texts    = Type{List: &Type{}}
	duration = Type{Pattern: `^0$|^([0-9]+(\.[0-9]*)?(ns|us|µs|ms|s|m|h))+$`}
	size     = Type{Either: []Type{{Number: true}, {Pattern: `^[0-9]+ ?(KiB|MiB|GiB|KB|MB|GB)?$`}}}
	path     = Type{Pattern: `^/`}
	ref      = Type{Either: []Type{{Pattern: `.`}, {Keys: []Key{
		{Name: "ref", About: "the pattern", Required: true, Of: Type{Pattern: `.`}},
		{Name: "allow", About: "what may be done to the refs that match", Default: "create and update", Of: Type{List: &Type{OneOf: []string{"create", "update", "force", "delete", "move"}}}},
	}}}}
	refList = Type{List: &ref}
)

// Files returns all kinds of files.
func Files() []File { return []File{workspaceFile(), profileFile(), brokerFile()} }
