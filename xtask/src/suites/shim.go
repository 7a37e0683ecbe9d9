// Takes the place of a plugin's own functions in its tests: the built program is run instead, as a runtime would run it.

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
)

func cmdAdd(args *skel.CmdArgs) error    { return ask("ADD", args) }
func cmdDel(args *skel.CmdArgs) error    { return ask("DEL", args) }
func cmdCheck(args *skel.CmdArgs) error  { return ask("CHECK", args) }
func cmdStatus(args *skel.CmdArgs) error { return ask("STATUS", args) }

func ask(verb string, args *skel.CmdArgs) error {
	path := args.Path
	if path == "" {
		path = os.Getenv("PATH")
	}
	plugin := exec.Command("PROGRAM")
	plugin.Env = append(os.Environ(),
		"CNI_COMMAND="+verb,
		"CNI_CONTAINERID="+args.ContainerID,
		"CNI_NETNS="+args.Netns,
		"CNI_IFNAME="+args.IfName,
		"CNI_ARGS="+args.Args,
		"CNI_PATH="+path)
	plugin.Stdin = bytes.NewReader(args.StdinData)
	plugin.Stderr = os.Stderr
	said, err := plugin.Output()
	if err == nil {
		_, err = os.Stdout.Write(said)
		return err
	}
	answer := &types.Error{}
	if json.Unmarshal(said, answer) == nil && answer.Msg != "" {
		return answer
	}
	return err
}
