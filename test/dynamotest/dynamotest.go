// Package dynamotest creates tables like those of deploy/aws/dynamodb.yaml in an AWS
// emulator.
package dynamotest

import (
	"context"
	"crypto/rand"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"go.yaml.in/yaml/v3"

	"github.com/gatepass/gatepass/deploy"
)

// A template is the definition of a table.
type template struct {
	Resources struct {
		Table struct {
			Properties struct {
				BillingMode            types.BillingMode `yaml:"BillingMode"`
				AttributeDefinitions   []attribute       `yaml:"AttributeDefinitions"`
				KeySchema              []key             `yaml:"KeySchema"`
				GlobalSecondaryIndexes []index           `yaml:"GlobalSecondaryIndexes"`
			} `yaml:"Properties"`
		} `yaml:"Table"`
	} `yaml:"Resources"`
}

type (
	attribute struct {
		Name string                    `yaml:"AttributeName"`
		Type types.ScalarAttributeType `yaml:"AttributeType"`
	}
	key struct {
		Name string        `yaml:"AttributeName"`
		Type types.KeyType `yaml:"KeyType"`
	}
	index struct {
		Name       string `yaml:"IndexName"`
		Keys       []key  `yaml:"KeySchema"`
		Projection struct {
			Type types.ProjectionType `yaml:"ProjectionType"`
		} `yaml:"Projection"`
	}
)

// Client returns a client of an emulator, which takes any credentials.
func Client(endpoint string) *dynamodb.Client {
	return dynamodb.New(dynamodb.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(endpoint),
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	})
}

// NewTable creates an empty table in the emulator, and returns its name.
func NewTable(ctx context.Context, endpoint string) (string, error) {
	text, err := deploy.Files.ReadFile("aws/dynamodb.yaml")
	if err != nil {
		return "", err
	}
	var t template
	if err := yaml.Unmarshal(text, &t); err != nil {
		return "", fmt.Errorf("deploy/aws/dynamodb.yaml: %w", err)
	}
	properties := t.Resources.Table.Properties
	input := &dynamodb.CreateTableInput{
		TableName: aws.String("gatepass-" + rand.Text()), BillingMode: properties.BillingMode, KeySchema: schema(properties.KeySchema),
	}
	for _, a := range properties.AttributeDefinitions {
		input.AttributeDefinitions = append(input.AttributeDefinitions, types.AttributeDefinition{AttributeName: aws.String(a.Name), AttributeType: a.Type})
	}
	for _, i := range properties.GlobalSecondaryIndexes {
		input.GlobalSecondaryIndexes = append(input.GlobalSecondaryIndexes, types.GlobalSecondaryIndex{
			IndexName: aws.String(i.Name), KeySchema: schema(i.Keys), Projection: &types.Projection{ProjectionType: i.Projection.Type},
		})
	}
	_, err = Client(endpoint).CreateTable(ctx, input)
	return *input.TableName, err
}

func schema(keys []key) (all []types.KeySchemaElement) {
	for _, k := range keys {
		all = append(all, types.KeySchemaElement{AttributeName: aws.String(k.Name), KeyType: k.Type})
	}
	return all
}
