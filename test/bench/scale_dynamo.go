package main

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// dynamoPage is how much DynamoDB reads for one page of a query, in bytes.
const dynamoPage = 1 << 20

// dynamoTable is a double of the part of AWS's DynamoDB that gatepass calls: one table
// with its index of due entries. It answers at once, and accepts only the expressions
// that gatepass writes.
type dynamoTable struct {
	mu     sync.Mutex              // guards the rest
	shards map[string]dynamoRow    // by the partition key
	index  map[string][]dynamoItem // items with a due time, by the index's partition key, earliest first
	items  map[string]dynamoItem
}

// A dynamoRow is a partition in the order of the sort key: the entry's name.
type dynamoRow []string

// A dynamoItem has attributes in the API's form, as in {"S": "text"}.
type dynamoItem map[string]map[string]any

func (it dynamoItem) text(name string) string { s, _ := it[name]["S"].(string); return s }

func (it dynamoItem) number(name string) int64 {
	text, _ := it[name]["N"].(string)
	n, _ := strconv.ParseInt(text, 10, 64)
	return n
}

// size returns the bytes that DynamoDB charges for: names and values.
func (it dynamoItem) size() (n int) {
	for name, value := range it {
		n += len(name) + 1
		for _, v := range value {
			if text, ok := v.(string); ok {
				n += len(text)
			}
		}
	}
	return n
}

// A dynamoError is AWS's error code of a refusal, with the existing item.
type dynamoError struct {
	code string
	item dynamoItem
}

func (e dynamoError) Error() string { return e.code }

// dynamoQuery has the fields of every request.
type dynamoQuery struct {
	Key, Item, ExclusiveStartKey dynamoItem
	RequestItems                 map[string]struct{ Keys []dynamoItem }
	IndexName                    string
	Limit                        int
	KeyConditionExpression       string
	ConditionExpression          string
	FilterExpression             string
	ExpressionAttributeValues    dynamoItem
}

// ServeHTTP answers AWS JSON 1.0.
func (d *dynamoTable) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var q dynamoQuery
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 16<<20))
	if err == nil {
		err = json.Unmarshal(body, &q)
	}
	var answer any
	if err == nil {
		answer, err = d.answer(awsOperation(r), q)
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	if err != nil {
		code, refused := "SerializationException", map[string]any{}
		if e, ok := err.(dynamoError); ok {
			code, refused["Item"] = e.code, e.item
		}
		refused["__type"] = "com.amazonaws.dynamodb.v20120810#" + code
		w.WriteHeader(http.StatusBadRequest)
		answer = refused
	}
	_ = json.NewEncoder(w).Encode(answer)
}

func (d *dynamoTable) answer(operation string, q dynamoQuery) (any, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch operation {
	case "GetItem":
		if it, ok := d.items[q.Key.text("entry")]; ok {
			return map[string]any{"Item": it}, nil
		}
		return struct{}{}, nil
	case "BatchGetItem":
		return d.batch(q), nil
	case "PutItem":
		return struct{}{}, d.put(q)
	case "DeleteItem":
		if err := d.check(q, d.items[q.Key.text("entry")]); err != nil {
			return nil, err
		}
		d.remove(q.Key.text("entry"))
		return struct{}{}, nil
	case "Query":
		return d.query(q)
	}
	return nil, dynamoError{code: "ValidationException"}
}

func (d *dynamoTable) batch(q dynamoQuery) any {
	responses := map[string][]dynamoItem{}
	for table, wanted := range q.RequestItems {
		for _, key := range wanted.Keys {
			if it, ok := d.items[key.text("entry")]; ok {
				responses[table] = append(responses[table], it)
			}
		}
	}
	return map[string]any{"Responses": responses, "UnprocessedKeys": struct{}{}}
}

// check checks an item against the condition of a write.
func (d *dynamoTable) check(q dynamoQuery, there dynamoItem) error {
	switch q.ConditionExpression {
	case "":
	case "attribute_not_exists(#entry)":
		if there != nil {
			return dynamoError{"ConditionalCheckFailedException", there}
		}
	case "#version = :version":
		if there == nil || there.text("version") != q.ExpressionAttributeValues.text(":version") {
			return dynamoError{"ConditionalCheckFailedException", there}
		}
	default:
		return dynamoError{code: "ValidationException"}
	}
	return nil
}

