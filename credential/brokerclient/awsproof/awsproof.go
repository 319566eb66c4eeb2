// Package awsproof proves an AWS identity to a broker with the credentials that the AWS
// SDK finds. It signs a call to AWS that the broker then makes; it sends neither a key
// nor the call itself.
package awsproof

import (
	"context"
	"regexp"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/credential/brokerclient"
	"github.com/gatepass/gatepass/internal/awsclient"
	"github.com/gatepass/gatepass/internal/usererr"
)

// Method is the method for auth=aws in a source.
var Method = brokerclient.Method{Name: "aws", Keys: []string{"region", "profile"}, Open: open}

const what = "prove an AWS identity to the broker"

// signer finds credentials and signs with them.
type signer struct {
	aws    awsclient.Lazy[*v4.Signer]
	region string // for the signature; "" means the SDK's
	now    func() time.Time
}

func open(query map[string]string) (brokerclient.Prover, error) {
	s := &signer{region: query["region"], now: time.Now}
	if s.region != "" {
		if err := api.CheckAWSRegion(s.region); err != nil {
			return nil, usererr.Wrap("source", err, "write one such as us-east-1")
		}
	}
	s.aws.Settings = awsclient.Settings{Region: s.region, Profile: query["profile"]}
	s.aws.Make = func(aws.Config, string) *v4.Signer { return v4.NewSigner() }
	return s.prove, nil
}

// signature matches the signature in the header that the signer writes.
var signature = regexp.MustCompile(`SignedHeaders=([^,]*), Signature=([0-9a-f]{64})\z`)

func (s *signer) prove(ctx context.Context, serverID, nonce string) (string, error) {
	call := awsclient.Call{What: what, Service: "STS", Region: s.region}
	client, err := s.aws.Client(ctx)
	if err != nil {
		return "", call.Unconfigured(ctx, err)
	}
	if err := client.Authenticate(ctx); err != nil {
		s.aws.Failed(client, err)
		return "", call.Failed(ctx, err)
	}
	credentials, err := client.Credentials.Retrieve(ctx)
	if err != nil {
		return "", call.Failed(ctx, err)
	}
	region := s.region
	if region == "" {
		region = client.Region
	}
	header, err := sign(ctx, client.Service, credentials, region, serverID, nonce, s.now())
	if err != nil {
		return "", usererr.Wrap(what, err, "")
	}
	return header, nil
}

func sign(ctx context.Context, s *v4.Signer, c aws.Credentials, region, serverID, nonce string, now time.Time) (string, error) {
	r, signingRegion, err := api.AWSCall(ctx, region, serverID, nonce)
	if err != nil {
		return "", err
	}
	now = now.UTC().Truncate(time.Second)
	if err := s.SignHTTP(ctx, c, r, api.AWSBodySum(), "sts", signingRegion, now); err != nil {
		return "", err
	}
	parts := signature.FindStringSubmatch(r.Header.Get("Authorization"))
	if parts == nil || parts[1] != api.AWSSignedHeaders(c.SessionToken != "") {
		return "", usererr.New("sign", "the AWS SDK signs other headers than a broker expects", "")
	}
	return api.AWSProof{
		Region: region, AccessKey: c.AccessKeyID, Date: now.Format(api.AWSDate),
		SecurityToken: c.SessionToken, Nonce: nonce, Signature: parts[2],
	}.Authorization()
}
