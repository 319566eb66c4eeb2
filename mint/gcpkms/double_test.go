package gcpkms

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"cloud.google.com/go/kms/apiv1/kmspb"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"

	"github.com/gatepass/gatepass/test/testkey"
)

const appKey = "projects/acme-prod/locations/europe-west1/keyRings/git/cryptoKeys/github-app"

var keys = []*rsa.PrivateKey{testkey.RSA(2048, 0), testkey.RSA(3072, 0), testkey.RSA(2048, 1)}

func newKey(bits int) *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		panic(err)
	}
	return key
}

// A version is one of appKey's.
type version struct {
	key       *rsa.PrivateKey
	state     kmspb.CryptoKeyVersion_CryptoKeyVersionState
	algorithm kmspb.CryptoKeyVersion_CryptoKeyVersionAlgorithm
}

func usable(key *rsa.PrivateKey) version {
	return version{key, kmspb.CryptoKeyVersion_ENABLED, kmspb.CryptoKeyVersion_RSA_SIGN_PKCS1_2048_SHA256}
}

// double speaks gRPC as Cloud KMS does, has appKey, and accepts only the three calls,
// authenticated, routed and complete. It signs a digest as it is.
type double struct {
	kmspb.UnimplementedKeyManagementServiceServer
	accounts accounts

	mu       sync.Mutex // guards the fields below
	versions []version  // from number 1 on
	foreign  bool       // does not know the filter of a list
	script   []func(context.Context) error
	failing  map[string]func(context.Context) error
	damage   func(digest []byte) // on its way to Cloud KMS
	signed   func(*kmspb.AsymmetricSignResponse)
	shown    func(*kmspb.PublicKey)
	listed   func(*kmspb.ListCryptoKeyVersionsResponse)
	calls    []string
	invalid  []string
	identity string // of the last call
}

