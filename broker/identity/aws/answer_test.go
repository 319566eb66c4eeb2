package aws

import (
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/test/ststest"
)

func TestAnswersThatAreNone(t *testing.T) {
	evil := ststest.Answer(ststest.Principal{ARN: "arn:aws:iam::999999999999:root", UserID: "999999999999", Account: "999999999999"})
	right := ststest.Answer(session)
	edit := func(old, replacement string) string { return strings.Replace(right, old, replacement, 1) }
	for _, c := range []struct {
		name, media, body string
		status            int
		want              string
	}{
		{"a redirect", "text/xml", right, 302, "answered 302"},
		{"an error that holds an answer", "text/xml", evil, 403, "does not accept"},
		{"a success with nothing", "text/xml", "", 200, "the answer of AWS STS is not an answer of GetCallerIdentity"},
		{"JSON that holds an answer", "application/json", `{"GetCallerIdentityResponse":{"x":"` + evil + `"}}`, 200, "not XML"},
		{"JSON that says it is XML", "text/xml", `{"a":"` + evil + `"}`, 200, "the answer of AWS STS is not an answer of GetCallerIdentity"},
		{"an answer in an error", "text/xml", "<ErrorResponse>" + evil + "</ErrorResponse>", 200, "the answer of AWS STS is not an answer of GetCallerIdentity"},
		{"an answer in an answer", "text/xml", edit("<RequestId>", evil+"<RequestId>"), 200, "the answer of AWS STS is not an answer of GetCallerIdentity"},
		{"two answers", "text/xml", right + evil, 200, "the answer of AWS STS is not an answer of GetCallerIdentity"},
		{"an answer and text", "text/xml", right + "x", 200, "the answer of AWS STS is not an answer of GetCallerIdentity"},
		{"two ARNs", "text/xml", edit("<UserId>", "<Arn>arn:aws:iam::999999999999:root</Arn><UserId>"), 200, "the answer of AWS STS is not an answer of GetCallerIdentity"},
		{"an ARN in an ARN", "text/xml", edit("<Arn>", "<Arn><Arn>x</Arn>"), 200, "the answer of AWS STS is not an answer of GetCallerIdentity"},
		{"an ARN in another place", "text/xml", edit("<RequestId>", "<Arn>x</Arn><RequestId>"), 200, "the answer of AWS STS is not an answer of GetCallerIdentity"},
		{"another namespace", "text/xml", edit("2011-06-15", "2011-06-16"), 200, "the answer of AWS STS is not an answer of GetCallerIdentity"},
		{"an attribute", "text/xml", edit("<Arn>", `<Arn a="b">`), 200, "the answer of AWS STS is not an answer of GetCallerIdentity"},
		{"a comment", "text/xml", edit("<Arn>", "<!-- x --><Arn>"), 200, "the answer of AWS STS is not an answer of GetCallerIdentity"},
		{"a comment in an ARN", "text/xml", edit("assumed-role", "assumed<!-- -->-role"), 200, "the answer of AWS STS is not an answer of GetCallerIdentity"},
		{"a document type", "text/xml", `<!DOCTYPE x [<!ENTITY e "y">]>` + right, 200, "the answer of AWS STS is not an answer of GetCallerIdentity"},
		{"an element of another call", "text/xml", edit("<RequestId>", "<Extra/><RequestId>"), 200, "the answer of AWS STS is not an answer of GetCallerIdentity"},
		{"no account", "text/xml", edit("<Account>123456789012</Account>", ""), 200, "the answer of AWS STS is not an answer of GetCallerIdentity"},
		{"another account", "text/xml", edit("<Account>123456789012", "<Account>999999999999"), 200, "the answer of AWS STS is not an answer of GetCallerIdentity"},
		{"another session", "text/xml", edit(":sb-1<", ":sb-2<"), 200, "the answer of AWS STS is not an answer of GetCallerIdentity"},
		{"another element for one", "text/xml", strings.ReplaceAll(right, "RequestId>", "Request>"), 200, "the answer of AWS STS is not an answer of GetCallerIdentity"},
		{"a second namespace", "text/xml", edit("xmlns=", `xmlns:a="b" xmlns=`), 200, "the answer of AWS STS is not an answer of GetCallerIdentity"},
		{"a program in front", "text/xml", "<?php x?>" + right, 200, "the answer of AWS STS is not an answer of GetCallerIdentity"},
		{"a declaration in the middle", "text/xml", edit("<Arn>", `<?xml version="1.0"?><Arn>`), 200, "the answer of AWS STS is not an answer of GetCallerIdentity"},
		{"cut off", "text/xml", right[:len(right)-20], 200, "the answer of AWS STS is not an answer of GetCallerIdentity"},
		{"too long", "text/xml", right + strings.Repeat(" ", maxAnswer), 200, "too long"},
		{"a web page", "text/html", "<html>", 200, "not XML"},
	} {
		w := newWorld(t)
		w.sts.Answer = http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", c.media)
			rw.Header().Set("Location", "https://sts.evil.example/")
			rw.WriteHeader(c.status)
			_, _ = rw.Write([]byte(c.body))
		})
		got, err := w.identify(w.sign("eu-west-1", serverID, w.nonce(), nil))
		checkRefused(t, c.name, got, err, c.want)
		if n := len(w.sts.Calls()); n != 1 {
			t.Errorf("%s: %d calls, want one", c.name, n)
		}
	}
}

