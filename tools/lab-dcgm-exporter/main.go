// lab-dcgm-exporter stands in for NVIDIA's DCGM exporter in the lab, where no machine has a GPU.
//
// Which GPUs a node has and which pod holds each of them it asks the kubelet (PodResources API), as NVIDIA's does. What a
// GPU does nobody can measure here: the engine's stand-in says in a folder of the node (lab/engine/gpu.py), once a second,
// how long it has been computing. The stand-in for NVIDIA's runtime mounts that folder into both. A GPU that nobody speaks for is idle, as a real one is.
//
// A test can make a GPU busy or sick: a line for each GPU in statusFile, "USE XID", with "-" for a use that is not made up.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"maps"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	podresources "k8s.io/kubelet/pkg/apis/podresources/v1"
)

const (
	resource      = "nvidia.com/gpu"
	kubeletSocket = "/var/lib/kubelet/pod-resources/kubelet.sock"
	reportFolder  = "/nvidia-stand-in"
	// In a folder of the node that NVIDIA's exporter mounts too, so that the same DaemonSet serves for both.
	statusFile = "/var/lib/kubelet/pod-resources/qwenvl-lab-gpus"
	// A report older than this says nothing any more.
	staleAfter = 5 * time.Second
	lookEvery  = 500 * time.Millisecond
)

func environment(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

// report is what an engine says: the GPUs it holds, for how long it has been computing, and what its clock shows.
type report struct {
	Devices []string `json:"devices"`
	Busy    float64  `json:"busySeconds"`
	Clock   float64  `json:"clockSeconds"`
}

// load is what is known of one GPU.
type load struct {
	last    report
	percent float64
	heard   time.Time
}

type gpus struct {
	mutex sync.Mutex
	loads map[string]load
}

// hear takes a report in: utilisation is the share of time that was spent computing since the report before.
func (g *gpus) hear(said report, now time.Time) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	for _, device := range said.Devices {
		before, known := g.loads[device]
		next := load{last: said, heard: now}
		// Another process's clock, or a restarted one's, has nothing to do with the last one's.
		if passed := said.Clock - before.last.Clock; known && passed > 0 && said.Busy >= before.last.Busy {
			next.percent = min(100, 100*(said.Busy-before.last.Busy)/passed)
		}
		g.loads[device] = next
	}
}

func (g *gpus) percent(device string, now time.Time) float64 {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	if known, ok := g.loads[device]; ok && now.Sub(known.heard) < staleAfter {
		return known.percent
	}
	return 0
}

// holder is the container that a GPU is allocated to; empty for a free one.
type holder struct{ namespace, pod, container string }

// allocations asks the kubelet for the node's GPUs and who holds them.
func allocations(ctx context.Context, socket string) (map[string]holder, error) {
	connection, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	limited, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	client := podresources.NewPodResourcesListerClient(connection)
	found := map[string]holder{}
	allocatable, err := client.GetAllocatableResources(limited, &podresources.AllocatableResourcesRequest{})
	if err != nil {
		return nil, err
	}
	for _, devices := range allocatable.Devices {
		if devices.ResourceName == resource {
			for _, id := range devices.DeviceIds {
				found[id] = holder{}
			}
		}
	}
	list, err := client.List(limited, &podresources.ListPodResourcesRequest{})
	if err != nil {
		return nil, err
	}
	for _, pod := range list.PodResources {
		for _, container := range pod.Containers {
			for _, devices := range container.Devices {
				if devices.ResourceName == resource {
					for _, id := range devices.DeviceIds {
						found[id] = holder{pod.Namespace, pod.Name, container.Name}
					}
				}
			}
		}
	}
	return found, nil
}

// state is what the metrics say of one GPU.
type state struct {
	percent float64
	xid     int
}

// madeUp lays what a test wrote over what is known, line by line: the state of the GPU of the same number.
func madeUp(text string, known []state) error {
	for number, line := range strings.Split(strings.TrimSpace(text), "\n") {
		fields := strings.Fields(line)
		if len(fields) == 0 || number >= len(known) {
			continue
		}
		if fields[0] != "-" {
			use, err := strconv.ParseFloat(fields[0], 64)
			if err != nil {
				return fmt.Errorf("line %d: %q: a use in percent or - is expected", number+1, fields[0])
			}
			known[number].percent = use
		}
		if len(fields) > 1 {
			xid, err := strconv.Atoi(fields[1])
			if err != nil {
				return fmt.Errorf("line %d: %q: an Xid is expected", number+1, fields[1])
			}
			known[number].xid = xid
		}
	}
	return nil
}