// intercept makes the strict checks that the calls have in common.
func (d *double) intercept(ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	_, method, _ := strings.Cut(strings.TrimPrefix(info.FullMethod, "/"), "/")
	d.mu.Lock()
	d.calls = append(d.calls, method)
	identity, problem := d.check(ctx, request.(proto.Message))
	d.identity = identity
	fault := d.failing[method]
	if len(d.script) > 0 {
		fault, d.script = d.script[0], d.script[1:]
	}
	if problem != "" {
		d.invalid = append(d.invalid, method+": "+problem)
	}
	d.mu.Unlock()
	switch {
	case identity == "":
		return nil, status.Error(codes.Unauthenticated, "Request had invalid authentication credentials.")
	case problem != "":
		return nil, status.Error(codes.InvalidArgument, problem)
	case fault != nil:
		if err := fault(ctx); err != nil {
			return nil, err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return handle(ctx, request)
}

func (d *double) check(ctx context.Context, request proto.Message) (identity, problem string) {
	md, _ := metadata.FromIncomingContext(ctx)
	identity, err := d.accounts.identify(md.Get("authorization"))
	if err != nil {
		return "", err.Error()
	}
	route := "name=" + strings.ReplaceAll(nameOf(request), "/", "%2F")
	if _, list := request.(*kmspb.ListCryptoKeyVersionsRequest); list {
		route = "parent=" + strings.TrimPrefix(route, "name=")
	}
	if got := md.Get("x-goog-request-params"); len(got) != 1 || got[0] != route {
		return identity, fmt.Sprintf("routed by %q, want %s", got, route)
	}
	if len(request.ProtoReflect().GetUnknown()) > 0 {
		return identity, "unknown fields"
	}
	return identity, ""
}

func nameOf(request proto.Message) string {
	switch r := request.(type) {
	case *kmspb.AsymmetricSignRequest:
		return r.GetName()
	case *kmspb.GetPublicKeyRequest:
		return r.GetName()
	case *kmspb.ListCryptoKeyVersionsRequest:
		return r.GetParent()
	}
	return ""
}

// find returns a version that can be used.
func (d *double) find(name string) (version, error) {
	text, ok := strings.CutPrefix(name, appKey+"/cryptoKeyVersions/")
	number, err := strconv.Atoi(text)
	if !ok || err != nil || number < 1 || number > len(d.versions) {
		return version{}, status.Error(codes.NotFound, "CryptoKeyVersion "+name+" not found.")
	}
	v := d.versions[number-1]
	switch {
	case v.state != kmspb.CryptoKeyVersion_ENABLED:
		return version{}, precondition(name+" is not enabled, current state is: "+v.state.String()+".", name)
	case v.algorithm == kmspb.CryptoKeyVersion_GOOGLE_SYMMETRIC_ENCRYPTION:
		return version{}, status.Error(codes.FailedPrecondition, "Operation requested for Key "+name+" has incorrect key purpose: ENCRYPT_DECRYPT")
	}
	return v, nil
}

func (d *double) GetPublicKey(_ context.Context, r *kmspb.GetPublicKeyRequest) (*kmspb.PublicKey, error) {
	v, err := d.find(r.GetName())
	if err != nil {
		return nil, err
	}
	if r.GetPublicKeyFormat() != 0 {
		d.invalid = append(d.invalid, "a public key in another form")
	}
	der, err := x509.MarshalPKIXPublicKey(&v.key.PublicKey)
	if err != nil {
		return nil, err
	}
	text := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	out := &kmspb.PublicKey{
		Name: r.GetName(), Pem: text, PemCrc32C: checksum([]byte(text)), Algorithm: v.algorithm,
		ProtectionLevel: kmspb.ProtectionLevel_HSM,
	}
	if d.shown != nil {
		d.shown(out)
	}
	return out, nil
}

func (d *double) AsymmetricSign(_ context.Context, r *kmspb.AsymmetricSignRequest) (*kmspb.AsymmetricSignResponse, error) {
	digest := slices.Clone(r.GetDigest().GetSha256())
	if len(digest) != sha256.Size || r.GetDigestCrc32C() == nil || r.GetData() != nil || r.GetDataCrc32C() != nil {
		d.invalid = append(d.invalid, "not a SHA-256 digest with its checksum and nothing else")
	}
	if d.damage != nil {
		d.damage(digest)
	}
	if !fits(digest, r.GetDigestCrc32C()) {
		return nil, status.Error(codes.InvalidArgument, "The checksum in field digest_crc32c did not match the data in field digest.")
	}
	v, err := d.find(r.GetName())
	if err != nil {
		return nil, err
	}
	signature, err := rsa.SignPKCS1v15(rand.Reader, v.key, crypto.SHA256, digest)
	if err != nil {
		return nil, err
	}
	out := &kmspb.AsymmetricSignResponse{
		Name: r.GetName(), Signature: signature, SignatureCrc32C: checksum(signature), VerifiedDigestCrc32C: true,
		ProtectionLevel: kmspb.ProtectionLevel_HSM,
	}
	if d.signed != nil {
		d.signed(out)
	}
	return out, nil
}

// ListCryptoKeyVersions answers two versions a page, the oldest first.
func (d *double) ListCryptoKeyVersions(_ context.Context, r *kmspb.ListCryptoKeyVersionsRequest) (*kmspb.ListCryptoKeyVersionsResponse, error) {
	if r.GetParent() != appKey {
		return nil, status.Error(codes.NotFound, "CryptoKey "+r.GetParent()+" not found.")
	}
	if r.GetFilter() != "state=ENABLED" || r.GetOrderBy() != "" {
		d.invalid = append(d.invalid, "a list filtered by "+r.GetFilter())
	}
	var matching []*kmspb.CryptoKeyVersion
	for i, v := range d.versions {
		if v.state == kmspb.CryptoKeyVersion_ENABLED || d.foreign {
			name := fmt.Sprintf("%s/cryptoKeyVersions/%d", appKey, i+1)
			matching = append(matching, &kmspb.CryptoKeyVersion{Name: name, State: v.state, Algorithm: v.algorithm})
		}
	}
	first, _ := strconv.Atoi("0" + strings.TrimPrefix(r.GetPageToken(), "page-"))
	last := min(first+2, len(matching))
	out := &kmspb.ListCryptoKeyVersionsResponse{CryptoKeyVersions: matching[first:last], TotalSize: int32(len(matching))}
	if last < len(matching) {
		out.NextPageToken = fmt.Sprintf("page-%d", last)
	}
	if d.listed != nil {
		d.listed(out)
	}
	return out, nil
}

func (d *double) count(method string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
	for _, c := range d.calls {
		if c == method {
			n++
		}
	}
	return n
}

func refuse(code codes.Code, message string, details ...protoadapt.MessageV1) func(context.Context) error {
	s, err := status.New(code, message).WithDetails(details...)
	if err != nil {
		panic(err)
	}
	return func(context.Context) error { return s.Err() }
}

func precondition(message, subject string) error {
	return refuse(codes.FailedPrecondition, message, &errdetails.PreconditionFailure{
		Violations: []*errdetails.PreconditionFailure_Violation{{Type: "KEY_DISABLED", Subject: subject}},
	})(context.Background())
}

// hang does not answer until the client has left.
func hang(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
