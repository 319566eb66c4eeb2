// Package reference describes the keys of gatepass's configuration files once. The JSON
// Schemas, the tables of docs/reference and the manual pages of section 5 are made from it,
// and its tests hold it against the programs that read the files.
package reference

// A File is one kind of configuration file.
type File struct {
	Name    string // of its schema, page and manual page: "workspace"
	Title   string // "The workspace file"
	About   string // what it is for, in one or two sentences
	Default string // where it is read from unless another path is named
	Keys    []Key
	Example string // a whole file
}

// A Key is one key of a mapping.
type Key struct {
	Name     string
	About    string // what it means, in one sentence without a full stop
	Default  string // what holds without it; "" where that needs no word
	Required bool
	Of       Type
}

// A Type says which values are allowed. Exactly one of the fields that are not Pattern is
// set; the zero Type allows any text.
type Type struct {
	Pattern string   // a regular expression (ECMA 262) that a text has to match
	OneOf   []string // these texts
	Number  bool     // a number of 0 or more
	Truth   bool     // true or false
	Any     bool     // anything
	List    *Type    // a list of these
	Map     *Type    // a mapping of any names to these
	Keys    []Key    // a mapping of these
	Either  []Type   // any of these
}

// Often used types.
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

// Files are all kinds.
func Files() []File { return []File{workspaceFile(), profileFile(), brokerFile()} }
