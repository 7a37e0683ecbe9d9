//! Calls a CNI plugin as a container runtime does: environment, configuration on standard input.
//!
//! It judges nothing: exit code, output and error object come back as the plugin gave them.
//! Contract: <https://www.cni.dev/docs/spec/>, section 2 (execution protocol).

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::node::Node;
use crate::pod::Pod;
use crate::process::Output;

/// A runtime gives up on a plugin much later; a test wants to know soon.
const CALL_WITHIN: Duration = Duration::from_secs(20);

/// A plugin binary.
#[derive(Debug, Clone)]
pub struct Plugin {
    path: PathBuf,
}

/// Which interface of which container: the part of a call that its DEL repeats.
#[derive(Debug, Clone)]
pub struct Attachment {
    /// `CNI_NETNS`; empty means that the variable is set and empty.
    pub netns: String,
    /// `CNI_CONTAINERID`.
    pub container_id: String,
    /// `CNI_IFNAME`.
    pub interface: String,
    /// `K8S_POD_NAMESPACE` in `CNI_ARGS`.
    pub namespace: String,
    /// `K8S_POD_NAME` in `CNI_ARGS`.
    pub pod_name: String,
}

/// What a plugin answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// Standard output as JSON; null when it is empty.
    pub json: Value,
    /// Standard output as it came.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// How long the call took, with starting the process.
    pub took: Duration,
}

impl Attachment {
    /// `eth0` of the pod, with a container id that is a function of its name.
    pub fn of(pod: &Pod) -> Self {
        Self {
            netns: pod.path().to_owned(),
            container_id: format!("{}-{}", pod.node().name(), pod.pod_name()),
            interface: "eth0".to_owned(),
            namespace: "default".to_owned(),
            pod_name: pod.pod_name().to_owned(),
        }
    }

    /// The same with another interface name.
    #[must_use]
    pub fn interface(mut self, name: &str) -> Self {
        name.clone_into(&mut self.interface);
        self
    }

    /// The same with another container id.
    #[must_use]
    pub fn container(mut self, id: &str) -> Self {
        id.clone_into(&mut self.container_id);
        self
    }

    /// The variables that a runtime sets for it.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let Self {
            namespace,
            pod_name,
            ..
        } = self;
        let arguments = format!(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={pod_name};\
             K8S_POD_INFRA_CONTAINER_ID={}",
            self.container_id
        );
        vec![
            ("CNI_CONTAINERID", self.container_id.clone()),
            ("CNI_NETNS", self.netns.clone()),
            ("CNI_IFNAME", self.interface.clone()),
            ("CNI_ARGS", arguments),
        ]
    }
}

impl Plugin {
    /// The plugin at this path.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// ADD.
    pub fn add(&self, node: &Node, attachment: &Attachment, config: &Value) -> Result<Answer> {
        self.call(node, "ADD", attachment, config)
    }

    /// DEL.
    pub fn del(&self, node: &Node, attachment: &Attachment, config: &Value) -> Result<Answer> {
        self.call(node, "DEL", attachment, config)
    }

    /// CHECK; the runtime has put ADD's result into the configuration as `prevResult`.
    pub fn check(&self, node: &Node, attachment: &Attachment, config: &Value) -> Result<Answer> {
        self.call(node, "CHECK", attachment, config)
    }

    /// Any verb for an attachment.
    pub fn call(
        &self,
        node: &Node,
        verb: &str,
        attachment: &Attachment,
        config: &Value,
    ) -> Result<Answer> {
        let environment = attachment.environment();
        self.raw(node, verb, &environment, config.to_string().as_bytes())
    }

    /// A verb of the whole network (VERSION, GC, STATUS): no container is named.
    pub fn call_network(&self, node: &Node, verb: &str, config: &Value) -> Result<Answer> {
        self.raw(node, verb, &[], config.to_string().as_bytes())
    }

    /// A call with exactly these variables and this input, right or wrong.
    ///
    /// # Errors
    /// When it does not end in time or writes something that is not JSON to standard output.
    pub fn raw(
        &self,
        node: &Node,
        verb: &str,
        environment: &[(&str, String)],
        stdin: &[u8],
    ) -> Result<Answer> {
        let directory = self.path.parent().unwrap_or_else(|| Path::new("/"));
        let mut command = node
            .command(&self.path)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("CNI_PATH", directory)
            .env("CNI_COMMAND", verb)
            .stdin(stdin);
        for (name, value) in environment {
            command = command.env(name, value);
        }
        let output = command.output_within(CALL_WITHIN)?;
        Answer::of(output).with_context(|| format!("{verb} of {}", self.path.display()))
    }
}

impl Answer {
    /// What a plugin left that has ended.
    ///
    /// # Errors
    /// It wrote something that is not JSON to standard output.
    pub fn of(output: Output) -> Result<Self> {
        let json = match output.stdout.trim() {
            "" => Value::Null,
            text => serde_json::from_str(text)
                .with_context(|| format!("the answer is not JSON: {text}"))?,
        };
        Ok(Self {
            code: output.status.code(),
            json,
            stdout: output.stdout,
            stderr: output.stderr,
            took: output.took,
        })
    }

    /// The result of a call that has succeeded, else an error with all that the plugin said.
    pub fn ok(self) -> Result<Value> {
        if self.code != Some(0) {
            let code = self
                .code
                .map_or_else(|| "a signal".to_owned(), |code| format!("code {code}"));
            bail!(
                "the plugin ended with {code}: {}{}",
                self.stdout,
                self.stderr
            );
        }
        Ok(self.json)
    }

    /// The `code` of the error object of a call that has failed.
    pub fn error_code(&self) -> Option<u64> {
        self.json
            .get("code")
            .filter(|_| self.code != Some(0))?
            .as_u64()
    }

    /// The addresses in a result, with their prefix lengths.
    pub fn addresses(&self) -> Vec<&str> {
        let ips = self.json.get("ips").and_then(Value::as_array);
        ips.into_iter()
            .flatten()
            .filter_map(|ip| ip.get("address")?.as_str())
            .collect()
    }
}
