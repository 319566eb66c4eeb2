package kubernetes

import (
	"bytes"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/gatepass/gatepass/store"
)

// An object is a Secret or a ConfigMap
// (https://kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/).
type object struct {
	APIVersion string            `json:"apiVersion,omitempty"`
	Kind       string            `json:"kind,omitempty"`
	Metadata   metadata          `json:"metadata"`
	Type       string            `json:"type,omitempty"` // of Secrets
	Data       map[string]string `json:"data,omitempty"` // in base64, in Secrets
}

type metadata struct {
	Name            string            `json:"name,omitempty"`
	UID             string            `json:"uid,omitempty"`
	ResourceVersion string            `json:"resourceVersion,omitempty"`
	Labels          map[string]string `json:"labels,omitempty"`
	Annotations     map[string]string `json:"annotations,omitempty"`
	Deleted         *time.Time        `json:"deletionTimestamp,omitempty"`
	ManagedFields   []managedFields   `json:"managedFields,omitempty"`
}

type managedFields struct {
	Manager     string     `json:"manager"`
	Subresource string     `json:"subresource"`
	Time        *time.Time `json:"time"`
}

// A page is a part of a list of objects, or only of their metadata.
type page struct {
	Kind     string `json:"kind"`
	Metadata struct {
		Continue string `json:"continue"`
	} `json:"metadata"`
	Items []object `json:"items"`
}

// The Accept headers for answers without values
// (https://kubernetes.io/docs/reference/using-api/api-concepts/#metadata-only-fetches).
const (
	partialKind = "PartialObjectMetadata"
	wholeType   = "application/json"
	partialType = "application/json;as=" + partialKind + ";g=meta.k8s.io;v=v1"
	partialList = "application/json;as=" + partialKind + "List;g=meta.k8s.io;v=v1"
)

// newObject returns the object that stores an entry.
func (p place) newObject(name store.Name, value store.Secret, write string, now time.Time) object {
	k := kindOf(name)
	o := object{
		APIVersion: "v1", Kind: k.name,
		Metadata: metadata{
			Name: p.objectName(name), Labels: p.labels(name),
			Annotations: map[string]string{
				nameNote: name.String(), prefixNote: p.prefix, writeNote: write, writtenNote: now.UTC().Format(time.RFC3339Nano),
			},
		},
		Data: map[string]string{valueKey: value.Reveal()},
	}
	if k == secret {
		o.Type = entryType
		o.Data[valueKey] = base64.StdEncoding.EncodeToString([]byte(value.Reveal()))
	}
	return o
}

// errNoObject does not repeat the text, which may be a secret.
var errNoObject = errors.New("the answer is not from a Kubernetes API server")

// decodeInto decodes one JSON value and checks its kind.
func decodeInto(body []byte, want string, into any, kind *string) error {
	dec := json.NewDecoder(bytes.NewReader(body))
	if dec.Decode(into) != nil || dec.More() || *kind != want {
		return errNoObject
	}
	return nil
}

func decodeObject(body []byte, want string) (object, error) {
	var o object
	err := decodeInto(body, want, &o, &o.Kind)
	if err == nil && (o.Metadata.Name == "" || o.Metadata.UID == "" || o.Metadata.ResourceVersion == "") {
		err = errNoObject
	}
	return o, err
}

func decodePage(body []byte, want string) (page, error) {
	var l page
	err := decodeInto(body, want, &l, &l.Kind)
	return l, err
}

// check returns an error unless the object is the entry of that name.
func (p place) check(m metadata, name store.Name) error {
	found, err := p.nameOf(kindOf(name), m)
	if err == nil && found != name {
		err = fmt.Errorf("its annotation %s names another entry", nameNote)
	}
	return err
}

// nameOf returns the name of the entry that an object stores. An object that is not as
// this store writes it is an error: losing an annotation must not lift a block.
func (p place) nameOf(k kind, m metadata) (store.Name, error) {
	for label, want := range p.ownLabels() {
		if m.Labels[label] != want {
			return store.Name{}, fmt.Errorf("it lacks the label %s=%s of this store", label, want)
		}
	}
	name, err := store.ParseName(m.Annotations[nameNote])
	switch {
	case err != nil:
		return store.Name{}, fmt.Errorf("its annotation %s is not a name of an entry", nameNote)
	case m.Annotations[prefixNote] != p.prefix:
		return store.Name{}, fmt.Errorf("its annotation %s is not this store's prefix", prefixNote)
	case m.Name != p.objectName(name) || kindOf(name) != k:
		return store.Name{}, fmt.Errorf("its annotation %s names another object", nameNote)
	}
	return name, nil
}

// damaged reports a bad value in an object of this store.
type damaged struct{ error }

func (damaged) Is(target error) bool { return target == store.ErrDamaged }

// entry decodes the value. The error wraps [store.ErrDamaged] if the object is this
// entry's.
func (p place) entry(o object, name store.Name) (store.Entry, error) {
	if err := p.check(o.Metadata, name); err != nil {
		return store.Entry{}, err
	}
	text, ok := o.Data[valueKey]
	if !ok {
		return store.Entry{}, damaged{fmt.Errorf("it has no %s in its data", valueKey)}
	}
	if kindOf(name) == secret {
		data, err := base64.StdEncoding.DecodeString(text)
		if err != nil || o.Type != entryType {
			return store.Entry{}, damaged{fmt.Errorf("it must be a Secret of type %s with text in it", entryType)}
		}
		text = string(data)
	}
	value := store.NewSecret(text)
	if err := value.Check(); err != nil {
		return store.Entry{}, damaged{err}
	}
	modified, err := o.Metadata.modified()
	return store.Entry{Value: value, Modified: modified, Version: o.Metadata.ResourceVersion}, err
}

