package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/consul"
	"github.com/prometheus/prometheus/discovery/targetgroup"
)

// fileGroup is a group of targets as Prometheus reads it from a file.
type fileGroup struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

// discover runs the discovery that Prometheus has for Consul, and keeps what it finds in a file for a Prometheus that
// was built without it, as Debian's is.
func discover(address, file string) {
	config := consul.DefaultSDConfig
	config.Server = address
	config.RefreshInterval = model.Duration(time.Second)
	registry := prometheus.NewRegistry()
	metrics := config.NewDiscovererMetrics(registry, discovery.NewRefreshMetrics(registry))
	if err := metrics.Register(); err != nil {
		panic(err)
	}
	watcher, err := consul.NewDiscovery(&config, slog.Default(), metrics)
	if err != nil {
		panic(err)
	}
	found := make(chan []*targetgroup.Group)
	go watcher.Run(context.Background(), found)
	bySource := map[string]*targetgroup.Group{}
	for groups := range found {
		for _, group := range groups {
			bySource[group.Source] = group
		}
		write(file, bySource)
	}
}

func write(file string, bySource map[string]*targetgroup.Group) {
	groups := []fileGroup{}
	for _, group := range bySource {
		for _, target := range group.Targets {
			labels := map[string]string{}
			for name, value := range group.Labels.Merge(target) {
				labels[string(name)] = string(value)
			}
			groups = append(groups, fileGroup{[]string{labels[model.AddressLabel]}, labels})
		}
	}
	body, err := json.Marshal(groups)
	if err == nil {
		err = os.WriteFile(file+".new", body, 0o600)
	}
	if err == nil {
		err = os.Rename(file+".new", file)
	}
	if err != nil {
		panic(err)
	}
}
