// Package migrate moves a cluster from github-token-manager to gatepass-operator: it
// rewrites manifests, and takes over live Secrets without a gap.
package migrate

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/gatepass/gatepass/internal/usererr"
	v1 "github.com/gatepass/gatepass/operator/api/v1"
)

// The API group of github-token-manager.
const (
	oldGroup   = "github.as-code.io"
	oldVersion = oldGroup + "/v1"
)

var newVersion = v1.GroupVersion.String()

// Rewrite returns the manifests of one file in the form that gatepass-operator reads.
// It keeps comments, and every byte of documents without old objects. Notes are for
// people to check, one line each. An error names every object that cannot be rewritten,
// and what to change; there is no output then.
func Rewrite(file string, text []byte) (out []byte, notes []string, err error) {
	var errs []error
	for i, document := range split(text) {
		if i > 0 {
			out = append(out, "---\n"...)
		}
		rewritten, said, err := rewriteDocument(document, true)
		for _, one := range said {
			notes = append(notes, file+": "+one)
		}
		if err != nil {
			errs = append(errs, usererr.Wrap(file, err, ""))
		}
		out = append(out, rewritten...)
	}
	if errs != nil {
		return nil, notes, usererr.Join(errs...)
	}
	return out, notes, nil
}

// split cuts a file at its "---" lines. Inside a document, such a line cannot begin in
// the first column.
func split(text []byte) [][]byte {
	documents := [][]byte{nil}
	for line := range bytes.Lines(text) {
		isMark := bytes.Equal(bytes.TrimRight(line, " \r\n"), []byte("---"))
		last := len(documents) - 1
		switch {
		case isMark && last == 0 && len(bytes.TrimSpace(documents[0])) == 0:
			documents[0] = nil
		case isMark:
			documents = append(documents, nil)
		default:
			documents[last] = append(documents[last], line...)
		}
	}
	return documents
}

// rewriteDocument rewrites one document. isFile says that it comes from a file, so that
// objects outside of the file are unknown.
func rewriteDocument(text []byte, isFile bool) ([]byte, []string, error) {
	if !bytes.Contains(text, []byte(oldGroup)) {
		return text, ofConfiguration(text), nil
	}
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		return nil, nil, usererr.New("read a document that names "+oldGroup, strings.ReplaceAll(err.Error(), "\n", " "), "render templates before you rewrite them")
	}
	if len(document.Content) == 0 {
		return text, nil, nil // comments only
	}
	r := rewriter{isFile: isFile}
	if found := r.objects(document.Content[0]); found == 0 {
		r.note("%s names %s and is not changed: write %s where it means the new objects", describe(document.Content[0]), oldGroup, v1.Group)
		return text, r.notes, nil
	}
	if r.errs != nil {
		return nil, r.notes, usererr.Join(r.errs...)
	}
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(&document); err != nil {
		return nil, r.notes, err
	}
	return out.Bytes(), r.notes, nil
}

// ofConfiguration notes that the operator's configuration needs no change.
func ofConfiguration(text []byte) []string {
	var document struct {
		Kind       string
		AppID      any            `yaml:"app_id"`
		Data       map[string]any `yaml:"data"`
		StringData map[string]any `yaml:"stringData"`
	}
	if yaml.Unmarshal(text, &document) != nil {
		return nil
	}
	_, isData := document.Data["gtm.yaml"]
	_, isText := document.StringData["gtm.yaml"]
	if document.AppID != nil || isData || isText {
		return []string{"the configuration needs no change: gatepass-operator reads /config/gtm.yaml as it is"}
	}
	return nil
}

// A rewriter rewrites the objects of one document.
type rewriter struct {
	isFile bool
	what   string // names the current object in notes and errors
	notes  []string
	errs   []error
}

func (r *rewriter) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if r.what != "" {
		text = r.what + ": " + text
	}
	r.notes = append(r.notes, text)
}

func (r *rewriter) fail(why, do string) { r.errs = append(r.errs, usererr.New(r.what, why, do)) }

