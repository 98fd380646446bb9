package main

import (
	"fmt"
	"testing"
	"time"

	"nines/ipc"
)

func BenchmarkStatusTable(b *testing.B) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var services []ipc.Service
	for i := range 1000 {
		name := fmt.Sprintf("s%d", i)
		services = append(services, ipc.Service{
			Name: name, Type: "service", State: "running", Desired: "running", InstancesDesired: 1,
			Instances: []ipc.Instance{{ID: name + "/0", State: "ready", PID: 1000 + i, StartedAt: &at, MemoryBytes: uint64(i) << 14}},
		})
	}
	for _, people := range []bool{true, false} {
		b.Run(fmt.Sprintf("people=%v", people), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				t := newStatusTable(people, people, 120)
				statusRows(t, services, at.Add(time.Hour))
				t.bytes()
			}
		})
	}
}
