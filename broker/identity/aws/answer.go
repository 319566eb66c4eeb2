package aws

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// callerIdentity is AWS's description of a caller, in the form that rules match.
type callerIdentity struct{ arn, account, userID, role, session string }

func (who callerIdentity) claims() map[string]any {
	claims := map[string]any{"arn": who.arn, "account": who.account, "user_id": who.userID}
	if who.role != "" {
		claims["role"], claims["session"] = who.role, who.session
	}
	return claims
}

// The elements of STS's answer
// (https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html).
const (
	namespace = "https://sts.amazonaws.com/doc/2011-06-15/"
	top       = "/GetCallerIdentityResponse"
	result    = top + "/GetCallerIdentityResult"
	metadata  = top + "/ResponseMetadata"
)

// elements are the known elements; true if one has text.
var elements = map[string]bool{
	top: false, result: false, result + "/Arn": true, result + "/UserId": true, result + "/Account": true,
	metadata: false, metadata + "/RequestId": true,
}

var errAnswer = errors.New("the answer of AWS STS is not an answer of GetCallerIdentity")

// parse parses an answer. Each element must be in its place, once, and nothing else may be
// there: no attribute, no comment, no other text.
func parse(data []byte) (callerIdentity, error) {
	texts, err := walk(data)
	if err != nil {
		return callerIdentity{}, err
	}
	return identityOf(texts[result+"/Arn"], texts[result+"/UserId"], texts[result+"/Account"])
}

func walk(data []byte) (map[string]string, error) {
	dec := xml.NewDecoder(bytes.NewReader(data))
	texts, path, isFirst := map[string]string{}, "", true
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) && len(texts) == len(elements) {
			return texts, nil
		}
		if err != nil {
			return nil, errAnswer
		}
		switch token := token.(type) {
		case xml.StartElement:
			path += "/" + token.Name.Local
			if _, isTwice := texts[path]; isTwice || !isOurs(path, token) {
				return nil, errAnswer
			}
			texts[path] = ""
		case xml.EndElement:
			path = path[:strings.LastIndexByte(path, '/')]
		case xml.CharData:
			if elements[path] {
				texts[path] += string(token)
			} else if len(bytes.TrimSpace(token)) > 0 {
				return nil, errAnswer
			}
		case xml.ProcInst:
			if !isFirst || token.Target != "xml" {
				return nil, errAnswer
			}
		default:
			return nil, errAnswer
		}
		isFirst = false
	}
}

func isOurs(path string, e xml.StartElement) bool {
	if _, isKnown := elements[path]; !isKnown || e.Name.Space != namespace {
		return false
	}
	if path == top {
		return len(e.Attr) == 1 && e.Attr[0].Name == xml.Name{Local: "xmlns"}
	}
	return len(e.Attr) == 0
}

// The characters of names and paths in IAM
// (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html).
var (
	arnForm     = regexp.MustCompile(`\Aarn:(aws[a-z-]*):(iam|sts)::([0-9]{12}):([!-~]+)\z`)
	sessionForm = regexp.MustCompile(`\Aassumed-role/([A-Za-z0-9_+=,.@-]{1,64})/([A-Za-z0-9_+=,.@-]{1,64})\z`)
	userIDForm  = regexp.MustCompile(`\A[A-Za-z0-9]{12,128}(?::[A-Za-z0-9_+=,.@-]{1,64})?\z`)
)

// maxResource is the longest part of an ARN after the account, in bytes. A repetition of that
// length in a regular expression would take 2 ms to compile at the start of each program that
// links it.
const maxResource = 900

// partsOfARN returns the whole, partition, service, account and resource of the ARN of a role
// or user; nil for other text.
func partsOfARN(arn string) []string {
	parts := arnForm.FindStringSubmatch(arn)
	if parts == nil || len(parts[4]) > maxResource {
		return nil
	}
	return parts
}

// identityOf compares the three descriptions in AWS's answer. A session of a role
// counts as the role, because the caller that assumes a role chooses the session's
// name. The role's ARN has no path here, as in STS.
func identityOf(arn, userID, account string) (callerIdentity, error) {
	parts := partsOfARN(arn)
	if parts == nil || parts[3] != account || !userIDForm.MatchString(userID) {
		return callerIdentity{}, errAnswer
	}
	partition, service, resource := parts[1], parts[2], parts[4]
	unique, suffix, hasSuffix := strings.Cut(userID, ":")
	if session := sessionForm.FindStringSubmatch(resource); session != nil && service == "sts" {
		if suffix != session[2] {
			return callerIdentity{}, errAnswer
		}
		return callerIdentity{arn: "arn:" + partition + ":iam::" + account + ":role/" + session[1], account: account, userID: unique, role: session[1], session: session[2]}, nil
	}
	isUser := service == "iam" && !hasSuffix && (resource == "root" || strings.HasPrefix(resource, "user/"))
	isFederated := service == "sts" && strings.HasPrefix(resource, "federated-user/")
	if !isUser && !isFederated {
		return callerIdentity{}, errAnswer
	}
	return callerIdentity{arn: arn, account: account, userID: userID}, nil
}

// CheckClaims returns an error if no caller could have these claims: the session of a role
// has the role's ARN. It is for claims in test cases.
func CheckClaims(claims map[string]any) error {
	arn, isText := claims["arn"].(string)
	if !isText {
		return nil // the rule reports that it is missing
	}
	parts := partsOfARN(arn)
	if parts == nil {
		return fmt.Errorf("the claim arn is %.100q; it must be the ARN of a role or user", arn)
	}
	if strings.HasPrefix(parts[4], "assumed-role/") {
		return errors.New("the claim arn is the ARN of a session; write the role's ARN, arn:aws:iam::ACCOUNT:role/NAME, and the session's name in session")
	}
	if account, ok := claims["account"]; ok && account != parts[3] {
		return errors.New("the claim account is not the account of the claim arn")
	}
	return nil
}
