package store_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/storetest"
)

// A store keeps the tokens of a workspace under names of the layout.
func Example() {
	ctx := context.Background()
	var s store.Store = new(storetest.Memory) // or that of a URL, by issuing.OpenStore

	name, err := store.Token("sb-1a2b3c", "Acme")
	if err == nil {
		err = s.Put(ctx, name, store.NewSecret("ghs_abc"), store.Replace)
	}
	if err != nil {
		panic(err)
	}
	folder, _ := store.Workspace("sb-1a2b3c")
	for name, err := range s.List(ctx, folder) {
		fmt.Println(name, err)
	}
	// Output:
	// sandbox/sb-1a2b3c/github-tokens/acme <nil>
}

// One of several callers creates an entry. The others get an error that says so.
func ExampleStore_createOnly() {
	ctx, s := context.Background(), new(storetest.Memory)
	name, _ := store.Lock("sb-1a2b3c")
	for range 2 {
		err := s.Put(ctx, name, store.NewSecret("mine"), store.CreateOnly)
		fmt.Println(err == nil, errors.Is(err, store.ErrExists))
	}
	// Output:
	// true false
	// false true
}

// A Secret does not print its value. Reveal returns it.
func ExampleSecret() {
	value := store.NewSecret("ghs_abc")
	fmt.Println(value)
	fmt.Printf("%+v %d\n", struct{ Token store.Secret }{value}, len(value.Reveal()))
	// Output:
	// [secret]
	// {Token:[secret]} 7
}

// An operator's block is an entry that all brokers and refreshers read before they mint.
func ExampleReadBlocks() {
	ctx, s := context.Background(), new(storetest.Memory)
	name, _ := store.BlockedOwner("acme")
	if err := store.Block(ctx, s, name, store.NewSecret("{}"), time.Time{}); err != nil {
		panic(err)
	}
	blocks, err := store.ReadBlocks(ctx, s)
	fmt.Println(blocks.Has("sb-1a2b3c", "acme"), blocks.Has("sb-1a2b3c", "octo"), err)
	// Output:
	// true false <nil>
}

// A lease is held by one replica at a time.
func ExampleLease() {
	ctx, s := context.Background(), new(storetest.Memory)
	one, other := &store.Lease{Store: s, Name: store.Upkeep(), Holder: "a", Duration: time.Minute}, &store.Lease{Store: s, Name: store.Upkeep(), Holder: "b", Duration: time.Minute}
	for _, l := range []*store.Lease{one, other} {
		isHeld, err := l.Hold(ctx, "")
		fmt.Println(isHeld, err)
	}
	// Output:
	// true <nil>
	// false <nil>
}
