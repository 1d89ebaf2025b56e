package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
)

const waitMax = 20 * time.Second

// session is what a program does with Consul's Go client. It prints one JSON object: the name of each check, and "ok" or
// what went wrong. The clients are of two processes of the registry.
func session(first, last string) {
	checks := map[string]func(first, last *api.Client){
		"register_and_find":          registerAndFind,
		"a_ttl_check":                aTTLCheck,
		"blocking_query":             blockingQuery,
		"blocking_query_is_left":     blockingQueryIsLeft,
		"blocking_query_has_its_end": blockingQueryHasItsEnd,
		"the_catalogue":              theCatalogue,
		"maintenance":                maintenance,
		"health_by_the_agent":        healthByTheAgent,
		"errors":                     errorsAreTold,
		"the_cluster":                theCluster,
	}
	results := map[string]string{}
	for name, check := range checks {
		results[name] = run(check, client(first), client(last))
	}
	body, err := json.Marshal(results)
	must(err)
	os.Stdout.Write(body)
}

func client(address string) *api.Client {
	config := api.DefaultConfig()
	config.Address = address
	made, err := api.NewClient(config)
	must(err)
	return made
}

func run(check func(first, last *api.Client), first, last *api.Client) (result string) {
	defer func() {
		if failure := recover(); failure != nil {
			result = fmt.Sprint(failure)
		}
	}()
	check(first, last)
	return "ok"
}

func must(err error) {
	if err != nil {
		panic(err.Error())
	}
}

func equal(got, wanted any) {
	if fmt.Sprint(got) != fmt.Sprint(wanted) {
		panic(fmt.Sprintf("got %v, wanted %v", got, wanted))
	}
}

func until(what string, probe func() bool) {
	for end := time.Now().Add(waitMax); !probe(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			panic("not in time: " + what)
		}
	}
}

func ids(client *api.Client, service string, passing bool) []string {
	entries, _, err := client.Health().Service(service, "", passing, nil)
	must(err)
	found := []string{}
	for _, entry := range entries {
		found = append(found, entry.Service.ID)
	}
	sort.Strings(found)
	return found
}

func registerAndFind(first, last *api.Client) {
	must(first.Agent().ServiceRegister(&api.AgentServiceRegistration{
		ID: "go-find-1", Name: "go-find", Address: "10.1.2.3", Port: 8080, Tags: []string{"v1", "eu"},
		Meta: map[string]string{"zone": "a"}, Weights: &api.AgentWeights{Passing: 10, Warning: 2},
		Checks: api.AgentServiceChecks{
			{CheckID: "go-find-ttl", TTL: "30s", Status: api.HealthPassing},
			{
				HTTP: "http://127.0.0.1:9/", Interval: "10s", Timeout: "1s", Status: api.HealthPassing,
				Header: map[string][]string{"X-A": {"1"}}, DeregisterCriticalServiceAfter: "90m",
			},
		},
	}))
	entries, meta, err := first.Health().ServiceMultipleTags("go-find", []string{"v1", "eu"}, false, nil)
	must(err)
	equal(len(entries), 1)
	service := entries[0].Service
	equal([]any{service.ID, service.Address, service.Port, service.Meta["zone"], service.Weights.Passing},
		[]any{"go-find-1", "10.1.2.3", 8080, "a", 10})
	equal(service.TaggedAddresses["lan_ipv4"].Port, 8080)
	equal(len(entries[0].Checks), 2)
	equal([]any{meta.KnownLeader, meta.LastContact, meta.LastIndex > 1}, []any{true, time.Duration(0), true})
	services, err := first.Agent().ServicesWithFilter(`Meta.zone == "a" and "v1" in Tags`)
	must(err)
	equal(services["go-find-1"].Service, "go-find")
	until("another process knows it", func() bool { return len(ids(last, "go-find", false)) == 1 })
	must(first.Agent().ServiceDeregister("go-find-1"))
	equal(ids(first, "go-find", false), []string{})
}

func aTTLCheck(first, last *api.Client) {
	must(first.Agent().ServiceRegister(&api.AgentServiceRegistration{
		Name: "go-ttl", Check: &api.AgentServiceCheck{TTL: "2s"},
	}))
	must(first.Agent().UpdateTTL("service:go-ttl", "here I am", api.HealthPassing))
	equal(ids(first, "go-ttl", true), []string{"go-ttl"})
	must(last.Agent().WarnTTL("service:go-ttl", "busy"))
	until("it warns", func() bool {
		checks, _, err := first.Health().Checks("go-ttl", nil)
		must(err)
		return checks.AggregatedStatus() == api.HealthWarning && checks[0].Output == "busy"
	})
	until("it is critical without beats", func() bool {
		checks, _, err := first.Health().State(api.HealthCritical, nil)
		must(err)
		for _, check := range checks {
			if check.CheckID == "service:go-ttl" {
				return true
			}
		}
		return false
	})
	must(first.Agent().ServiceDeregister("go-ttl"))
}

func blockingQuery(first, last *api.Client) {
	must(first.Agent().ServiceRegister(&api.AgentServiceRegistration{Name: "go-block"}))
	_, meta, err := first.Health().Service("go-block", "", false, nil)
	must(err)
	begin := time.Now()
	go func() {
		time.Sleep(500 * time.Millisecond)
		_ = last.Agent().ServiceRegister(&api.AgentServiceRegistration{ID: "go-block-2", Name: "go-block"})
	}()
	entries, after, err := first.Health().Service("go-block", "", false,
		&api.QueryOptions{WaitIndex: meta.LastIndex, WaitTime: time.Minute})
	must(err)
	took := time.Since(begin)
	equal([]any{len(entries), after.LastIndex > meta.LastIndex}, []any{2, true})
	equal(took > 400*time.Millisecond && took < 15*time.Second, true)
	must(first.Agent().ServiceDeregister("go-block"))
	must(first.Agent().ServiceDeregister("go-block-2"))
}

