//! How a plugin is called, shown by a plugin that answers with what it got.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, Result, ensure};
use lab::Lab;
use lab::plugin::{Attachment, Plugin};
use serde_json::json;

const ECHO: &str = r#"#!/bin/sh
config=$(cat)
if [ "$CNI_COMMAND" = DEL ]; then echo '{"code": 7, "msg": "no"}'; echo trace >&2; exit 1; fi
echo "{\"got\": [\"$CNI_COMMAND\", \"$CNI_CONTAINERID\", \"$CNI_NETNS\", \"$CNI_IFNAME\",
    \"$CNI_ARGS\", \"$CNI_PATH\", \"$HOME\"], \"config\": $config, \"ips\": [{\"address\": \"10.244.0.2/24\"}]}"
"#;

#[test]
fn a_plugin_gets_what_a_runtime_gives() -> Result<()> {
    Lab::scenario(|lab| {
        let node = lab.node("one").start()?;
        let pod = node.pod("a")?;
        node.attempt(|| {
            fs::write("/run/echo", ECHO)?;
            Ok(fs::set_permissions(
                "/run/echo",
                fs::Permissions::from_mode(0o755),
            )?)
        })?;
        let plugin = Plugin::new("/run/echo");
        let config = json!({"cniVersion": "1.1.0", "name": "mynet", "type": "echo"});
        let attachment = Attachment::of(&pod);

        let answer = plugin.add(&node, &attachment, &config)?;
        ensure!(answer.addresses() == ["10.244.0.2/24"], "{answer:?}");
        ensure!(answer.error_code().is_none(), "{answer:?}");
        let json = answer.ok()?;
        ensure!(json["config"] == config, "{json}");
        let arguments = "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=a;\
                         K8S_POD_INFRA_CONTAINER_ID=one-a";
        let expected = json!([
            "ADD",
            "one-a",
            "/run/netns/a",
            "eth0",
            arguments,
            "/run",
            ""
        ]);
        ensure!(json["got"] == expected, "{json}");

        let second = attachment.clone().interface("net1").container("x/y");
        let json = plugin.call(&node, "CHECK", &second, &config)?.ok()?;
        ensure!(
            json["got"][1] == "x/y" && json["got"][3] == "net1",
            "{json}"
        );
        let json = plugin.call_network(&node, "STATUS", &config)?.ok()?;
        ensure!(json["got"][0] == "STATUS" && json["got"][2] == "", "{json}");

        let answer = plugin.del(&node, &attachment, &config)?;
        ensure!(
            answer.code == Some(1) && answer.error_code() == Some(7),
            "{answer:?}"
        );
        ensure!(answer.stderr == "trace\n", "{answer:?}");
        let error = answer.ok().err().context("it has failed")?.to_string();
        ensure!(
            error.contains("code 1") && error.contains("trace"),
            "{error}"
        );
        Ok(())
    })
}
