// Package brand has the common look of the pages of gatepass's programs: colours for
// light and dark, the font, and the mark beside the name.
package brand

import (
	_ "embed"
	"html/template"
)

// Palette is the beginning of every style sheet: variables for the colours, the font of
// the page, and the class brand.
//
//go:embed palette.css
var Palette string

// Mark is the sign beside the name, as SVG. Its colour comes from the class brand.
const Mark template.HTML = `<svg aria-hidden="true" viewBox="0 0 24 24" width="22" height="22"><path d="M3 21V9a9 9 0 0 1 18 0v12h-5V10a4 4 0 0 0-8 0v11z"/></svg>`