// objects rewrites a document: one object, or a List of objects. It returns how many
// old ones it found.
func (r *rewriter) objects(root *yaml.Node) int {
	if items := field(root, "items"); items != nil && strings.HasSuffix(text(root, "kind"), "List") {
		found := 0
		for _, item := range items.Content {
			found += r.objects(item)
		}
		if found > 0 && text(root, "apiVersion") == oldVersion {
			field(root, "apiVersion").Value = newVersion
		}
		return found
	}
	if group, _, _ := strings.Cut(text(root, "apiVersion"), "/"); group != oldGroup {
		return 0
	}
	r.what = describe(root)
	if r.plain(root) {
		r.object(root)
	}
	r.what = ""
	return 1
}

// plain refuses YAML that could hide a field. An absent list means everything, so a
// field that is not seen would widen a token.
func (r *rewriter) plain(node *yaml.Node) bool {
	if node.Kind == yaml.AliasNode {
		r.fail("line "+strconv.Itoa(node.Line)+" is a YAML alias", "replace it by its value")
		return false
	}
	seen := map[string]bool{}
	for i, child := range node.Content {
		if node.Kind == yaml.MappingNode && i%2 == 0 {
			if seen[child.Value] {
				r.fail(fmt.Sprintf("line %d has %s a second time", child.Line, child.Value), "remove one of them")
				return false
			}
			seen[child.Value] = true
		}
		if !r.plain(child) {
			return false
		}
	}
	return true
}

// Fields that the API server or kubectl adds to an object.
var (
	ofServer     = []string{"uid", "resourceVersion", "generation", "creationTimestamp", "selfLink", "managedFields"}
	ofKubectl    = "kubectl.kubernetes.io/last-applied-configuration"
	specFields   = []string{"appRef", "secret", "installationID", "refreshInterval", "retryInterval", "permissions", "repositories", "repositoryIDs"}
	secretFields = []string{"name", "labels", "annotations", "basicAuth"}
	appFields    = []string{"appID", "installationID", "provider", "key", "keyRef", "validateKey"}
)

// object rewrites one object of the old group in place.
func (r *rewriter) object(root *yaml.Node) {
	if text(root, "apiVersion") != oldVersion {
		r.fail(fmt.Sprintf("apiVersion %s is not known", text(root, "apiVersion")), "write it as "+oldVersion+" first")
		return
	}
	field(root, "apiVersion").Value = newVersion
	r.known(root, "", []string{"apiVersion", "kind", "metadata", "spec", "status"})
	remove(root, "status")
	metadata := field(root, "metadata")
	for _, name := range ofServer {
		remove(metadata, name)
	}
	remove(field(metadata, "annotations"), ofKubectl)
	dropEmpty(metadata, "annotations")
	switch text(root, "kind") {
	case "Token", "ClusterToken":
		r.token(ensure(root, "spec"), text(root, "kind"))
	case "App":
		r.known(field(root, "spec"), "spec.", appFields)
		r.known(field(field(root, "spec"), "keyRef"), "spec.keyRef.", []string{"name", "key"})
	default:
		r.fail("the kind is unknown", "remove the object, or write it by hand")
	}
}

// token rewrites spec of a Token or ClusterToken.
func (r *rewriter) token(spec *yaml.Node, kind string) {
	r.known(spec, "spec.", specFields)
	inSecret, inApp := secretFields, []string{"name"}
	if kind == "ClusterToken" {
		inSecret, inApp = append(slices.Clone(inSecret), "namespace"), append(inApp, "namespace")
		if app := field(spec, "appRef"); r.isFile && app != nil && text(app, "namespace") == "" {
			r.note("spec.appRef.namespace defaults to the operator's namespace: write the namespace of the App")
		}
	}
	r.known(field(spec, "appRef"), "spec.appRef.", inApp)
	r.known(field(spec, "secret"), "spec.secret.", inSecret)
	if text(spec, "installationID") == "0" {
		remove(spec, "installationID")
	}
	r.repositories(spec)
	r.permissions(spec)
	r.interval(spec, "refreshInterval", "1m")
	r.interval(spec, "retryInterval", "10s")
	r.secret(field(spec, "secret"))
}

// known refuses fields that the old objects do not have. The old API server dropped
// such fields silently.
func (r *rewriter) known(node *yaml.Node, path string, names []string) {
	if node == nil || node.Kind != yaml.MappingNode {
		return
	}
	for i := 0; i < len(node.Content); i += 2 {
		if name := node.Content[i].Value; !slices.Contains(names, name) {
			r.fail("github-token-manager has no field "+path+name, "remove it, or correct its name")
		}
	}
}