func (d *dynamoTable) put(q dynamoQuery) error {
	name := q.Item.text("entry")
	if err := d.check(q, d.items[name]); err != nil {
		return err
	}
	if d.items == nil {
		d.items, d.shards, d.index = map[string]dynamoItem{}, map[string]dynamoRow{}, map[string][]dynamoItem{}
	}
	d.unindex(d.items[name])
	if shard := q.Item.text("due_shard"); shard != "" { // the index holds only keys
		keys := dynamoItem{"shard": q.Item["shard"], "entry": q.Item["entry"], "due_shard": q.Item["due_shard"], "due": q.Item["due"]}
		at, _ := slices.BinarySearchFunc(d.index[shard], keys, byDue)
		d.index[shard] = slices.Insert(d.index[shard], at, keys)
	}
	if _, ok := d.items[name]; !ok {
		row := d.shards[q.Item.text("shard")]
		at, _ := slices.BinarySearch(row, name)
		d.shards[q.Item.text("shard")] = slices.Insert(row, at, name)
	}
	d.items[name] = q.Item
	return nil
}

func (d *dynamoTable) remove(name string) {
	it, ok := d.items[name]
	if !ok {
		return
	}
	d.unindex(it)
	row := d.shards[it.text("shard")]
	at, _ := slices.BinarySearch(row, name)
	d.shards[it.text("shard")] = slices.Delete(row, at, at+1)
	delete(d.items, name)
}

// query returns a page of a partition: from the table the items between two names, or
// from the index the items due before a time.
func (d *dynamoTable) query(q dynamoQuery) (any, error) {
	values := q.ExpressionAttributeValues
	var found []dynamoItem
	switch q.KeyConditionExpression {
	case "#shard = :shard AND #entry BETWEEN :first AND :last":
		row := d.shards[values.text(":shard")]
		from, _ := slices.BinarySearch(row, max(values.text(":first"), q.ExclusiveStartKey.text("entry")))
		for _, name := range row[from:] {
			if name > values.text(":last") {
				break
			}
			if name != q.ExclusiveStartKey.text("entry") {
				found = append(found, d.items[name])
			}
		}
	case "#due_shard = :shard AND #due < :before":
		found = d.due(values.text(":shard"), values.number(":before"), q.ExclusiveStartKey)
	default:
		return nil, dynamoError{code: "ValidationException"}
	}
	return q.page(found)
}

// byDue compares items in the order of the index.
func byDue(a, b dynamoItem) int {
	return cmp.Or(cmp.Compare(a.number("due"), b.number("due")), cmp.Compare(a.text("entry"), b.text("entry")))
}

// unindex removes an item from the index, if it is there.
func (d *dynamoTable) unindex(it dynamoItem) {
	shard := it.text("due_shard")
	if at, ok := slices.BinarySearchFunc(d.index[shard], it, byDue); ok {
		d.index[shard] = slices.Delete(d.index[shard], at, at+1)
	}
}

// due returns the index's items due before a time, earliest first.
func (d *dynamoTable) due(shard string, before int64, after dynamoItem) []dynamoItem {
	row, from := d.index[shard], 0
	if after != nil {
		at, isThere := slices.BinarySearchFunc(row, after, byDue)
		if from = at; isThere {
			from++
		}
	}
	to, _ := slices.BinarySearchFunc(row, before, func(it dynamoItem, before int64) int { return cmp.Compare(it.number("due"), before) })
	return row[min(from, to):to]
}

// page returns what one page reads, without what the filter excludes.
func (q dynamoQuery) page(found []dynamoItem) (any, error) {
	read, kept := 0, []dynamoItem{}
	for i, it := range found {
		if read += it.size(); i > 0 && read > dynamoPage || q.Limit > 0 && i == q.Limit {
			last := found[i-1]
			key := dynamoItem{"shard": last["shard"], "entry": last["entry"]}
			if q.IndexName != "" {
				key["due_shard"], key["due"] = last["due_shard"], last["due"]
			}
			return map[string]any{"Items": kept, "Count": len(kept), "LastEvaluatedKey": key}, nil
		}
		switch q.FilterExpression {
		case "":
			kept = append(kept, it)
		case "attribute_exists(#record)":
			if it["record"] != nil {
				kept = append(kept, it)
			}
		default:
			return nil, dynamoError{code: "ValidationException"}
		}
	}
	return map[string]any{"Items": kept, "Count": len(kept)}, nil
}

// dues returns when the entries are due, by name.
func (d *dynamoTable) dues() map[string]time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	dues := map[string]time.Time{}
	for name, it := range d.items {
		if it["due"] != nil {
			dues[name] = time.UnixMicro(it.number("due"))
		}
	}
	return dues
}

// age makes the table's configuration an hour old.
func (d *dynamoTable) age(context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, it := range d.items {
		if strings.HasPrefix(name, "config/") {
			old := it.number("written") - time.Hour.Microseconds()
			it["written"] = map[string]any{"N": strconv.FormatInt(old, 10)}
		}
	}
	return nil
}
