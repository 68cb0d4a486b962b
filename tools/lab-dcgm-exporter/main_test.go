package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	podresources "k8s.io/kubelet/pkg/apis/podresources/v1"
)

func TestUtilisationIsTheShareOfTimeSpentComputing(t *testing.T) {
	known, now := &gpus{loads: map[string]load{}}, time.Now()
	say := func(busy, clock float64) float64 {
		known.hear(report{Devices: []string{"a"}, Busy: busy, Clock: clock}, now)
		return known.percent("a", now)
	}
	for number, step := range []struct{ busy, clock, want float64 }{
		{5, 100, 0}, // the first report is a mark only
		{5.5, 101, 50},
		{6.5, 102, 100},
		{6.5, 103, 0},
		{0, 1, 0}, // another process
		{0.25, 2, 25},
	} {
		if got := say(step.busy, step.clock); got != step.want {
			t.Errorf("step %d: %v percent, want %v", number, got, step.want)
		}
	}
	if got := known.percent("a", now.Add(staleAfter)); got != 0 {
		t.Errorf("an old report still says %v percent", got)
	}
	if got := known.percent("b", now); got != 0 {
		t.Errorf("nobody spoke for b: %v percent", got)
	}
}

// kubelet answers what the PodResources API of a node with two GPUs answers, one of them allocated.
type kubelet struct {
	podresources.UnimplementedPodResourcesListerServer
}

func devices(ids ...string) []*podresources.ContainerDevices {
	return []*podresources.ContainerDevices{
		{ResourceName: "example.com/other", DeviceIds: []string{"x"}},
		{ResourceName: resource, DeviceIds: ids},
	}
}

func (kubelet) GetAllocatableResources(context.Context, *podresources.AllocatableResourcesRequest) (*podresources.AllocatableResourcesResponse, error) {
	return &podresources.AllocatableResourcesResponse{Devices: devices("GPU-0", "GPU-1")}, nil
}

func (kubelet) List(context.Context, *podresources.ListPodResourcesRequest) (*podresources.ListPodResourcesResponse, error) {
	engine := &podresources.ContainerResources{Name: "engine", Devices: devices("GPU-1")}
	return &podresources.ListPodResourcesResponse{PodResources: []*podresources.PodResources{
		{Name: "other", Namespace: "default", Containers: []*podresources.ContainerResources{{Name: "c"}}},
		{Name: "qwen3-vl-webui-1", Namespace: "default", Containers: []*podresources.ContainerResources{engine}},
	}}, nil
}

func TestEveryGpuIsToldWithItsHolder(t *testing.T) {
	folder := t.TempDir()
	socket, file := filepath.Join(folder, "kubelet.sock"), filepath.Join(folder, "gpus")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	podresources.RegisterPodResourcesListerServer(server, kubelet{})
	go server.Serve(listener)
	defer server.Stop()
	known := &gpus{loads: map[string]load{}}
	known.hear(report{Devices: []string{"GPU-1"}, Busy: 0, Clock: 1}, time.Now())
	known.hear(report{Devices: []string{"GPU-1"}, Busy: 0.42, Clock: 2}, time.Now())
	web := httptest.NewServer(handler(known, socket, file, "gpu-1"))
	defer web.Close()
	get := func() string {
		answer, err := web.Client().Get(web.URL + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(answer.Body)
		return string(body)
	}
	body := get()
	for _, line := range []string{
		`DCGM_FI_DEV_GPU_UTIL{gpu="0",UUID="GPU-0",device="nvidia0",modelName="lab stand-in",Hostname="gpu-1"} 0`,
		`DCGM_FI_DEV_GPU_UTIL{gpu="1",UUID="GPU-1",device="nvidia1",modelName="lab stand-in",Hostname="gpu-1",container="engine",namespace="default",pod="qwen3-vl-webui-1"} 42`,
	} {
		if !strings.Contains(body, line+"\n") {
			t.Errorf("missing: %s\nin:\n%s", line, body)
		}
	}
	os.WriteFile(file, []byte("100 79\n- 48\n7 7\n"), 0o600)
	body = get()
	for _, pair := range []string{
		`DCGM_FI_DEV_GPU_UTIL{gpu="0"|} 100`, `DCGM_FI_DEV_XID_ERRORS{gpu="0"|} 79`,
		`DCGM_FI_DEV_GPU_UTIL{gpu="1"|} 42`, `DCGM_FI_DEV_XID_ERRORS{gpu="1"|} 48`,
	} {
		before, after, _ := strings.Cut(pair, "|")
		found := false
		for _, line := range strings.Split(body, "\n") {
			found = found || strings.HasPrefix(line, before) && strings.HasSuffix(line, after)
		}
		if !found {
			t.Errorf("missing: %s\nin:\n%s", pair, body)
		}
	}
	os.WriteFile(file, []byte("much\n"), 0o600)
	if answer, err := web.Client().Get(web.URL + "/metrics"); err != nil || answer.StatusCode != 500 {
		t.Errorf("a line that says nothing: %v, %v; want 500", answer, err)
	}
	server.Stop()
	os.Remove(file)
	if answer, err := web.Client().Get(web.URL + "/metrics"); err != nil || answer.StatusCode != 503 {
		t.Errorf("without a kubelet: %v, %v; want 503", answer, err)
	}
}

func TestReportsArriveInTheFolder(t *testing.T) {
	folder, known := t.TempDir(), &gpus{loads: map[string]load{}}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- watch(ctx, folder, time.Millisecond, known) }()
	os.WriteFile(filepath.Join(folder, "other.json"), []byte("not a report"), 0o644)
	for clock := 1.0; known.percent("GPU-0", time.Now()) != 50; clock++ {
		if clock > 3000 {
			t.Fatal("no report arrived")
		}
		text, _ := json.Marshal(report{Devices: []string{"GPU-0"}, Busy: clock / 2, Clock: clock})
		part := filepath.Join(folder, ".GPU-0")
		os.WriteFile(part, text, 0o644)
		os.Rename(part, filepath.Join(folder, "GPU-0.json"))
		time.Sleep(10 * time.Millisecond)
	}
	// What stays lying there is no news: the report gets old.
	if got := known.percent("GPU-0", time.Now().Add(staleAfter)); got != 0 {
		t.Errorf("an old file still says %v percent", got)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