// modified returns when gatepass last wrote the object, by the server's clock, in whole
// seconds: the server records the time of each change by each writer, and every write
// of gatepass changes an annotation. If that record was lost, as in a backup, modified
// returns the time by the writer's clock.
func (m metadata) modified() (time.Time, error) {
	for _, f := range m.ManagedFields {
		if f.Manager == manager && f.Subresource == "" && f.Time != nil {
			return *f.Time, nil
		}
	}
	at, err := time.Parse(time.RFC3339Nano, m.Annotations[writtenNote])
	if err != nil {
		return time.Time{}, fmt.Errorf("neither its managedFields nor its annotation %s says when it was written", writtenNote)
	}
	return at, nil
}

// Marks on every object of the store. Lists select by labels; a read compares
// annotations.
const (
	manager        = "gatepass"
	managedByLabel = "app.kubernetes.io/managed-by"

	domain       = "gatepass.dev/"
	storeLabel   = domain + "store"   // a hash of the prefix
	folderLabel  = domain + "folder-" // followed by a number n: the first n segments of the name
	recordLabel  = domain + "record"  // on ledger records
	nameNote     = domain + "name"
	prefixNote   = domain + "prefix"
	writtenNote  = domain + "written" // time of the write, by the writer's clock
	writeNote    = domain + "write"   // tells each write from every other
	entryType    = domain + "entry"   // of Secrets
	valueKey     = "value"            // in data
	namePrefix   = manager + "-"      // of objects
	maxReadable  = 100                // bytes of the readable part of an object's name
	maxLabel     = 63                 // bytes of a label value
	folderLabels = 3                  // depth, in segments, of the deepest folder that is listed
	lowerBase32  = "0123456789abcdefghijklmnopqrstuv"
	resourceAPI  = "api/v1/namespaces/" // of both kinds
)

// A kind is a kind of object that stores entries.
type kind struct{ name, resource string }

var (
	secret    = kind{"Secret", "secrets"}
	configMap = kind{"ConfigMap", "configmaps"}
)

// plainFolders contain markers without secrets, which brokers list frequently. Listing
// Secrets costs the server work in proportion to all Secrets of the namespace, whatever
// the selector.
var plainFolders = []string{
	store.AllBlocks().String(), store.Deliveries().String(), store.UsedProofs().String(), path.Dir(store.Redeemed([32]byte{}).String()),
}

func kindOf(name store.Name) kind {
	for _, folder := range plainFolders {
		if strings.HasPrefix(name.String(), folder+"/") {
			return configMap
		}
	}
	return secret
}

// kindsBelow returns the kinds of the objects that can be below a prefix.
func kindsBelow(below store.Prefix) []kind {
	inside := below.String() + "/"
	var above bool
	for _, folder := range plainFolders {
		if strings.HasPrefix(inside, folder+"/") {
			return []kind{configMap}
		}
		above = above || below == store.Everything() || strings.HasPrefix(folder, inside)
	}
	if above {
		return []kind{secret, configMap}
	}
	return []kind{secret}
}

// A place is where a store's entries are: a namespace, and a prefix that distinguishes
// them from other stores in it.
type place struct{ namespace, prefix string }

// objectName turns a name into a DNS-1123 subdomain of at most 253 bytes: a readable
// beginning, and a hash that makes it unique.
func (p place) objectName(name store.Name) string {
	sum := sha256.Sum256([]byte(p.prefix + "\x00" + name.String()))
	hash := base32.NewEncoding(lowerBase32).WithPadding(base32.NoPadding).EncodeToString(sum[:20])
	return namePrefix + readable(name.String()) + "-" + hash
}

// readable reduces text to letters, digits and hyphens.
func readable(text string) string {
	text = strings.ToLower(text[:min(len(text), maxReadable)])
	return strings.Trim(strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || '0' <= r && r <= '9' {
			return r
		}
		return '-'
	}, text), "-")
}

// labels returns the labels by which lists find the entry.
func (p place) labels(name store.Name) map[string]string {
	labels := p.ownLabels()
	segments := strings.Split(name.String(), "/")
	for n := 1; n < len(segments) && n <= folderLabels; n++ {
		labels[folderLabel+strconv.Itoa(n)] = labelValue(strings.Join(segments[:n], "/"))
	}
	if name.IsRecord() {
		labels[recordLabel] = "true"
	}
	return labels
}

// ownLabels returns the labels of every entry of this store.
func (p place) ownLabels() map[string]string {
	sum := sha256.Sum256([]byte(p.prefix))
	return map[string]string{managedByLabel: manager, storeLabel: hex.EncodeToString(sum[:16])}
}

// labelsBelow returns labels that every entry below a prefix has, and few others.
func (p place) labelsBelow(below store.Prefix) map[string]string {
	labels := p.ownLabels()
	if below == store.Everything() {
		return labels
	}
	segments := strings.Split(below.String(), "/")
	n := min(len(segments), folderLabels)
	labels[folderLabel+strconv.Itoa(n)] = labelValue(strings.Join(segments[:n], "/"))
	return labels
}

// labelValue turns a folder into a label value: with dots for slashes, or a hash if
// that is not a valid value. Two folders may have the same value.
func labelValue(folder string) string {
	value := strings.ReplaceAll(folder, "/", ".")
	if last := value[len(value)-1]; len(value) <= maxLabel && strings.IndexByte("._-", last) < 0 {
		return value
	}
	sum := sha256.Sum256([]byte(folder))
	return hex.EncodeToString(sum[:16])
}