func TestPrincipals(t *testing.T) {
	const account = "123456789012"
	longest := "arn:aws:iam::123456789012:user/" + strings.Repeat("x", maxResource-len("user/"))
	for _, c := range []struct{ arn, userID, want string }{ // want is the canonical ARN
		{"arn:aws:iam::123456789012:user/path/me", "AIDAIOSFODNN7EXAMPLE", "arn:aws:iam::123456789012:user/path/me"},
		{"arn:aws:iam::123456789012:root", account, "arn:aws:iam::123456789012:root"},
		{"arn:aws-cn:sts::123456789012:assumed-role/a/b", "AROAIOSFODNN7EXAMPLE:b", "arn:aws-cn:iam::123456789012:role/a"},
		{"arn:aws:sts::123456789012:federated-user/x", "123456789012:x", "arn:aws:sts::123456789012:federated-user/x"},
		{"arn:aws:iam::123456789012:role/a", "AROAIOSFODNN7EXAMPLE", ""},
		{"arn:aws:iam::123456789012:user/me", "AIDAIOSFODNN7EXAMPLE:me", ""},
		{"arn:aws:iam::123456789012:user/me", "short", ""},
		{"arn:aws:iam::123456789012:user/me", "AIDAIOSFODNN7EXAMPLE/x", ""},
		{"arn:aws:sts::123456789012:user/me", "AIDAIOSFODNN7EXAMPLE", ""},
		{"arn:aws:sts::123456789012:root", account, ""},
		{"arn:aws:iam::123456789012:federated-user/x", "123456789012:x", ""},
		{"arn:aws:iam::123456789012:assumed-role/a/b", "AROAIOSFODNN7EXAMPLE:b", ""},
		{"arn:aws:sts::123456789012:assumed-role/a/b/c", "AROAIOSFODNN7EXAMPLE:c", ""},
		{"arn:aws:sts::123456789012:assumed-role/a", "AROAIOSFODNN7EXAMPLE", ""},
		{"arn:aws:sts::999999999999:assumed-role/a/b", "AROAIOSFODNN7EXAMPLE:b", ""},
		{"arn:evil:iam::123456789012:root", account, ""},
		{"arn:aws:iam:eu-west-1:123456789012:root", account, ""},
		{"arn:aws:iam::123456789012:root\n", account, ""},
		{longest, "AIDAIOSFODNN7EXAMPLE", longest},
		{longest + "x", "AIDAIOSFODNN7EXAMPLE", ""},
		{"", "", ""},
	} {
		got, err := identityOf(c.arn, c.userID, account)
		if (err == nil) != (c.want != "") || got.arn != c.want {
			t.Errorf("identityOf(%q, %q) = %+v, %v, want %q", c.arn, c.userID, got, err, c.want)
		}
		if unique, _, _ := strings.Cut(c.userID, ":"); err == nil && (got.account != account || !strings.HasPrefix(got.userID, unique)) {
			t.Errorf("identityOf(%q, %q) = %+v, want the account and the unique id, too", c.arn, c.userID, got)
		}
	}
}

// Rules that check role do not match identities without a role.
func TestAUserHasNoRole(t *testing.T) {
	const declared = `<?xml version="1.0" encoding="UTF-8"?>` + "\n"
	user := ststest.Principal{Account: "123456789012", ARN: "arn:aws:iam::123456789012:user/me", UserID: "AIDAIOSFODNN7EXAMPLE"}
	for _, text := range []string{ststest.Answer(user), declared + ststest.Answer(user)} {
		who, err := parse([]byte(text))
		want := map[string]any{"arn": user.ARN, "account": user.Account, "user_id": user.UserID}
		if got := who.claims(); err != nil || !maps.Equal(got, want) {
			t.Errorf("parse(%q) claims %v, %v, want %v", text, got, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(ststest.Answer(session)))
	f.Add([]byte("<GetCallerIdentityResponse/>"))
	f.Fuzz(func(t *testing.T, data []byte) {
		who, err := parse(data)
		if err == nil && (!strings.HasPrefix(who.arn, "arn:aws") || !strings.Contains(who.arn, "::"+who.account+":")) {
			t.Errorf("parse(%q) = %+v", data, who)
		}
	})
}
