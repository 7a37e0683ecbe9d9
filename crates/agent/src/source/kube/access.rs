//! How the API server is reached: from inside a pod, or by a kubeconfig.
//!
//! Everything is read anew for each client, and a client lives until something fails: a rotated token, certificate or CA is
//! therefore never more than one failure away. kube itself reads an in-cluster token and CA again every minute.

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config, Error};
use std::path::PathBuf;
use std::time::Duration;

/// Longest time to connect; the API server is near.
const CONNECT: Duration = Duration::from_secs(10);

/// Where credentials come from, and where to connect.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    /// A kubeconfig; without one, what the kubelet gives every pod.
    pub(crate) kubeconfig: Option<PathBuf>,
    /// `HOST:PORT` instead of the address that the configuration has: in a pod that is a Service, which answers only once
    /// kube-proxy runs.
    pub(crate) server: Option<String>,
}

impl Access {
    /// A new client. Nothing is asked of the server yet.
    pub(super) async fn client(&self) -> Result<Client, String> {
        let mut config = self.config().await?;
        if let Some(there) = self.server.as_deref().and_then(at) {
            config.cluster_url = there.cluster_url;
        }
        config.connect_timeout = Some(CONNECT);
        // HTTPS_PROXY is for what is far away, and kube would take it without asking NO_PROXY.
        config.proxy_url = None;
        // Whoever asks waits between two attempts himself, and says what is wrong meanwhile.
        config.default_retry = false;
        Client::try_from(config).map_err(|error| chain(&error))
    }

    /// The server's name in findings.
    pub(super) fn server(&self) -> String {
        match &self.server {
            Some(server) => format!("API server {server}"),
            None => "API server".into(),
        }
    }

    async fn config(&self) -> Result<Config, String> {
        let Some(path) = &self.kubeconfig else {
            let config = match self.server {
                Some(_) => Config::incluster_dns(),
                None => Config::incluster_env(),
            };
            return config.map_err(|error| {
                format!(
                    "no access from inside a pod: {}; outside of one give --kubeconfig FILE",
                    chain(&error)
                )
            });
        };
        let failed =
            |error: &dyn std::error::Error| format!("{}: {}", path.display(), chain(error));
        let read = Kubeconfig::read_from(path).map_err(|error| failed(&error))?;
        Config::from_custom_kubeconfig(read, &KubeConfigOptions::default())
            .await
            .map_err(|error| failed(&error))
    }
}

/// Checks a `HOST:PORT` of the command line.
pub(crate) fn server(text: &str) -> Result<String, String> {
    let is_sound = text.rsplit_once(':').is_some_and(|(host, port)| {
        let is_bare_v6 = host.contains(':') && !host.starts_with('[');
        !host.is_empty() && !is_bare_v6 && port.parse::<u16>().is_ok()
    });
    if is_sound && !text.contains('/') && at(text).is_some() {
        Ok(text.to_owned())
    } else {
        Err("it is no HOST:PORT such as 10.128.0.2:6443 or [fd00::2]:6443".into())
    }
}

/// A bare configuration for this server.
fn at(server: &str) -> Option<Config> {
    format!("https://{server}").parse().ok().map(Config::new)
}

/// What a request failed of.
pub(super) fn failure(error: &Error) -> String {
    if let Error::Api(status) = error {
        format!("{} {}", status.code, status.message)
    } else {
        // What kube itself says of it is the name of its type.
        chain(std::error::Error::source(error).unwrap_or(error))
    }
}

/// An error and what is behind it, each once: HTTP clients hide the reason deep.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_host_and_a_port() {
        for good in ["10.128.0.2:6443", "[fd00::2]:6443", "master.example:443"] {
            assert_eq!(server(good), Ok(good.to_owned()));
        }
        for bad in [
            "",
            "10.128.0.2",
            "fd00::2:6443",
            ":6443",
            "https://10.128.0.2:6443",
            "a b:1",
            "a:99999",
        ] {
            assert!(server(bad).is_err(), "{bad:?}");
        }
    }
}
