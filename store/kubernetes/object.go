package kubernetes

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
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

// A page is a part of a list of objects, or of their metadata alone.
type page struct {
	Kind     string `json:"kind"`
	Metadata struct {
		Continue string `json:"continue"`
	} `json:"metadata"`
	Items []object `json:"items"`
}

// What the server is asked for where no value is needed
// (https://kubernetes.io/docs/reference/using-api/api-concepts/#metadata-only-fetches).
const (
	partialKind = "PartialObjectMetadata"
	wholeType   = "application/json"
	partialType = "application/json;as=" + partialKind + ";g=meta.k8s.io;v=v1"
	partialList = "application/json;as=" + partialKind + "List;g=meta.k8s.io;v=v1"
)

// newObject is what an entry is written as.
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

// errNoObject never repeats the text, which may be a secret.
var errNoObject = errors.New("the answer is no answer of a Kubernetes API server")

// decodeInto reads one JSON value whose kind is the one that was asked for.
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
		err = fmt.Errorf("its annotation %s is that of another entry", nameNote)
	}
	return err
}

// nameOf returns the name of the entry that an object is. What is not, or not
// any more, as this store writes it, is an error: a block must not be lifted by the
// loss of an annotation.
func (p place) nameOf(k kind, m metadata) (store.Name, error) {
	for label, want := range p.ownLabels() {
		if m.Labels[label] != want {
			return store.Name{}, fmt.Errorf("it lacks the label %s=%s: it is not this store's", label, want)
		}
	}
	name, err := store.ParseName(m.Annotations[nameNote])
	switch {
	case err != nil:
		return store.Name{}, fmt.Errorf("its annotation %s is no name of an entry", nameNote)
	case m.Annotations[prefixNote] != p.prefix:
		return store.Name{}, fmt.Errorf("its annotation %s is not this store's prefix", prefixNote)
	case m.Name != p.objectName(name) || kindOf(name) != k:
		return store.Name{}, fmt.Errorf("its annotation %s is that of another object", nameNote)
	}
	return name, nil
}

// damaged is what is wrong with the value of an object that is ours.
type damaged struct{ error }

func (damaged) Is(target error) bool { return target == store.ErrDamaged }

// entry reads the value. The error wraps [store.ErrDamaged] where the object is
// this entry's.
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
			return store.Entry{}, damaged{fmt.Errorf("it is no Secret of type %s with text in it", entryType)}
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

// modified is when gatepass last wrote the object, by the server's clock, in
// whole seconds: the server notes the time of each change by each writer, and
// every write of ours changes an annotation. Where that note was lost, as it is
// in a backup, it is by the writer's clock.
func (m metadata) modified() (time.Time, error) {
	for _, f := range m.ManagedFields {
		if f.Manager == manager && f.Subresource == "" && f.Time != nil {
			return *f.Time, nil
		}
	}
	at, err := time.Parse(time.RFC3339Nano, m.Annotations[writtenNote])
	if err != nil {
		return time.Time{}, fmt.Errorf("it does not say when it was written, neither in its managedFields nor in its annotation %s", writtenNote)
	}
	return at, nil
}
