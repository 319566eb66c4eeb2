package api

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
)

// A caller proves its AWS identity with the signature (Signature Version 4) of an STS
// GetCallerIdentity call that it does not make itself. The broker builds the same call
// and sends it to AWS. The caller sends only the parts that vary, as
//
//	Authorization: GatepassAWS <base64url of AWSProof>
//
// [AWSCall] alone defines what is signed.
const (
	AWSScheme = "GatepassAWS"

	awsServerID    = "X-Gatepass-Server-Id" // the broker that the proof is for; other brokers refuse it
	awsNonce       = "X-Gatepass-Nonce"     // from the broker, so that a proof is accepted only once
	awsBody        = "Action=GetCallerIdentity&Version=2011-06-15"
	awsMedia       = "text/xml"
	awsDate        = "X-Amz-Date"
	awsToken       = "X-Amz-Security-Token"
	maxAWSHeader   = 4 << 10
	maxAWSServerID = 128

	// AWSGlobal names the global endpoint, which belongs to no region.
	AWSGlobal = "aws-global"
)

// An AWSProof is what a caller sends to prove its AWS identity.
type AWSProof struct {
	Region        string `json:"region"` // or AWSGlobal
	AccessKey     string `json:"access_key"`
	Date          string `json:"date"` // the value of X-Amz-Date
	SecurityToken string `json:"security_token,omitempty"`
	Nonce         string `json:"nonce"`
	Signature     string `json:"signature"`
}

var (
	awsRegion     = regexp.MustCompile(`\A[a-z][a-z0-9]*(?:-[a-z0-9]+){1,4}\z`)
	awsAccessKey  = regexp.MustCompile(`\A[A-Z0-9]{16,128}\z`)
	awsDateForm   = regexp.MustCompile(`\A[0-9]{8}T[0-9]{6}Z\z`)
	awsTokenForm  = regexp.MustCompile(`\A[A-Za-z0-9+/=_-]*\z`)
	awsSignature  = regexp.MustCompile(`\A[0-9a-f]{64}\z`)
	awsServerForm = regexp.MustCompile(`\A[A-Za-z0-9][A-Za-z0-9.:_-]*\z`)
)

// AWSDate is the layout of an AWSProof's date, for package time.
const AWSDate = "20060102T150405Z"

// CheckAWSRegion returns an error unless region has the form of an AWS region.
func CheckAWSRegion(region string) error {
	if !awsRegion.MatchString(region) || len(region) > 32 {
		return fmt.Errorf("%q is not an AWS region", region)
	}
	return nil
}

// CheckServerID returns an error unless id can name a broker in a proof.
func CheckServerID(id string) error {
	if !awsServerForm.MatchString(id) || len(id) > maxAWSServerID {
		return fmt.Errorf("server ID %q must be up to %d letters, digits, dots, colons, hyphens and underscores", id, maxAWSServerID)
	}
	return nil
}

// Check returns an error that names the first field of p whose form AWS would not
// accept.
func (p AWSProof) Check() error {
	switch {
	case CheckAWSRegion(p.Region) != nil:
		return errors.New(`"region" is not an AWS region`)
	case !awsAccessKey.MatchString(p.AccessKey):
		return errors.New(`"access_key" is not an access key ID`)
	case !awsDateForm.MatchString(p.Date):
		return errors.New(`"date" must be of the form ` + AWSDate)
	case !awsTokenForm.MatchString(p.SecurityToken):
		return errors.New(`"security_token" is not a security token`)
	case !isPlain(p.Nonce, MaxNonce):
		return errors.New(`"nonce" is not a nonce`)
	case !awsSignature.MatchString(p.Signature):
		return errors.New(`"signature" is not a signature`)
	}
	return nil
}

// AWSCall builds the call that is signed, without its date, security token and
// signature. signingRegion is the region of the credential scope.
func AWSCall(ctx context.Context, region, serverID, nonce string) (r *http.Request, signingRegion string, err error) {
	if err := CheckAWSRegion(region); err != nil {
		return nil, "", err
	}
	if err := CheckServerID(serverID); err != nil {
		return nil, "", err
	}
	if !isPlain(nonce, MaxNonce) {
		return nil, "", errors.New("the answer's nonce is malformed")
	}
	host, signingRegion := awsHost(region)
	r, err = http.NewRequestWithContext(ctx, http.MethodPost, "https://"+host+"/", strings.NewReader(awsBody))
	if err != nil {
		return nil, "", err
	}
	r.Header.Set("Accept", awsMedia)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	r.Header.Set(awsServerID, serverID)
	r.Header.Set(awsNonce, nonce)
	return r, signingRegion, nil
}

