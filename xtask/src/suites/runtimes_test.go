// Calls the plugins as containerd's library, the specification's own library and its command line tool do, under the names
// of the reference plugins. Runs in namespaces of its own, with the plugins in /opt/cni/bin.

package suites

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/go-cni"
	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
)

const plugins = "/opt/cni/bin"

// A network as nerdctl and containerd's own installation write one.
func conflist(version string) string {
	if version != "" {
		version = fmt.Sprintf(`"cniVersion": %q,`, version)
	}
	return fmt.Sprintf(`{%s "name": "mine", "plugins": [
		{"type": "bridge", "bridge": "mine0", "isGateway": true, "ipMasq": true, "promiscMode": true,
		 "ipam": {"type": "host-local",
		          "ranges": [[{"subnet": "10.61.0.0/16"}], [{"subnet": "fd61::/64"}]],
		          "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]}},
		{"type": "portmap", "capabilities": {"portMappings": true}}]}`, version)
}

func place(t *testing.T, version string) string {
	folder := t.TempDir()
	file := filepath.Join(folder, "10-mine.conflist")
	must(t, os.WriteFile(file, []byte(conflist(version)), 0o600))
	return folder
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func netns(t *testing.T, name string) string {
	t.Helper()
	run(t, "ip", "netns", "add", name)
	t.Cleanup(func() { run(t, "ip", "netns", "del", name) })
	return "/var/run/netns/" + name
}

func run(t *testing.T, program string, words ...string) string {
	t.Helper()
	said, err := exec.Command(program, words...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v: %s", program, strings.Join(words, " "), err, said)
	}
	return string(said)
}

// What a plugin could have left on the node.
func links(t *testing.T) int {
	return strings.Count(run(t, "ip", "-o", "link", "show", "type", "veth"), "\n")
}

func TestContainerdsLibraryAttachesAndDetaches(t *testing.T) {
	for _, version := range []string{"1.0.0", "1.1.0", "0.4.0", "0.3.1", ""} {
		for _, serial := range []bool{false, true} {
			t.Run(fmt.Sprintf("version %q serial %v", version, serial), func(t *testing.T) {
				attachByContainerd(t, version, serial)
			})
		}
	}
}

func attachByContainerd(t *testing.T, version string, serial bool) {
	library, err := cni.New(cni.WithMinNetworkCount(2), cni.WithPluginConfDir(place(t, version)),
		cni.WithPluginDir([]string{plugins}))
	must(t, err)
	must(t, library.Load(cni.WithLoNetwork, cni.WithDefaultConf))
	must(t, library.Status())
	path, ctx := netns(t, "one"), context.Background()
	ports := cni.WithCapabilityPortMap([]cni.PortMapping{{HostPort: 8061, ContainerPort: 80, Protocol: "tcp"}})
	setup := library.Setup
	if serial {
		setup = library.SetupSerially
	}
	for range 2 {
		result, err := setup(ctx, "one", path, ports)
		must(t, err)
		found := result.Interfaces["eth0"]
		if found == nil || len(found.IPConfigs) == 0 {
			t.Fatalf("no address of eth0 in %+v", result)
		}
		run(t, "ip", "netns", "exec", "one", "ping", "-c1", "-W5", "10.61.0.1")
		must(t, library.Remove(ctx, "one", path, ports))
		// As after a reboot: neither the path nor anything else is there.
		must(t, library.Remove(ctx, "one", "", ports))
	}
	if left := links(t); left != 0 {
		t.Fatalf("%d links are left", left)
	}
}

func TestTheSpecificationsToolKnowsAllVerbs(t *testing.T) {
	path, folder := netns(t, "two"), place(t, "1.1.0")
	tool := func(verb string) string {
		t.Setenv("NETCONFPATH", folder)
		t.Setenv("CNI_PATH", plugins)
		return run(t, filepath.Join(plugins, "cnitool"), verb, "mine", path)
	}
	tool("status")
	if said := tool("add"); !strings.Contains(said, "10.61.") {
		t.Fatalf("no address in %s", said)
	}
	tool("check")
	tool("del")
	tool("del")
	tool("add")
	tool("gc")
	if left := links(t); left != 0 {
		t.Fatalf("%d links are left", left)
	}
}

func TestTheSpecificationsLibraryCollectsWhatIsNotListed(t *testing.T) {
	path := netns(t, "three")
	list, err := libcni.ConfListFromBytes([]byte(conflist("1.1.0")))
	must(t, err)
	// Another cache than that of the ADDs: as of a runtime that has forgotten them.
	library := libcni.NewCNIConfigWithCacheDir([]string{plugins}, t.TempDir(), nil)
	forgetful := libcni.NewCNIConfigWithCacheDir([]string{plugins}, t.TempDir(), nil)
	ctx := context.Background()
	for _, name := range []string{"eth0", "eth1"} {
		_, err := library.AddNetworkList(ctx, list, &libcni.RuntimeConf{ContainerID: "three", NetNS: path, IfName: name})
		must(t, err)
	}
	listed := &libcni.GCArgs{ValidAttachments: []types.GCAttachment{{ContainerID: "three", IfName: "eth1"}}}
	must(t, forgetful.GCNetworkList(ctx, list, listed))
	if left := links(t); left != 1 {
		t.Fatalf("%d links are left, not one", left)
	}
	must(t, forgetful.GCNetworkList(ctx, list, &libcni.GCArgs{}))
	if left := links(t); left != 0 {
		t.Fatalf("%d links are left", left)
	}
	must(t, library.GetStatusNetworkList(ctx, list))
	_, err = library.ValidateNetworkList(ctx, list)
	must(t, err)
}
