package kubernetes

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"path"
	"strconv"
	"strings"

	"github.com/gatepass/gatepass/store"
)

// What every object of ours carries. Labels are what lists are narrowed by, and
// annotations what is compared when one is read.
const (
	manager        = "gatepass"
	managedByLabel = "app.kubernetes.io/managed-by"

	domain       = "gatepass.dev/"
	storeLabel   = domain + "store"   // a hash of the prefix
	folderLabel  = domain + "folder-" // and a number: the first so many segments of the name
	recordLabel  = domain + "record"  // on ledger records
	nameNote     = domain + "name"
	prefixNote   = domain + "prefix"
	writtenNote  = domain + "written" // when, by the writer's clock
	writeNote    = domain + "write"   // tells each write from every other
	entryType    = domain + "entry"   // of Secrets
	valueKey     = "value"            // in data
	namePrefix   = manager + "-"      // of objects
	maxReadable  = 100                // of a name, in the object's
	maxLabel     = 63                 // bytes of a label's value
	folderLabels = 3                  // the deepest folder that is listed has so many segments
	lowerBase32  = "0123456789abcdefghijklmnopqrstuv"
	resourceAPI  = "api/v1/namespaces/" // of both kinds
)

// A kind is a kind of object that entries are.
type kind struct{ name, resource string }

var (
	secret    = kind{"Secret", "secrets"}
	configMap = kind{"ConfigMap", "configmaps"}
)

// plainFolders have markers without secrets, which brokers list all the time. A
// list of Secrets is work for the server in proportion to all Secrets of the
// namespace, whatever it is narrowed by.
var plainFolders = []string{
	store.AllBlocks().String(), store.Deliveries().String(), store.AllSpent().String(), path.Dir(store.Redeemed([32]byte{}).String()),
}

func kindOf(name store.Name) kind {
	for _, folder := range plainFolders {
		if strings.HasPrefix(name.String(), folder+"/") {
			return configMap
		}
	}
	return secret
}

// kindsBelow are the kinds of what can be below a prefix.
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

// A place is where a store's entries are: a namespace, and a prefix that tells
// them from those of other stores there.
type place struct{ namespace, prefix string }

// objectName makes a DNS-1123 subdomain, of at most 253 bytes, of a name: a
// beginning for people, and a hash that tells it from every other.
func (p place) objectName(name store.Name) string {
	sum := sha256.Sum256([]byte(p.prefix + "\x00" + name.String()))
	hash := base32.NewEncoding(lowerBase32).WithPadding(base32.NoPadding).EncodeToString(sum[:20])
	return namePrefix + readable(name.String()) + "-" + hash
}

// readable is text in letters, digits and hyphens.
func readable(text string) string {
	text = strings.ToLower(text[:min(len(text), maxReadable)])
	return strings.Trim(strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || '0' <= r && r <= '9' {
			return r
		}
		return '-'
	}, text), "-")
}

// labels are what lists find the entry by.
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

// ownLabels are on every entry of this store.
func (p place) ownLabels() map[string]string {
	sum := sha256.Sum256([]byte(p.prefix))
	return map[string]string{managedByLabel: manager, storeLabel: hex.EncodeToString(sum[:16])}
}

// labelsBelow are on every entry below a prefix, and on few others.
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

// labelValue is a folder as a label's value: with dots for slashes, or a hash
// where that is none. Two folders may share one.
func labelValue(folder string) string {
	value := strings.ReplaceAll(folder, "/", ".")
	if last := value[len(value)-1]; len(value) <= maxLabel && strings.IndexByte("._-", last) < 0 {
		return value
	}
	sum := sha256.Sum256([]byte(folder))
	return hex.EncodeToString(sum[:16])
}
