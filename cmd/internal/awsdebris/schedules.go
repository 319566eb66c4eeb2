package awsdebris

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	"github.com/aws/aws-sdk-go-v2/service/scheduler/types"

	"github.com/gatepass/gatepass/cmd/internal/doctor"
	"github.com/gatepass/gatepass/internal/oneline"
	"github.com/gatepass/gatepass/store"
)

// workers is how many schedules are read side by side.
const workers = 8

// Schedules implements [doctor.Cloud]. A list of schedules does not say what they
// hand over, so that each that starts a function is read.
func (a *Account) Schedules(ctx context.Context) ([]doctor.Schedule, error) {
	if !a.isFirstSystems() {
		return nil, nil
	}
	h, err := a.where(ctx)
	if err != nil {
		return nil, err
	}
	candidates, err := a.list(ctx, h)
	if err != nil {
		return nil, err
	}
	return a.readAll(ctx, candidates)
}

// list returns the schedules that start a function.
func (a *Account) list(ctx context.Context, h home) ([]types.ScheduleSummary, error) {
	var all []types.ScheduleSummary
	input := &scheduler.ListSchedulesInput{MaxResults: aws.Int32(pageSize)}
	for {
		op := operation{"list schedules", "EventBridge Scheduler", "scheduler:ListSchedules"}
		page, err := call(ctx, &a.scheduler, op, func(ctx context.Context, c *scheduler.Client) (*scheduler.ListSchedulesOutput, error) {
			return c.ListSchedules(ctx, input, inTimeScheduler(ctx))
		})
		if err != nil {
			return nil, err
		}
		for _, s := range page.Schedules {
			if h.has("scheduler", aws.ToString(s.Arn)) && s.Target != nil && isFunction(aws.ToString(s.Target.Arn)) {
				all = append(all, s)
			}
		}
		if aws.ToString(page.NextToken) == "" {
			return all, nil
		}
		input.NextToken = page.NextToken
	}
}

func isFunction(arn string) bool {
	part := strings.SplitN(arn, ":", 6)
	return len(part) == 6 && part[2] == "lambda" && strings.HasPrefix(part[5], "function:")
}

func (a *Account) readAll(ctx context.Context, candidates []types.ScheduleSummary) ([]doctor.Schedule, error) {
	var mu sync.Mutex // guards all and failed
	var all []doctor.Schedule
	var failed error
	next := make(chan types.ScheduleSummary)
	var running sync.WaitGroup
	for range min(workers, len(candidates)) {
		running.Go(func() {
			for s := range next {
				found, ok, err := a.read(ctx, aws.ToString(s.GroupName), aws.ToString(s.Name))
				mu.Lock()
				if ok {
					all = append(all, found)
				}
				if err != nil && !errors.Is(err, store.ErrNotFound) {
					failed = err
				}
				mu.Unlock()
			}
		})
	}
	for _, s := range candidates {
		next <- s
	}
	close(next)
	running.Wait()
	if failed != nil {
		return nil, failed
	}
	return all, nil
}

// read returns a schedule if it writes the token of a workspace of this store.
func (a *Account) read(ctx context.Context, group, name string) (s doctor.Schedule, ok bool, err error) {
	op := operation{"look at the schedule " + group + "/" + name, "EventBridge Scheduler", "scheduler:GetSchedule"}
	out, err := call(ctx, &a.scheduler, op, func(ctx context.Context, c *scheduler.Client) (*scheduler.GetScheduleOutput, error) {
		return c.GetSchedule(ctx, &scheduler.GetScheduleInput{GroupName: aws.String(group), Name: aws.String(name)}, inTimeScheduler(ctx))
	})
	if err != nil || out.Target == nil {
		return s, false, err
	}
	id, parameter, ok := parseInput(aws.ToString(out.Target.Input))
	if !ok {
		return s, false, nil
	}
	token, err := store.OnlyToken(id)
	if err != nil || a.store.Parameter(token) != parameter {
		return s, false, nil
	}
	return doctor.Schedule{
		Workspace: id, Group: group, Name: name, IsEnabled: out.State == types.ScheduleStateEnabled,
		Changed: latest(out.CreationDate, out.LastModificationDate),
	}, true, nil
}

// parseInput reads what a schedule hands to the first system's function: a JSON
// object with the sandbox's id and the name of the parameter that its token goes to.
func parseInput(text string) (id, parameter string, ok bool) {
	var fields map[string]json.RawMessage // a struct would take keys in another case too
	if json.Unmarshal([]byte(text), &fields) != nil {
		return "", "", false
	}
	for key, into := range map[string]*string{"sandbox_id": &id, "ssm_parameter_name": &parameter} {
		if json.Unmarshal(fields[key], into) != nil || *into == "" {
			return "", "", false
		}
	}
	return id, parameter, store.CheckWorkspace(id) == nil
}

// RemoveSchedule implements [doctor.Cloud].
func (a *Account) RemoveSchedule(ctx context.Context, s doctor.Schedule) error {
	what := "delete the schedule " + s.Group + "/" + s.Name
	now, ok, err := a.read(ctx, s.Group, s.Name)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err == nil && (!ok || now != s) {
		err = oneline.New(what, "somebody changed it a moment ago", "look at it: aws scheduler get-schedule")
	}
	if err != nil {
		return err
	}
	_, err = call(ctx, &a.scheduler, operation{what, "EventBridge Scheduler", "scheduler:DeleteSchedule"}, func(ctx context.Context, c *scheduler.Client) (*scheduler.DeleteScheduleOutput, error) {
		return c.DeleteSchedule(ctx, &scheduler.DeleteScheduleInput{GroupName: aws.String(s.Group), Name: aws.String(s.Name)}, inTimeScheduler(ctx))
	})
	return err
}
