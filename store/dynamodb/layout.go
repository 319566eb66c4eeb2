package dynamodb

import (
	"crypto/sha256"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/gatepass/gatepass/store"
)

// The attributes of an item. Names and formats are a contract: other versions of
// gatepass and the policies of deploy/aws/dynamodb.yaml depend on them.
const (
	attrShard    = "shard"     // partition key
	attrEntry    = "entry"     // sort key: the entry's whole name
	attrContent  = "content"   // the value
	attrWritten  = "written"   // time of the write, in microseconds since 1970
	attrVersion  = "version"   // random, new with each write
	attrRecord   = "record"    // true for a workspace's ledger record; absent otherwise
	attrDue      = "due"       // when the entry is due, in microseconds since 1970; absent means never
	attrDueShard = "due_shard" // partition key of the index; absent without attrDue
	attrEnds     = "ends"      // when DynamoDB may delete the item, in seconds since 1970; absent means never
)

// dueIndex is the index over attrDueShard and attrDue. It contains only the keys.
const dueIndex = "due"

// A DynamoDB partition takes 1,000 writes and 3,000 reads a second, whatever the
// table's capacity. Entries of workspaces are spread by the workspace's ID; entries of
// one workspace are in one partition, so that one call lists them. The index is read in
// each round and written less often, so it has fewer shards. These numbers must never
// change.
const (
	workspaceShards = 16
	dueShards       = 4

	configShard = "config"
	otherShard  = "other" // brokers' entries: blocks, proofs that were used, sessions
)

// ttlGrace is how long after an entry is due DynamoDB may delete it, if gatepass has not.
// DynamoDB never deletes ledger records.
const ttlGrace = 24 * time.Hour

// shardOf returns the partition of a name, or of a prefix of two or more segments.
func shardOf(path string) (shard, due string) {
	first, rest, _ := strings.Cut(path, "/")
	id, _, _ := strings.Cut(rest, "/")
	switch {
	case first == store.Workspaces().String() && id != "":
		n := int(sha256.Sum256([]byte(id))[0]) % workspaceShards
		return workspaceShard(n), workspaceDueShard(n % dueShards)
	case first == configShard:
		return configShard, configShard
	}
	return otherShard, otherShard
}

func workspaceShard(n int) string    { return fmt.Sprintf("w-%02d", n) }
func workspaceDueShard(n int) string { return "w-" + strconv.Itoa(n) }

// shardsBelow returns the partitions, of the table and of the index, that may have
// names below a prefix.
func shardsBelow(below store.Prefix) (shards, due []string) {
	everything := below == store.Everything()
	if !everything && below != store.Workspaces() {
		shard, due := shardOf(below.String())
		return []string{shard}, []string{due}
	}
	for n := range workspaceShards {
		shards = append(shards, workspaceShard(n))
	}
	for n := range dueShards {
		due = append(due, workspaceDueShard(n))
	}
	if everything {
		shards, due = append(shards, configShard, otherShard), append(due, configShard, otherShard)
	}
	return shards, due
}

// An item is an entry as DynamoDB stores it.
type item = map[string]types.AttributeValue

func text(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }
func number(n int64) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatInt(n, 10)}
}

// keyOf returns the primary key of an entry's item.
func keyOf(path string) item {
	shard, _ := shardOf(path)
	return item{attrShard: text(shard), attrEntry: text(path)}
}

// encode returns an entry's item. A zero due means never.
func encode(name store.Name, value store.Secret, version string, written, due time.Time) item {
	it := keyOf(name.String())
	it[attrContent] = text(value.Reveal())
	it[attrVersion] = text(version)
	it[attrWritten] = number(written.UnixMicro())
	if name.IsRecord() {
		it[attrRecord] = &types.AttributeValueMemberBOOL{Value: true}
	}
	if due.IsZero() {
		return it
	}
	_, shard := shardOf(name.String())
	it[attrDue], it[attrDueShard] = number(due.UnixMicro()), text(shard)
	if !name.IsRecord() {
		it[attrEnds] = number(due.Add(ttlGrace).Unix())
	}
	return it
}

// decode returns the entry of an item, or store.ErrDamaged if a part is missing.
func decode(it item) (store.Entry, error) {
	content, version := textOf(it, attrContent), textOf(it, attrVersion)
	written, ok := timeOf(it, attrWritten)
	if content == "" || version == "" || !ok {
		return store.Entry{}, store.ErrDamaged
	}
	return store.Entry{Value: store.NewSecret(content), Modified: written, Version: version}, nil
}

// nameOf returns the name of an item. ok is false if this store would not store that
// name there.
func nameOf(it item) (name store.Name, ok bool) {
	path := textOf(it, attrEntry)
	name, err := store.ParseName(path)
	shard, _ := shardOf(path)
	return name, err == nil && textOf(it, attrShard) == shard
}

func textOf(it item, attribute string) string {
	if s, ok := it[attribute].(*types.AttributeValueMemberS); ok {
		return s.Value
	}
	return ""
}

func timeOf(it item, attribute string) (time.Time, bool) {
	n, ok := it[attribute].(*types.AttributeValueMemberN)
	if !ok {
		return time.Time{}, false
	}
	micro, err := strconv.ParseInt(n.Value, 10, 64)
	return time.UnixMicro(micro), err == nil
}
