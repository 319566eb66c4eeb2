package tenant

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"sync"

	v1 "github.com/gatepass/gatepass/operator/api/v1"
)

// A Cache compiles the policies once for each change of one. The zero value is ready,
// and it is safe for concurrent use.
type Cache struct {
	mu      sync.Mutex // guards the rest
	version string
	ready   *Policies
}

// Compile returns what [Compile] does, and a text of 32 letters that changes with the
// policies. Their order does not count: informers list them in any.
func (c *Cache) Compile(list []v1.TenantPolicy) (policies *Policies, version string) {
	version = versionOf(list)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ready == nil || c.version != version {
		c.version, c.ready = version, Compile(list)
	}
	return c.ready, version
}

func versionOf(list []v1.TenantPolicy) string {
	each := make([]string, len(list))
	for i := range list {
		each[i] = fmt.Sprintf("%s %s %d\n", list[i].Name, list[i].UID, list[i].Generation)
	}
	slices.Sort(each)
	sum := sha256.New()
	for _, one := range each {
		sum.Write([]byte(one))
	}
	return hex.EncodeToString(sum.Sum(nil)[:16])
}
