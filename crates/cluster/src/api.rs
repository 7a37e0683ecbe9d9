//! The API itself, for what kubectl is too slow for: thousands of objects, and changes at the moment when they come.
//!
//! `kubectl proxy` brings the administrator's key and the encryption and listens on a socket in the place; what is spoken
//! there is plain HTTP/1.1 (`http`). It reports what the server refuses in the server's own words and repeats nothing.

mod http;

use std::io::{BufRead, BufReader, Read};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::cluster::Cluster;
use crate::process::first_line;

const JSON: &str = "application/json";
/// Fields that are named are replaced, all others stay; see RFC 7396.
const MERGE: &str = "application/merge-patch+json";

pub(crate) const NODES: &str = "/api/v1/nodes";
pub(crate) const PODS: &str = "/api/v1/namespaces/default/pods";

/// The way to the API server of a running cluster.
#[derive(Debug)]
pub(crate) struct Api {
    socket: PathBuf,
    proxy: Child,
    /// The proxy would end if nobody held the other end.
    _said: BufReader<ChildStdout>,
}

impl Api {
    /// Opens it; it is closed when this is dropped.
    pub(crate) fn open(cluster: &Cluster) -> Result<Self> {
        let socket = cluster
            .place()
            .run()
            .join(format!("api-{}", std::process::id()));
        let mut command = cluster.kubectl_command()?;
        let mut proxy = command
            .arg("proxy")
            .arg(format!("--unix-socket={}", socket.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("start kubectl proxy")?;
        let stdout = proxy.stdout.take().context("hear of kubectl proxy")?;
        let mut said = BufReader::new(stdout);
        let api = |said| Self {
            socket,
            proxy,
            _said: said,
        };
        let line = first_line(&mut said, "kubectl proxy");
        // Dropped below, and so ended, if it does not serve.
        let api = api(said);
        let line = line?;
        ensure!(line.contains("serve"), "kubectl proxy says {line:?}");
        Ok(api)
    }

    /// A connection for one request after another.
    pub(crate) fn talk(&self) -> Result<Talk> {
        let stream = connect(&self.socket)?;
        Ok(Talk {
            stream: BufReader::new(stream),
        })
    }

    /// What happens from now on below a path, which may have a query.
    pub(crate) fn watch(&self, path: &str) -> Result<Events> {
        let mark = if path.contains('?') { '&' } else { '?' };
        let list = self.talk()?.get(&format!("{path}{mark}limit=1"))?;
        let version = list["metadata"]["resourceVersion"]
            .as_str()
            .context("a list has a version")?;
        let path = format!("{path}{mark}watch=true&resourceVersion={version}");
        let mut stream = BufReader::new(connect(&self.socket)?);
        http::send(stream.get_mut(), "GET", &path, JSON, "")?;
        let head = http::head(&mut stream)?;
        ensure!(head.is_success(), "watch {path}: status {}", head.status);
        Ok(Events {
            lines: BufReader::new(http::body(stream, &head)),
        })
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.proxy.kill());
        drop(self.proxy.wait());
        drop(std::fs::remove_file(&self.socket));
    }
}

fn connect(socket: &Path) -> Result<UnixStream> {
    UnixStream::connect(socket).with_context(|| format!("connect to {}", socket.display()))
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Talk {
    stream: BufReader<UnixStream>,
}

impl Talk {
    /// What is at a path.
    pub(crate) fn get(&mut self, path: &str) -> Result<Value> {
        self.ask("GET", path, JSON, None)
    }

    /// Makes an object below a path of its kind.
    pub(crate) fn create(&mut self, path: &str, object: &Value) -> Result<()> {
        self.ask("POST", path, JSON, Some(object)).map(drop)
    }

    /// Changes what is named in an object.
    pub(crate) fn patch(&mut self, path: &str, patch: &Value) -> Result<()> {
        self.ask("PATCH", path, MERGE, Some(patch)).map(drop)
    }

    /// Removes an object, or all that a query selects.
    pub(crate) fn delete(&mut self, path: &str) -> Result<()> {
        self.ask("DELETE", path, JSON, None).map(drop)
    }

    fn ask(&mut self, method: &str, path: &str, kind: &str, body: Option<&Value>) -> Result<Value> {
        let what = || format!("{method} {path}");
        let body = body.map(Value::to_string).unwrap_or_default();
        http::send(self.stream.get_mut(), method, path, kind, &body).with_context(what)?;
        let head = http::head(&mut self.stream).with_context(what)?;
        let mut text = String::new();
        http::body(&mut self.stream, &head)
            .read_to_string(&mut text)
            .with_context(what)?;
        let answer: Value = serde_json::from_str(&text).unwrap_or_default();
        ensure!(
            head.is_success(),
            "{}: status {}: {}",
            what(),
            head.status,
            answer["message"].as_str().unwrap_or(&text)
        );
        Ok(answer)
    }
}

/// Changes as they come, for as long as the server goes on.
pub(crate) struct Events {
    lines: BufReader<Box<dyn Read + Send>>,
}

impl Iterator for Events {
    type Item = Result<Value>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut line = String::new();
        match self.lines.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(serde_json::from_str(&line).context("an event is no JSON")),
            Err(error) => Some(Err(error).context("read an event")),
        }
    }
}
