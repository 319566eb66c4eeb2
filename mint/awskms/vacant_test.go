package awskms

import (
	"slices"
	"strings"
	"testing"
)

func TestVacant(t *testing.T) {
	for _, c := range []struct {
		name string
		kms  *empty
		id   string
		want string // "" means vacant
	}{
		{"an alias that points nowhere", &empty{}, "alias/app", ""},
		{"a key that is pending import", &empty{arn: arn, spec: "RSA_2048", origin: "EXTERNAL"}, arn, ""},
		{"an alias of one", &empty{arn: arn, alias: "alias/app", spec: "RSA_2048", origin: "EXTERNAL"}, "alias/app", ""},
		{"a key that is there", &empty{arn: arn, alias: "alias/app", spec: "RSA_2048", key: keys[0]}, "alias/app", "a key is there already, SHA256:"},
		{"no such key", &empty{}, arn, "there is no such key"},
		{"a longer key", &empty{arn: arn, spec: "RSA_4096", origin: "EXTERNAL"}, arn, "its key spec is RSA_4096"},
		{"a disabled key", &empty{arn: arn, spec: "RSA_2048", origin: "AWS_KMS", state: "Disabled"}, arn, "its state is Disabled"},
	} {
		c.kms.t = t
		err := serveEmpty(t, c.kms, c.id).Vacant(t.Context())
		if (err == nil) != (c.want == "") || err != nil && (!strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%s: Vacant = %v, want %q", c.name, err, c.want)
		}
		if changed := slices.ContainsFunc(c.kms.calls, func(s string) bool { return !strings.HasPrefix(s, "Get") && s != "DescribeKey" }); changed {
			t.Errorf("%s: Vacant called %v, want only questions", c.name, c.kms.calls)
		}
	}
}