// metrics are those of NVIDIA's exporter that dashboards, alerts and scaling use.
var metrics = []struct {
	name, help string
	value      func(state) float64
}{
	{"DCGM_FI_DEV_GPU_UTIL", "GPU utilization (in %).", func(s state) float64 { return s.percent }},
	{"DCGM_FI_DEV_XID_ERRORS", "Value of the last XID error encountered.", func(s state) float64 { return float64(s.xid) }},
	{"DCGM_FI_DEV_FB_USED", "Framebuffer memory used (in MiB).", func(s state) float64 { return s.percent * 240 }},
	{"DCGM_FI_DEV_FB_FREE", "Framebuffer memory free (in MiB).", func(s state) float64 { return 24000 - s.percent*240 }},
	{"DCGM_FI_DEV_GPU_TEMP", "GPU temperature (in C).", func(s state) float64 { return 30 + s.percent*0.4 }},
	{"DCGM_FI_DEV_POWER_USAGE", "Power draw (in W).", func(s state) float64 { return 20 + s.percent*4 }},
}

// render writes the metrics with the labels of NVIDIA's exporter.
func render(found map[string]holder, hostname string, percent func(device string) float64, written string) (string, error) {
	ids := slices.Sorted(maps.Keys(found))
	states := make([]state, len(ids))
	labels := make([]string, len(ids))
	for number, id := range ids {
		states[number].percent = percent(id)
		labels[number] = fmt.Sprintf("gpu=\"%d\",UUID=%q,device=\"nvidia%d\",modelName=\"lab stand-in\",Hostname=%q", number, id, number, hostname)
		if by := found[id]; by.pod != "" {
			labels[number] += fmt.Sprintf(",container=%q,namespace=%q,pod=%q", by.container, by.namespace, by.pod)
		}
	}
	if err := madeUp(written, states); err != nil {
		return "", err
	}
	var text strings.Builder
	for _, metric := range metrics {
		fmt.Fprintf(&text, "# HELP %s %s\n# TYPE %s gauge\n", metric.name, metric.help, metric.name)
		for number := range ids {
			fmt.Fprintf(&text, "%s{%s} %.0f\n", metric.name, labels[number], metric.value(states[number]))
		}
	}
	return text.String(), nil
}

// watch takes in each new report in a folder until the context ends.
func watch(ctx context.Context, folder string, every time.Duration, known *gpus) error {
	seen := map[string]time.Time{}
	for ctx.Err() == nil {
		files, err := filepath.Glob(filepath.Join(folder, "*.json"))
		if err != nil {
			return err
		}
		for _, file := range files {
			// Whoever held the GPU may have gone between two looks, and its file with it.
			about, err := os.Stat(file)
			if err != nil || about.ModTime().Equal(seen[file]) {
				continue
			}
			var said report
			if text, err := os.ReadFile(file); err == nil && json.Unmarshal(text, &said) == nil {
				seen[file] = about.ModTime()
				known.hear(said, about.ModTime())
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(every):
		}
	}
	return nil
}

func handler(known *gpus, socket, file, hostname string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(response http.ResponseWriter, request *http.Request) {
		found, err := allocations(request.Context(), socket)
		if err != nil {
			log.Printf("kubelet: %v", err)
			http.Error(response, "the kubelet does not say who holds the GPUs", http.StatusServiceUnavailable)
			return
		}
		written, err := os.ReadFile(file)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			http.Error(response, err.Error(), http.StatusInternalServerError)
			return
		}
		now := time.Now()
		text, err := render(found, hostname, func(device string) float64 { return known.percent(device, now) }, string(written))
		if err != nil {
			http.Error(response, fmt.Sprintf("%s: %v", file, err), http.StatusInternalServerError)
			return
		}
		response.Header().Set("Content-Type", "text/plain; version=0.0.4")
		fmt.Fprint(response, text)
	})
	mux.HandleFunc("GET /health", func(response http.ResponseWriter, _ *http.Request) { fmt.Fprintln(response, "OK") })
	return mux
}

func main() {
	log.SetPrefix("lab-dcgm-exporter (stand-in, no real GPU): ")
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	known := &gpus{loads: map[string]load{}}
	hostname := environment("NODE_NAME", environment("HOSTNAME", "unknown"))
	server := &http.Server{
		Addr:              environment("DCGM_EXPORTER_LISTEN", ":9400"),
		Handler:           handler(known, environment("LAB_KUBELET_SOCKET", kubeletSocket), environment("LAB_GPUS_FILE", statusFile), hostname),
		ReadHeaderTimeout: 5 * time.Second,
	}
	failed := make(chan error, 2)
	go func() { failed <- watch(ctx, environment("LAB_REPORTS", reportFolder), lookEvery, known) }()
	go func() { failed <- server.ListenAndServe() }()
	log.Printf("serving %s", server.Addr)
	select {
	case <-ctx.Done():
		server.Close()
	case err := <-failed:
		log.Fatal(err)
	}
}
