package awsclient

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
)

// answering is a metadata service with one answer.
type answering string

func (a answering) GetMetadata(context.Context, *imds.GetMetadataInput, ...func(*imds.Options)) (*imds.GetMetadataOutput, error) {
	return &imds.GetMetadataOutput{Content: io.NopCloser(strings.NewReader(string(a)))}, nil
}

// An answer is read completely or not at all: half of one could be read as another.
func TestMetadataIsTakenWhole(t *testing.T) {
	whole := strings.Repeat("x", maxMetadata)
	out, err := impatient{answering(whole)}.GetMetadata(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(out.Content); err != nil || string(got) != whole {
		t.Errorf("GetMetadata = %d bytes, %v, want %d", len(got), err, len(whole))
	}
	if _, err := (impatient{answering(whole + "x")}).GetMetadata(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "is over") {
		t.Errorf("GetMetadata of more = %v, want an error", err)
	}
}