// awsHost returns the endpoint of a region
// (https://docs.aws.amazon.com/general/latest/gr/sts.html).
func awsHost(region string) (host, signingRegion string) {
	switch {
	case region == AWSGlobal:
		return "sts.amazonaws.com", "us-east-1"
	case strings.HasPrefix(region, "cn-"):
		return "sts." + region + ".amazonaws.com.cn", region
	}
	return "sts." + region + ".amazonaws.com", region
}

// AWSSignedHeaders returns the list of signed headers. A caller must sign all of them.
func AWSSignedHeaders(hasToken bool) string {
	token := ""
	if hasToken {
		token = "x-amz-security-token;"
	}
	return "accept;content-length;content-type;host;x-amz-date;" + token + "x-gatepass-nonce;x-gatepass-server-id"
}

// Call builds the call with its signature.
func (p AWSProof) Call(ctx context.Context, serverID string) (*http.Request, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	r, region, err := AWSCall(ctx, p.Region, serverID, p.Nonce)
	if err != nil {
		return nil, err
	}
	r.Header.Set(awsDate, p.Date)
	if p.SecurityToken != "" {
		r.Header.Set(awsToken, p.SecurityToken)
	}
	r.Header.Set("User-Agent", "gatepass") // not signed
	r.Header.Set("Authorization", fmt.Sprintf("AWS4-HMAC-SHA256 Credential=%s/%s/%s/sts/aws4_request, SignedHeaders=%s, Signature=%s",
		p.AccessKey, p.Date[:8], region, AWSSignedHeaders(p.SecurityToken != ""), p.Signature))
	return r, nil
}

// Authorization returns the header value that carries p.
func (p AWSProof) Authorization() (string, error) {
	data, err := json.Marshal(p)
	if err != nil {
		return "", err
	}
	header := AWSScheme + " " + base64.RawURLEncoding.EncodeToString(data)
	if len(header) > maxAWSHeader {
		return "", fmt.Errorf("the proof is over %d bytes; the security token is too long", maxAWSHeader)
	}
	return header, p.Check()
}

var errNotAWS = errors.New("the proof is not the JSON object of an AWS signature in base64url")

// ReadAWSProof reads the proof from r's Authorization header. ok is false if r carries
// none. It is as strict as DecodeRequest.
func ReadAWSProof(r *http.Request) (p AWSProof, ok bool, err error) {
	values := r.Header.Values("Authorization")
	var text string
	for _, value := range values {
		scheme, rest, _ := strings.Cut(value, " ")
		if strings.EqualFold(scheme, AWSScheme) {
			text, ok = rest, true
		}
	}
	switch {
	case !ok:
		return p, false, nil
	case len(values) != 1:
		return p, true, errors.New("the request has more than one Authorization")
	case len(text) > maxAWSHeader:
		return p, true, fmt.Errorf("the proof is over %d bytes", maxAWSHeader)
	}
	data, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || strings.ContainsAny(text, "\r\n") {
		return p, true, errNotAWS
	}
	if err := decodeObject(data, MaxRequest, errNotAWS, p.set); err != nil {
		return AWSProof{}, true, err
	}
	return p, true, p.Check()
}

// set reads the value of a key.
func (p *AWSProof) set(key string, dec *json.Decoder) (err error) {
	fields := map[string]*string{
		"region": &p.Region, "access_key": &p.AccessKey, "date": &p.Date,
		"security_token": &p.SecurityToken, "nonce": &p.Nonce, "signature": &p.Signature,
	}
	field := fields[key]
	if field == nil {
		return unknownKey(key)
	}
	*field, err = decodeString(key, dec)
	return err
}

// AWSBodySum returns the SHA-256 of the call's body, in hex, as it is signed.
func AWSBodySum() string {
	sum := sha256.Sum256([]byte(awsBody))
	return hex.EncodeToString(sum[:])
}
