package dynamodb

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/gatepass/gatepass/store"
)

func named(t *testing.T, text string) store.Name {
	t.Helper()
	name, err := store.ParseName(text)
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// An entry that another version of gatepass looks for in another partition is lost.
func TestPartitionsStayWhereTheyAre(t *testing.T) {
	for _, test := range []struct{ name, shard, due string }{
		{"config/github/private-key", "config", "config"},
		{"config/github/installations/acme", "config", "config"},
		{"broker/barred/workspaces/sb-1", "other", "other"},
		{"broker/spent/00", "other", "other"},
		{"sandbox/sb-1/workspace", "w-07", "w-3"},
		{"sandbox/sb-1/github-tokens/acme", "w-07", "w-3"},
		{"sandbox/sb-2/workspace", "w-06", "w-2"},
		{"sandbox/ci-123/vended/0011223344556677", "w-04", "w-0"},
		{"sandbox", "other", "other"},
		{"x", "other", "other"},
	} {
		if shard, due := shardOf(test.name); shard != test.shard || due != test.due {
			t.Errorf("shardOf(%s) = %s, %s, want %s, %s", test.name, shard, due, test.shard, test.due)
		}
	}
}

// A partition that has much more than its share is the limit of the whole table.
func TestWorkspacesAreSpread(t *testing.T) {
	const n = 100_000
	shards, dues := map[string]int{}, map[string]int{}
	for i := range n {
		shard, due := shardOf(fmt.Sprintf("sandbox/sb-%06d/workspace", i))
		shards[shard]++
		dues[due]++
	}
	for _, test := range []struct {
		counts map[string]int
		want   int
	}{{shards, workspaceShards}, {dues, dueShards}} {
		if len(test.counts) != test.want {
			t.Errorf("%d partitions are used, want %d", len(test.counts), test.want)
		}
		for shard, count := range test.counts {
			if share := n / test.want; count > share*11/10 {
				t.Errorf("%s has %d of %d workspaces, want about %d", shard, count, n, share)
			}
		}
	}
}

// Every name is in one of the partitions that are read for each folder it is below.
func TestFoldersHaveTheirNames(t *testing.T) {
	a, err := store.Workspace("a")
	if err != nil {
		t.Fatal(err)
	}
	for _, below := range []store.Prefix{store.Everything(), store.Workspaces(), a, store.Installations(), store.AllBlocks(), store.UsedProofs()} {
		shards, dues := shardsBelow(below)
		for _, text := range []string{
			"config/github/installations/acme", "config/x", "config", "sandbox/a/workspace", "sandbox/b/github-tokens/acme", "sandbox/a", "sandbox",
			"broker/barred/app/all", "broker/spent/00", "else/x", "x",
		} {
			name := named(t, text)
			if !below.Has(name) {
				continue
			}
			shard, due := shardOf(text)
			if !slices.Contains(shards, shard) || !slices.Contains(dues, due) {
				t.Errorf("%s is in %s and %s, which are not read for %q: %v, %v", text, shard, due, below, shards, dues)
			}
			if first, last := span(below, store.Name{}); text < first || text > last {
				t.Errorf("%s is not between %s and %s", text, first, last)
			}
			if first, last := span(below, name); text >= first || text+"-" < first || text+"zz" > last {
				t.Errorf("after %s begins at %s", text, first)
			}
		}
	}
}

// Another version of gatepass reads what this one writes: names and forms stay.
func TestItem(t *testing.T) {
	written := time.Date(2030, 1, 2, 3, 4, 5, 678_901_000, time.UTC)
	due := written.Add(time.Hour)
	for _, test := range []struct {
		name string
		due  time.Time
		want string
	}{
		{"sandbox/sb-1/workspace", due, "content=S:v due=N:1893557045678901 due_shard=S:w-3 entry=S:sandbox/sb-1/workspace record=BOOL shard=S:w-07 version=S:1 written=N:1893553445678901"},
		{"sandbox/sb-1/vended/0011223344556677", due, "content=S:v due=N:1893557045678901 due_shard=S:w-3 ends=N:1893643445 entry=S:sandbox/sb-1/vended/0011223344556677 shard=S:w-07 version=S:1 written=N:1893553445678901"},
		{"config/github/signer", time.Time{}, "content=S:v entry=S:config/github/signer shard=S:config version=S:1 written=N:1893553445678901"},
	} {
		it := encode(named(t, test.name), store.NewSecret("v"), "1", written, test.due)
		if got := spell(it); got != test.want {
			t.Errorf("encode(%s) =\n%s, want\n%s", test.name, got, test.want)
		}
		entry, err := decode(it)
		if err != nil || entry.Value.Reveal() != "v" || entry.Version != "1" || !entry.Modified.Equal(written) {
			t.Errorf("decode = %v, %v, %v, want it back", entry.Version, entry.Modified, err)
		}
		if name, ok := nameOf(it); !ok || name.String() != test.name {
			t.Errorf("nameOf = %s, %v, want %s", name, ok, test.name)
		}
	}
}

func spell(it item) string {
	var parts []string
	for attribute, value := range it {
		switch v := value.(type) {
		case *types.AttributeValueMemberS:
			parts = append(parts, attribute+"=S:"+v.Value)
		case *types.AttributeValueMemberN:
			parts = append(parts, attribute+"=N:"+v.Value)
		case *types.AttributeValueMemberBOOL:
			parts = append(parts, attribute+"=BOOL")
		}
	}
	slices.Sort(parts)
	return strings.Join(parts, " ")
}

func TestWhatIsNoItemOfOurs(t *testing.T) {
	whole := func() item {
		return encode(store.Signer(), store.NewSecret("v"), "1", time.Now(), time.Time{})
	}
	for _, attribute := range []string{attrContent, attrVersion, attrWritten} {
		it := whole()
		delete(it, attribute)
		if _, err := decode(it); !errors.Is(err, store.ErrDamaged) {
			t.Errorf("decode without %s = %v, want ErrDamaged", attribute, err)
		}
		it[attribute] = text("")
		if _, err := decode(it); !errors.Is(err, store.ErrDamaged) {
			t.Errorf("decode with an empty %s = %v, want ErrDamaged", attribute, err)
		}
	}
	for _, test := range []struct{ shard, entry string }{{"other", "config/github/signer"}, {"config", "../x"}, {"config", ""}, {"other", "a b"}} {
		if name, ok := nameOf(item{attrShard: text(test.shard), attrEntry: text(test.entry)}); ok {
			t.Errorf("nameOf(%s, %q) = %s, want none", test.shard, test.entry, name)
		}
	}
}
