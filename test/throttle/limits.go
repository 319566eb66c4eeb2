package throttle

const (
	systems  = "AmazonSSM."
	dynamoDB = "DynamoDB_20120810."
)

// ParameterStore are the limits of an account in a region, unless it pays for more.
// Reads share 40 calls a second
// (https://docs.aws.amazon.com/general/latest/gr/ssm.html). AWS Support and users
// report the others: 3 calls a second of PutParameter, 5 of DeleteParameter and
// DeleteParameters each
// (https://github.com/github-aws-runners/terraform-aws-github-runner/issues/2944 and
// 5243). The 10 of DescribeParameters are a cautious assumption.
var ParameterStore = []Limit{
	{Operations: []string{systems + "GetParameter", systems + "GetParameters", systems + "GetParametersByPath"}, PerSecond: 40},
	{Operations: []string{systems + "PutParameter"}, PerSecond: 3},
	{Operations: []string{systems + "DeleteParameter"}, PerSecond: 5},
	{Operations: []string{systems + "DeleteParameters"}, PerSecond: 5},
	{Operations: []string{systems + "DescribeParameters"}, PerSecond: 10},
}

// HigherThroughput are the limits with ssm/parameter-store/high-throughput-enabled,
// which is billed per call. GetParametersByPath has its own limit, apart from other
// reads.
var HigherThroughput = []Limit{
	{Operations: []string{systems + "GetParameter", systems + "GetParameters"}, PerSecond: 3000},
	{Operations: []string{systems + "GetParametersByPath"}, PerSecond: 100},
	{Operations: []string{systems + "PutParameter"}, PerSecond: 10},
	{Operations: []string{systems + "DeleteParameter"}, PerSecond: 5},
	{Operations: []string{systems + "DeleteParameters"}, PerSecond: 5},
	{Operations: []string{systems + "DescribeParameters"}, PerSecond: 10},
}

// OnDemandTable are the limits of a new on-demand DynamoDB table: 4,000 writes and
// 12,000 reads a second, before AWS has adapted it to its use
// (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/on-demand-capacity-mode.html).
// One call counts as one unit, which is right for items up to 1 KB (writes) and 4 KB
// (reads).
var OnDemandTable = Table(12000, 4000)

// Table returns the limits of a DynamoDB table with that many reads and writes a
// second. Calls beyond them are refused with ProvisionedThroughputExceededException.
func Table(reads, writes float64) []Limit {
	const code = "ProvisionedThroughputExceededException"
	return []Limit{
		{
			Operations: []string{
				dynamoDB + "GetItem", dynamoDB + "BatchGetItem", dynamoDB + "Query", dynamoDB + "Scan", dynamoDB + "TransactGetItems",
			},
			PerSecond: reads, Code: code,
		},
		{
			Operations: []string{
				dynamoDB + "PutItem", dynamoDB + "UpdateItem", dynamoDB + "DeleteItem", dynamoDB + "BatchWriteItem", dynamoDB + "TransactWriteItems",
			},
			PerSecond: writes, Code: code,
		},
	}
}