func blockingQueryIsLeft(first, _ *api.Client) {
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	options := &api.QueryOptions{WaitIndex: 1 << 40, WaitTime: time.Minute}
	_, _, err := first.Catalog().Services(options.WithContext(ctx))
	equal(err != nil, true)
	_, err = first.Status().Leader() // the client goes on
	must(err)
}

func blockingQueryHasItsEnd(first, _ *api.Client) {
	_, meta, err := first.Health().Service("go-none", "", false, nil)
	must(err)
	begin := time.Now()
	_, after, err := first.Health().Service("go-none", "", false,
		&api.QueryOptions{WaitIndex: meta.LastIndex, WaitTime: 2 * time.Second})
	must(err)
	equal(after.LastIndex, meta.LastIndex)
	equal(time.Since(begin) >= 2*time.Second, true)
}

func theCatalogue(first, _ *api.Client) {
	_, err := first.Catalog().Register(&api.CatalogRegistration{
		Node: "go-external", Address: "10.9.9.9", NodeMeta: map[string]string{"rack": "7"},
		Service: &api.AgentService{Service: "go-db", Port: 5432},
		Checks: api.HealthChecks{{
			Node: "go-external", CheckID: "go-check", Name: "outside", ServiceID: "go-db", Status: api.HealthPassing,
		}},
	}, nil)
	must(err)
	found, _, err := first.Catalog().Service("go-db", "", &api.QueryOptions{NodeMeta: map[string]string{"rack": "7"}})
	must(err)
	equal([]any{found[0].Node, found[0].Address, found[0].ServicePort}, []any{"go-external", "10.9.9.9", 5432})
	nodes, _, err := first.Catalog().Nodes(&api.QueryOptions{Filter: `Meta.rack == "7"`})
	must(err)
	equal(nodes[0].Node, "go-external")
	node, _, err := first.Catalog().Node("go-external", nil)
	must(err)
	equal(node.Services["go-db"].Port, 5432)
	list, _, err := first.Catalog().NodeServiceList("go-external", nil)
	must(err)
	equal(list.Services[0].ID, "go-db")
	checks, _, err := first.Health().Node("go-external", nil)
	must(err)
	equal(checks.AggregatedStatus(), api.HealthPassing)
	_, err = first.Catalog().Deregister(&api.CatalogDeregistration{Node: "go-external"}, nil)
	must(err)
	node, _, err = first.Catalog().Node("go-external", nil)
	must(err)
	equal(node == nil, true)
}

func maintenance(first, _ *api.Client) {
	must(first.Agent().ServiceRegister(&api.AgentServiceRegistration{Name: "go-maintenance"}))
	must(first.Agent().EnableServiceMaintenance("go-maintenance", "upgrade"))
	equal(ids(first, "go-maintenance", true), []string{})
	must(first.Agent().DisableServiceMaintenance("go-maintenance"))
	equal(ids(first, "go-maintenance", true), []string{"go-maintenance"})
	must(first.Agent().ServiceDeregister("go-maintenance"))
}

func healthByTheAgent(first, _ *api.Client) {
	must(first.Agent().ServiceRegister(&api.AgentServiceRegistration{
		Name: "go-health", Check: &api.AgentServiceCheck{TTL: "60s", Status: api.HealthWarning},
	}))
	status, info, err := first.Agent().AgentHealthServiceByID("go-health")
	must(err)
	equal([]any{status, info.Service.ID, len(info.Checks)}, []any{api.HealthWarning, "go-health", 1})
	status, infos, err := first.Agent().AgentHealthServiceByName("go-health")
	must(err)
	equal([]any{status, len(infos)}, []any{api.HealthWarning, 1})
	status, _, err = first.Agent().AgentHealthServiceByID("go-none")
	must(err)
	equal(status, api.HealthCritical)
	must(first.Agent().ServiceDeregister("go-health"))
}

func errorsAreTold(first, _ *api.Client) {
	told := func(err error, code int, text string) {
		found, is := err.(api.StatusError)
		equal(is, true)
		equal(found.Code, code)
		equal(strings.Contains(found.Body, text), true)
	}
	told(first.Agent().UpdateTTL("go-none", "", api.HealthPassing), 404, `Unknown check ID "go-none"`)
	told(first.Agent().ServiceDeregister("go-none"), 404, `Unknown service ID "go-none"`)
	told(first.Agent().ServiceRegister(&api.AgentServiceRegistration{}), 400, "Missing service name")
	_, _, err := first.Health().Service("x", "", false, &api.QueryOptions{Datacenter: "elsewhere"})
	told(err, 500, "No path to datacenter")
	_, _, err = first.KV().Get("x", nil)
	equal(strings.Contains(err.Error(), "501"), true)
}

func theCluster(first, _ *api.Client) {
	self, err := first.Agent().Self()
	must(err)
	equal(self["Config"]["Datacenter"], "dc1")
	peers, err := first.Status().Peers()
	must(err)
	equal(len(peers), 3)
	leader, err := first.Status().Leader()
	must(err)
	equal(leader, peers[0])
	members, err := first.Agent().Members(false)
	must(err)
	equal(len(members) > 1, true)
	datacenters, err := first.Catalog().Datacenters()
	must(err)
	equal(datacenters, []string{"dc1"})
}
