package config

import (
	"fmt"
	"reflect"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/identity"
)

// shadowedBy returns the first rule before i that is for all callers that i is
// for.
func shadowedBy(f *File, i int) (name string, found bool) {
	for j := range i {
		if sameProof(f.Callers[j], f.Callers[i]) && covers(f.Callers[j], f.Callers[i]) {
			return f.RuleName(j), true
		}
	}
	return "", false
}

// sameProof reports whether both rules look at the same proof: their methods and
// what those are set to are the same. What settings ask of claims is a matter of
// claims.
func sameProof(a, b Caller) bool {
	bare := func(c Caller) Caller {
		c.Name, c.Claims, c.CEL, c.Workspace, c.Profile = "", nil, "", "", ""
		if c.Socket != nil {
			c.Socket = new(identity.SocketSettings)
		}
		if c.MTLS != nil {
			same := *c.MTLS
			same.ID, c.MTLS = "", &same
		}
		return c
	}
	return reflect.DeepEqual(bare(a), bare(b))
}

// covers reports whether whatever matches narrow matches wide: each thing that
// wide asks for follows from one that narrow asks for.
func covers(wide, narrow Caller) bool {
	if wide.CEL != "" && wide.CEL != narrow.CEL {
		return false
	}
	asked := claimsOf(narrow)
	for path, claim := range claimsOf(wide) {
		if !follows(claim, asked[path]) {
			return false
		}
	}
	return true
}

// claimsOf is what a rule asks of claims, its method's settings among them.
func claimsOf(c Caller) map[string]Claim {
	all := map[string]Claim{}
	for path, claim := range c.Claims {
		all[path] = claim
	}
	for path, text := range c.Asked() {
		all[path] = Claim{Text: text}
	}
	return all
}

// follows reports whether every text that is the one is the other, too. The zero
// Claim is of a claim that is not asked for.
func follows(wide, narrow Claim) bool {
	switch {
	case narrow == Claim{}:
		return false
	case wide == narrow:
		return true
	case wide.Pattern == "":
		return false
	case narrow.Pattern != "":
		return wide.Pattern == ".*"
	}
	pattern, err := broker.CompilePattern(wide.Pattern)
	return err == nil && pattern.MatchString(narrow.Text)
}

// contradiction says why no caller matches a rule, whatever the others are.
func contradiction(c Caller) string {
	asked := c.Asked()
	if c.OIDC != nil {
		asked = broker.Exactly{"iss": c.OIDC.Issuer, "aud": c.OIDC.Audience}
	}
	for _, path := range sortedKeys(asked) {
		if claim, isAsked := c.Claims[path]; isAsked && !follows(claim, Claim{Text: asked[path]}) {
			return fmt.Sprintf("its claim %s is not %q, which %s says", path, asked[path], wordOf(c))
		}
	}
	return ""
}

// wordOf is what the file calls a rule's method.
func wordOf(c Caller) string {
	if c.Join != nil {
		return "its name"
	}
	return c.Method()
}
