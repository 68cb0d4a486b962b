// lab-device-plugin stands in for NVIDIA's k8s-device-plugin in the lab, where no machine has a GPU.
//
// It is a real kubelet device plugin: it serves the v1beta1 API, registers the resource, publishes devices and their
// health, answers allocations with NVIDIA_VISIBLE_DEVICES, and registers again when the kubelet restarts. Only the
// devices are made up: their number comes from LAB_GPUS, or else from a file (see inventoryFile) that holds "COUNT" or
// "COUNT UNHEALTHY" and is read again every second, so that a test can take a GPU away. No file: no GPU, and the
// plugin waits without registering, as NVIDIA's does on a machine without a driver.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	v1beta1 "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

const (
	resource   = "nvidia.com/gpu"
	socketName = "nvidia-gpu.sock"
	pollEvery  = time.Second
	// In a folder of the node that NVIDIA's plugin mounts too, so that the same DaemonSet serves for both.
	inventoryFile = "/var/run/cdi/qwenvl-lab-gpus"
)

func environment(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

// inventory is how many GPUs this node claims to have and how many of them are broken.
type inventory struct{ count, unhealthy int }

func parseInventory(text string) (inventory, error) {
	var found inventory
	fields := strings.Fields(text)
	if len(fields) < 1 || len(fields) > 2 {
		return found, fmt.Errorf("%q: expected COUNT or COUNT UNHEALTHY", text)
	}
	for i, into := range []*int{&found.count, &found.unhealthy}[:len(fields)] {
		number, err := strconv.Atoi(fields[i])
		if err != nil || number < 0 {
			return found, fmt.Errorf("%q: expected a number from 0", fields[i])
		}
		*into = number
	}
	return found, nil
}

func readInventory() (inventory, error) {
	if text := os.Getenv("LAB_GPUS"); text != "" {
		return parseInventory(text)
	}
	text, err := os.ReadFile(environment("LAB_GPUS_FILE", inventoryFile))
	if errors.Is(err, os.ErrNotExist) {
		return inventory{}, nil
	}
	if err != nil {
		return inventory{}, err
	}
	return parseInventory(string(text))
}

// devices gives each GPU an identifier of the form that NVIDIA's plugin uses; the last ones are the broken ones.
func (i inventory) devices() []*v1beta1.Device {
	var list []*v1beta1.Device
	for n := range i.count {
		health := v1beta1.Healthy
		if n >= i.count-i.unhealthy {
			health = v1beta1.Unhealthy
		}
		list = append(list, &v1beta1.Device{ID: fmt.Sprintf("GPU-1ab00000-0000-4000-8000-%012d", n), Health: health})
	}
	return list
}

type plugin struct {
	v1beta1.UnimplementedDevicePluginServer
}

func (plugin) GetDevicePluginOptions(context.Context, *v1beta1.Empty) (*v1beta1.DevicePluginOptions, error) {
	return &v1beta1.DevicePluginOptions{}, nil
}

// ListAndWatch sends the devices once and again whenever the inventory changes, until the kubelet hangs up.
func (plugin) ListAndWatch(_ *v1beta1.Empty, stream v1beta1.DevicePlugin_ListAndWatchServer) error {
	sent := inventory{count: -1}
	for {
		now, err := readInventory()
		if err != nil {
			log.Printf("inventory: %v; keeping %d", err, sent.count)
		} else if now != sent {
			if err := stream.Send(&v1beta1.ListAndWatchResponse{Devices: now.devices()}); err != nil {
				return err
			}
			log.Printf("%s: %d, of which %d unhealthy", resource, now.count, now.unhealthy)
			sent = now
		}
		select {
		case <-stream.Context().Done():
			return nil
		case <-time.After(pollEvery):
		}
	}
}

func (plugin) Allocate(_ context.Context, request *v1beta1.AllocateRequest) (*v1beta1.AllocateResponse, error) {
	response := &v1beta1.AllocateResponse{}
	for _, container := range request.ContainerRequests {
		ids := slices.Sorted(slices.Values(container.DevicesIds))
		response.ContainerResponses = append(response.ContainerResponses, &v1beta1.ContainerAllocateResponse{
			Envs: map[string]string{"NVIDIA_VISIBLE_DEVICES": strings.Join(ids, ",")},
		})
		log.Printf("allocated %v", ids)
	}
	return response, nil
}

// serve runs one life of the plugin: it listens, registers, and returns when the kubelet was restarted (it then has
// deleted our socket and forgotten us) or the context ends.
func serve(ctx context.Context, folder string) error {
	ours, kubelet := filepath.Join(folder, socketName), filepath.Join(folder, "kubelet.sock")
	before, err := os.Stat(kubelet)
	if err != nil {
		return err
	}
	if err := os.Remove(ours); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	listener, err := net.Listen("unix", ours)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	v1beta1.RegisterDevicePluginServer(server, plugin{})
	go func() {
		if err := server.Serve(listener); err != nil {
			log.Printf("serving %s: %v", ours, err)
		}
	}()
	defer server.Stop()
	if err := register(ctx, kubelet); err != nil {
		return err
	}
	log.Printf("registered %s with the kubelet", resource)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pollEvery):
		}
		after, err := os.Stat(kubelet)
		_, gone := os.Stat(ours)
		if err != nil || gone != nil || !os.SameFile(before, after) || !before.ModTime().Equal(after.ModTime()) {
			return errors.New("the kubelet was restarted")
		}
	}
}

func register(ctx context.Context, kubelet string) error {
	connection, err := grpc.NewClient("unix://"+kubelet, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	limited, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	_, err = v1beta1.NewRegistrationClient(connection).Register(limited, &v1beta1.RegisterRequest{
		Version: v1beta1.Version, Endpoint: socketName, ResourceName: resource, Options: &v1beta1.DevicePluginOptions{},
	})
	return err
}

// run keeps the plugin registered until the context ends, and says once why it is not.
func run(ctx context.Context) {
	folder := environment("KUBELET_DEVICE_PLUGINS", strings.TrimSuffix(v1beta1.DevicePluginPath, "/"))
	said := ""
	for ctx.Err() == nil {
		reason := "no GPU on this node; waiting"
		if found, err := readInventory(); err != nil {
			reason = err.Error()
		} else if found.count > 0 {
			if err := serve(ctx, folder); err != nil {
				reason = err.Error()
			}
		}
		if reason != said && ctx.Err() == nil {
			log.Print(reason)
		}
		said = reason
		select {
		case <-ctx.Done():
		case <-time.After(pollEvery):
		}
	}
}

func main() {
	log.SetPrefix("lab-device-plugin (stand-in, no real GPU): ")
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	run(ctx)
}
