package main

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	v1beta1 "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

func TestInventory(t *testing.T) {
	for text, want := range map[string]inventory{"2\n": {2, 0}, "2 1": {2, 1}, "0": {0, 0}} {
		if got, err := parseInventory(text); err != nil || got != want {
			t.Errorf("%q: got %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "two", "-1", "1 2 3"} {
		if got, err := parseInventory(text); err == nil {
			t.Errorf("%q: got %v; want an error", text, got)
		}
	}
}

// kubelet is the side of the kubelet that a device plugin sees: it takes registrations and then calls back.
type kubelet struct {
	v1beta1.UnimplementedRegistrationServer
	server     *grpc.Server
	registered chan *v1beta1.RegisterRequest
}

func (k *kubelet) Register(_ context.Context, request *v1beta1.RegisterRequest) (*v1beta1.Empty, error) {
	k.registered <- request
	return &v1beta1.Empty{}, nil
}

// startKubelet does what a starting kubelet does: it empties the folder and makes its own socket.
func startKubelet(t *testing.T, folder string) *kubelet {
	t.Helper()
	entries, _ := filepath.Glob(filepath.Join(folder, "*"))
	for _, entry := range entries {
		os.Remove(entry)
	}
	listener, err := net.Listen("unix", filepath.Join(folder, "kubelet.sock"))
	if err != nil {
		t.Fatal(err)
	}
	k := &kubelet{server: grpc.NewServer(), registered: make(chan *v1beta1.RegisterRequest, 8)}
	v1beta1.RegisterRegistrationServer(k.server, k)
	go k.server.Serve(listener)
	return k
}

func (k *kubelet) expectRegistration(t *testing.T) {
	t.Helper()
	select {
	case request := <-k.registered:
		if request.ResourceName != "nvidia.com/gpu" || request.Endpoint != socketName {
			t.Fatalf("registered %v", request)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("not registered within 10 s")
	}
}

func TestLifeWithAKubeletThatRestarts(t *testing.T) {
	folder, file := t.TempDir(), filepath.Join(t.TempDir(), "gpus")
	os.WriteFile(file, []byte("2"), 0o644)
	t.Setenv("LAB_GPUS_FILE", file)
	t.Setenv("KUBELET_DEVICE_PLUGINS", folder)
	first := startKubelet(t, folder)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go run(ctx)
	first.expectRegistration(t)

	connection, err := grpc.NewClient("unix://"+filepath.Join(folder, socketName), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	client := v1beta1.NewDevicePluginClient(connection)
	stream, err := client.ListAndWatch(ctx, &v1beta1.Empty{})
	if err != nil {
		t.Fatal(err)
	}
	expect := func(healthy, unhealthy int) []string {
		t.Helper()
		response, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		counts := map[string]int{}
		var ids []string
		for _, device := range response.Devices {
			counts[device.Health]++
			ids = append(ids, device.ID)
		}
		if counts[v1beta1.Healthy] != healthy || counts[v1beta1.Unhealthy] != unhealthy {
			t.Fatalf("devices %v; want %d healthy and %d unhealthy", response.Devices, healthy, unhealthy)
		}
		return ids
	}
	ids := expect(2, 0)
	answer, err := client.Allocate(ctx, &v1beta1.AllocateRequest{ContainerRequests: []*v1beta1.ContainerAllocateRequest{{DevicesIds: ids[1:]}}})
	if err != nil || answer.ContainerResponses[0].Envs["NVIDIA_VISIBLE_DEVICES"] != ids[1] {
		t.Fatalf("allocation of %s: %v, %v", ids[1], answer, err)
	}
	os.WriteFile(file, []byte("2 1"), 0o644)
	expect(1, 1)
	os.WriteFile(file, []byte("0"), 0o644)
	expect(0, 0)
	os.WriteFile(file, []byte("1"), 0o644)
	expect(1, 0)

	first.server.Stop()
	startKubelet(t, folder).expectRegistration(t)
}
